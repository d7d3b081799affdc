// Supervised fine-tuning from the SDK: samples become packed batches, rl's SFT loop does the rest.
import { AdamW } from "@gradus/config";
import { sftBatches, type TokenizedSample } from "@gradus/data";
import {
  type LoopState,
  type PromptText,
  type StageEnd,
  type StepRecord,
  sftLoop,
  startLoop,
  type TrainablePolicy,
} from "@gradus/rl";
import { z } from "zod";
import { GradusError } from "./gradus-error.ts";
import { secondsNow } from "./grpo.ts";
import { withPublicErrors } from "./loop-errors.ts";
import { optimizerOptions, optimizerSettings, type RateOptions } from "./optimizer-options.ts";
import { loopState, readOptions, seed } from "./options.ts";

/** What `sft` asks of a policy beyond training: its tokenizer, for samples that are text. */
export interface SftPolicy extends TrainablePolicy {
  readonly info: { readonly eosTokenIds: readonly number[] };
  tokenize(text: string, options?: { addSpecial?: boolean }): Promise<Uint32Array>;
}

/** A sample as text; its response gets the end token. */
type TextSample = { readonly prompt: string | PromptText; readonly response: string };

/** A sample as text, or as token ids whose loss begins at `promptLength`. */
export type SftSample = TextSample | Omit<TokenizedSample, "id">;

const schema = z.strictObject({
  policy: z.custom<SftPolicy>(
    (value) => typeof value === "object" && value !== null && "step" in value,
    "expected a Policy",
  ),
  samples: z.array(z.custom<SftSample>()).min(1, "expected at least one sample").readonly(),
  batchSize: z.int().min(1),
  epochs: z.number().positive().optional(),
  steps: z.int().min(1).optional(),
  seed: seed.default(0),
  maxSkippedInARow: z.int().min(1).default(3),
  state: loopState.optional(),
  clock: z.custom<() => number>((value) => typeof value === "function").optional(),
  ...optimizerOptions,
  learningRate: optimizerOptions.learningRate.default(1e-5),
  betas: AdamW.betas.readonly().default([0.9, 0.95]),
});

/** Options of `sft`. */
export type SftOptions = RateOptions & {
  readonly policy: SftPolicy;
  readonly samples: readonly SftSample[];
  /** Samples per update. */
  readonly batchSize: number;
  /** Passes over the samples, each in its own seeded order; without `steps`, 1. */
  readonly epochs?: number;
  /** Ends after so many updates. */
  readonly steps?: number;
  readonly seed?: bigint | number;
  readonly maxSkippedInARow?: number;
  readonly state?: LoopState;
  readonly clock?: () => number;
};

/**
 * Trains `policy` on samples, loss on their responses only. Yields one metrics record per update and returns why it ended.
 *
 * @example
 * const run = sft({ policy, samples: [{ prompt: "37+5=", response: "42" }], batchSize: 1, learningRate: 1e-3 });
 * for await (const step of run) console.log(step["train/loss"]);
 */
export async function* sft(options: SftOptions): AsyncGenerator<StepRecord, StageEnd, undefined> {
  const {
    policy,
    samples,
    batchSize,
    epochs,
    steps,
    seed: key,
    state,
    clock,
    maxSkippedInARow,
    ...read
  } = readOptions(schema, "sft", options);
  const passes = epochs ?? (steps === undefined ? 1 : undefined);
  const tokenized: TokenizedSample[] = [];
  for (const [index, sample] of samples.entries()) {
    tokenized.push({ id: String(index), ...("tokens" in sample ? sample : await tokenizeSample(policy, sample)) });
  }
  const loop = sftLoop({
    policy,
    batches: sftBatches(tokenized, { batchSize, seed: key, ...(passes !== undefined && { epochs: passes }) }),
    optimizer: { ...optimizerSettings(read), seed: key },
    ...(steps !== undefined && { steps }),
    maxSkippedInARow,
    state: state ?? startLoop(),
    clock: clock ?? secondsNow,
  });
  return yield* withPublicErrors(loop);
}

async function tokenizeSample(policy: SftPolicy, { prompt, response }: TextSample) {
  const { text, addSpecial } = typeof prompt === "string" ? { text: prompt, addSpecial: true } : prompt;
  const before = await policy.tokenize(text, { addSpecial });
  const after = await policy.tokenize(response);
  const [end] = policy.info.eosTokenIds;
  if (end === undefined) {
    throw new GradusError(
      "bad-config",
      "sft: the policy has no end token; set eos_token_id in its config.json, or give tokens",
    );
  }
  const ends = policy.info.eosTokenIds.includes(after.at(-1) ?? -1);
  return { tokens: Uint32Array.of(...before, ...after, ...(ends ? [] : [end])), promptLength: before.length };
}
