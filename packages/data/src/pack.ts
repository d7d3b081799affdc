// Packing: samples become token ids once, and batches of them one long row each, as `policy.batch` takes them.
import { createLoader } from "./loader.ts";
import type { SftSample } from "./sft-sample.ts";

/** Token ids of a sample; those from `promptLength` on carry loss. */
export type TokenizedSample = { readonly id: string; readonly tokens: Uint32Array; readonly promptLength: number };

/** Sequence s is tokens[cuSeqlens[s] … cuSeqlens[s + 1]]; lossMask is 1 where a token is predicted with loss. */
export type PackedBatch = { tokens: Uint32Array; cuSeqlens: Uint32Array; lossMask: Uint8Array };

export type TokenizedSamples = { samples: TokenizedSample[]; dropped: number };

/** Token ids of a text; a policy's tokenizer fulfils it. */
type Tokenize = (text: string, options: { addSpecial: boolean }) => Uint32Array | Promise<Uint32Array>;

/**
 * Token ids of all samples; those of more than `maxTokens` are left out and counted. Prompt and response are tokenized
 * apart, so the border is where a rollout's would be.
 */
export async function tokenizeSamples(
  samples: readonly SftSample[],
  tokenize: Tokenize,
  maxTokens: number,
): Promise<TokenizedSamples> {
  const result: TokenizedSamples = { samples: [], dropped: 0 };
  for (const { id, prompt, response } of samples) {
    const before = await tokenize(prompt.text, { addSpecial: prompt.addSpecial });
    const after = await tokenize(response, { addSpecial: false });
    const tokens = new Uint32Array(before.length + after.length);
    tokens.set(before);
    tokens.set(after, before.length);
    if (tokens.length <= maxTokens) result.samples.push({ id, tokens, promptLength: before.length });
    else result.dropped++;
  }
  return result;
}

/** Packs samples one after the other. The first token of a sequence is never predicted, so it never carries loss. */
export function packSamples(samples: readonly TokenizedSample[]): PackedBatch {
  const total = samples.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const packed = {
    tokens: new Uint32Array(total),
    cuSeqlens: new Uint32Array(samples.length + 1),
    lossMask: new Uint8Array(total),
  };
  let start = 0;
  for (const [index, { tokens, promptLength }] of samples.entries()) {
    packed.tokens.set(tokens, start);
    packed.lossMask.fill(1, start + Math.max(1, promptLength), start + tokens.length);
    start += tokens.length;
    packed.cuSeqlens[index + 1] = start;
  }
  return packed;
}

export type SftBatchOptions = { readonly batchSize: number; readonly seed: bigint | number; readonly epochs?: number };

/** Packed batches of `batchSize` shuffled samples by cursor; fulfils rl's `BatchSource`. */
export function sftBatches(
  samples: readonly TokenizedSample[],
  { batchSize, ...order }: SftBatchOptions,
): { take(cursor: number): (PackedBatch & { epoch: number; nextCursor: number }) | undefined } {
  const loader = createLoader(samples, { ...order, purpose: "shuffle-sft" });
  return {
    take: (cursor) => {
      const drawn = loader.take(cursor, batchSize);
      return drawn && { ...packSamples(drawn.items), epoch: drawn.epoch, nextCursor: drawn.nextCursor };
    },
  };
}
