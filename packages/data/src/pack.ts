// Packing: samples become token ids once, and batches of them one long row each, as `policy.batch` takes them.
import { DataError } from "./data-error.ts";
import { createLoader } from "./loader.ts";
import type { SftSample } from "./sft-sample.ts";

/** Token ids of a sample; those from `promptLength` on carry loss. */
export type TokenizedSample = { readonly id: string; readonly tokens: Uint32Array; readonly promptLength: number };

/** Sequence s is tokens[cuSeqlens[s] … cuSeqlens[s + 1]]; lossMask is 1 where a token is predicted with loss. */
export type PackedBatch = { tokens: Uint32Array; cuSeqlens: Uint32Array; lossMask: Uint8Array };

/**
 * What happens to samples of more than `maxTokens`: "drop" leaves them out, "truncate" cuts the response's end
 * (and drops those whose prompt alone fills the limit), "refuse" stops. All are counted.
 */
export type TokenizeOptions = { readonly maxTokens: number; readonly overlength: "drop" | "truncate" | "refuse" };

export type TokenizedSamples = { samples: TokenizedSample[]; dropped: number; truncated: number };

/** A prompt may begin with the tokenizer's own beginning (BOS), as a rollout's does; a response never does. */
type Tokenize = (text: string, part: "prompt" | "response") => Uint32Array | Promise<Uint32Array>;

/** Token ids of all samples. Prompt and response are tokenized apart, so the border is where a rollout's would be. */
export async function tokenizeSamples(
  samples: readonly SftSample[],
  tokenize: Tokenize,
  { maxTokens, overlength }: TokenizeOptions,
): Promise<TokenizedSamples> {
  const result: TokenizedSamples = { samples: [], dropped: 0, truncated: 0 };
  for (const { id, prompt, response } of samples) {
    const before = await tokenize(prompt, "prompt");
    const after = await tokenize(response, "response");
    const tokens = new Uint32Array(before.length + after.length);
    tokens.set(before);
    tokens.set(after, before.length);
    const sample = { id, tokens, promptLength: before.length };
    if (tokens.length <= maxTokens) result.samples.push(sample);
    else if (overlength === "refuse") {
      throw new DataError("bad-sample", `sample ${id} has ${tokens.length} tokens, the limit is ${maxTokens}`);
    } else if (overlength === "drop" || before.length >= maxTokens) result.dropped++;
    else {
      result.truncated++;
      result.samples.push({ ...sample, tokens: tokens.slice(0, maxTokens) });
    }
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
