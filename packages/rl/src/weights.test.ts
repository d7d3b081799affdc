import { expect, test } from "bun:test";
import { rolloutAdvantages } from "./advantage.ts";
import type { SurvivingGroup } from "./filter.ts";
import { type LossAggMode, rolloutWeights } from "./weights.ts";

// Two groups of two, advantages without std so that the arithmetic stays exact:
// group 0: scores 1, 0 → advantages 0.5, −0.5; lengths 2, 6 (8 tokens)
// group 1: scores 0, 2 → advantages −1, 1;     lengths 4, 12 (16 tokens)
const groups: SurvivingGroup[] = [
  {
    promptIndex: 0,
    survivors: [
      { index: 0, score: 1, length: 2, inLoss: true },
      { index: 1, score: 0, length: 6, inLoss: true },
    ],
  },
  {
    promptIndex: 1,
    survivors: [
      { index: 2, score: 0, length: 4, inLoss: true },
      { index: 3, score: 2, length: 12, inLoss: true },
    ],
  },
];

const weigh = (input: SurvivingGroup[], lossAggMode: LossAggMode, rollouts = 4) =>
  rolloutWeights(input, rolloutAdvantages(input, rollouts, "none"), { lossAggMode, maxResponseLength: 16 });
const f32 = (...values: number[]) => new Float32Array(values);

test("group-token-mean: A / (groups · tokens of the group)", () => {
  // 0.5 / (2 · 8) = 1/32; 1 / (2 · 16) = 1/32.
  expect(weigh(groups, "group-token-mean")).toEqual(f32(1 / 32, -1 / 32, -1 / 32, 1 / 32));
});

test("token-mean: A / tokens of the batch", () => {
  // 8 + 16 = 24 tokens: 0.5 / 24 = 1/48.
  expect(weigh(groups, "token-mean")).toEqual(f32(1 / 48, -1 / 48, -1 / 24, 1 / 24));
});

test("seq-mean-token-mean: A / (rollouts · tokens of the rollout)", () => {
  // 0.5 / (4 · 2) = 1/16; 0.5 / (4 · 6) = 1/48; 1 / (4 · 4) = 1/16; 1 / (4 · 12) = 1/48.
  expect(weigh(groups, "seq-mean-token-mean")).toEqual(f32(1 / 16, -1 / 48, -1 / 16, 1 / 48));
});

test("seq-mean-token-sum-norm: A / (rollouts · limit)", () => {
  // 0.5 / (4 · 16) = 1/128; 1 / 64.
  expect(weigh(groups, "seq-mean-token-sum-norm")).toEqual(f32(1 / 128, -1 / 128, -1 / 64, 1 / 64));
});

test("group-token-mean is the mean over groups of the mean over the group's tokens of the advantage", () => {
  // With logprob = 1 everywhere, J = Σ weight · |o| = mean of (0.5·2 − 0.5·6)/8 = −1/4 and (−4 + 12)/16 = 1/2, so 1/8.
  const weights = weigh(groups, "group-token-mean");
  const lengths = [2, 6, 4, 12];
  expect(lengths.reduce((total, length, index) => total + length * (weights[index] ?? 0), 0)).toBe(1 / 8);
});

// A masked rollout (under "mask") counts in mean and std; its tokens are in no denominator.
const masked: SurvivingGroup[] = [
  {
    promptIndex: 0,
    survivors: [
      { index: 0, score: 1, length: 4, inLoss: true },
      { index: 1, score: 0, length: 16, inLoss: false },
    ],
  },
  {
    promptIndex: 1,
    survivors: [
      { index: 2, score: 0, length: 16, inLoss: false },
      { index: 3, score: 0, length: 16, inLoss: false },
    ],
  },
];

test("masked tokens, rollouts and groups without a token in the loss are in no denominator", () => {
  // Rollout 0 has advantage 1 − 0.5; one group, one rollout and 4 tokens are in the loss.
  expect(weigh(masked, "group-token-mean")).toEqual(f32(0.5 / 4, 0, 0, 0));
  expect(weigh(masked, "token-mean")).toEqual(f32(0.5 / 4, 0, 0, 0));
  expect(weigh(masked, "seq-mean-token-mean")).toEqual(f32(0.5 / 4, 0, 0, 0));
  expect(weigh(masked, "seq-mean-token-sum-norm")).toEqual(f32(0.5 / 16, 0, 0, 0));
  expect(rolloutAdvantages(masked, 4, "none")).toEqual(Float64Array.of(0.5, -0.5, 0, 0));
});

test("a group without variance that was kept stays in the denominators with weight 0", () => {
  const equal: SurvivingGroup = {
    promptIndex: 2,
    survivors: [
      { index: 4, score: 1, length: 4, inLoss: true },
      { index: 5, score: 1, length: 4, inLoss: true },
    ],
  };
  // Three groups: 0.5 / (3 · 8) = 1/48.
  const weights = weigh([...groups, equal], "group-token-mean", 6);
  expect(weights).toEqual(f32(1 / 48, -1 / 48, -1 / 48, 1 / 48, 0, 0));
});

test("rollouts that left the batch have weight and advantage 0", () => {
  expect(weigh(groups, "token-mean", 6).slice(4)).toEqual(f32(0, 0));
  expect(rolloutAdvantages(groups, 6, "none")).toEqual(Float64Array.of(0.5, -0.5, -1, 1, 0, 0));
});
