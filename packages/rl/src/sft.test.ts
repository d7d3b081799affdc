import { expect, test } from "bun:test";
import { startLoop } from "./loop-options.ts";
import type { PackedTokens, StepMetrics, StepOptions, TrainablePolicy } from "./policy.ts";
import { type SftOptions, sftLoop } from "./sft.ts";

function fakePolicy(update: Partial<StepMetrics> = {}) {
  const steps: StepOptions[] = [];
  const batches: PackedTokens[] = [];
  const policy: TrainablePolicy = {
    rollout: () => Promise.reject(new Error("not used")),
    batch: async (input) => {
      if (batches.push(input) > 3) throw new Error("more batches than there are: the loop should have ended");
      return { tokens: input.tokens.length, close: () => {} };
    },
    step: async (batch, options) => {
      steps.push(options);
      const seen = { tokens: batch.tokens, trainedTokens: options.weights.length };
      const numbers = { loss: 2, gradNorm: 1, entropy: 3, logprobAbsDiffMax: 0 };
      return { ...seen, ...numbers, skipped: null, seconds: 0.5, ...update };
    },
  };
  return { policy, steps, batches };
}

/** Three batches of one sequence: tokens cursor, 7, 8, 9 of which the last two carry loss. */
const batches: SftOptions["batches"] = {
  take: (cursor) =>
    cursor >= 3
      ? undefined
      : {
          tokens: new Uint32Array([cursor, 7, 8, 9]),
          cuSeqlens: new Uint32Array([0, 4]),
          lossMask: new Uint8Array([0, 0, 1, 1]),
          epoch: cursor,
          nextCursor: cursor + 1,
        },
};

function options(policy: TrainablePolicy, changes: Partial<SftOptions> = {}): SftOptions {
  const optimizer = { learningRate: (step: number) => 10 + step, weightDecay: 0.1 };
  return { policy, batches, optimizer, maxSkippedInARow: 1, state: startLoop(), clock: () => 0, ...changes };
}

test("each batch is one update with weight 1 / loss tokens, until the samples are over", async () => {
  const { policy, steps, batches: seen } = fakePolicy();
  const records = await Array.fromAsync(sftLoop(options(policy)));
  expect(steps).toEqual(
    [10, 11, 12].map((learningRate) => ({ weights: new Float32Array([0.5, 0.5]), learningRate, weightDecay: 0.1 })),
  );
  expect(seen.map(({ tokens }) => tokens[0])).toEqual([0, 1, 2]);
  expect(records[2]).toMatchObject({
    "train/loss": 2,
    "actor/lr": 12,
    "batch/trained_tokens": 2,
    "batch/tokens": 4,
    "training/epoch": 2,
    "training/global_step": 3,
    "perf/train_tokens_per_s": 8,
  });
});

test("it ends after its steps and goes on from its state", async () => {
  const { policy, batches: seen } = fakePolicy();
  const state = startLoop();
  await Array.fromAsync(sftLoop(options(policy, { state, steps: 1 })));
  await Array.fromAsync(sftLoop(options(policy, { state, steps: 2 })));
  expect(seen.map(({ tokens }) => tokens[0])).toEqual([0, 1]);
  expect(state).toMatchObject({ step: 2, cursor: 2, globalStep: 2 });
});

test("updates that are not finite stop it", async () => {
  const { policy } = fakePolicy({ skipped: "non-finite loss" });
  await expect(Array.fromAsync(sftLoop(options(policy)))).rejects.toThrow("1 updates in a row were not finite");
});
