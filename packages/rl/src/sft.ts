// The SFT loop: packed batches of teacher samples, loss on response tokens only, one update per batch.

import { RlError } from "./error.ts";
import { advance, type LoopState, type OptimizerOptions } from "./loop-options.ts";
import { counters, type StepRecord, timingMetrics } from "./metrics.ts";
import type { PackedTokens, TrainablePolicy } from "./policy.ts";
import { type StageEnd, stageEnd } from "./stage-end.ts";
import { stopWhenNonFinite } from "./stop.ts";

/** Packed batches by cursor: a pure function, undefined when the samples' epochs are over. */
export interface BatchSource {
  take(cursor: number): (PackedTokens & { epoch: number; nextCursor: number }) | undefined;
}

export type SftOptions = {
  readonly policy: TrainablePolicy;
  readonly batches: BatchSource;
  readonly optimizer: OptimizerOptions;
  /** Without it the loop ends with the batches. */
  readonly steps?: number;
  readonly maxSkippedInARow: number;
  readonly state: LoopState;
  /** Seconds, from any fixed moment. */
  readonly clock: () => number;
};

/** Yields one metrics record per step, starting from `options.state`; the loss is the mean over the batch's loss tokens. */
export async function* sftLoop(options: SftOptions): AsyncGenerator<StepRecord, StageEnd, undefined> {
  const { policy, state, clock, optimizer } = options;
  const rules = options.steps === undefined ? {} : { steps: options.steps };
  for (;;) {
    const end = stageEnd(rules, state.step, []);
    if (end) return end;
    const started = clock();
    const drawn = options.batches.take(state.cursor);
    if (!drawn) return "prompts-exhausted";
    const { tokens, cuSeqlens, lossMask, epoch, nextCursor } = drawn;
    const lossTokens = lossMask.reduce((total, mask) => total + mask, 0);
    if (lossTokens === 0) throw new RlError("bad-option", `the batch at sample ${state.cursor} has no response token`);
    const { learningRate, ...settings } = optimizer;
    const rate = learningRate(state.step);
    const weights = new Float32Array(lossTokens).fill(1 / lossTokens);
    const batch = await policy.batch({ tokens, cuSeqlens, lossMask });
    let record: StepRecord;
    try {
      const update = await policy.step(batch, { ...settings, weights, learningRate: rate });
      const seconds = clock() - started;
      advance(state, { nextCursor, update });
      record = {
        "batch/sequences": cuSeqlens.length - 1,
        "batch/tokens": batch.tokens,
        "batch/trained_tokens": update.trainedTokens,
        ...(update.skipped === null && {
          "train/loss": update.loss,
          "actor/grad_norm": update.gradNorm,
          "actor/entropy": update.entropy,
        }),
        ...(update.seconds > 0 && { "perf/train_tokens_per_s": update.tokens / update.seconds }),
        "actor/lr": rate,
        ...counters(state, epoch),
        ...timingMetrics(batch, { update: update.seconds, step: seconds }),
      };
    } finally {
      batch.close();
    }
    yield record;
    stopWhenNonFinite(state, options.maxSkippedInARow);
  }
}
