import { expect, test } from "bun:test";
import { groupAdvantages } from "./advantage.ts";

// Scores 1, 0, 0, 1: mean 0.5, squared distances 4 · 0.25 = 1.
const scores = [1, 0, 0, 1];

test("sample std: sqrt(1 / 3) + 1e-6", () => {
  const std = Math.sqrt(1 / 3);
  const a = 0.5 / (std + 1e-6);
  expect(groupAdvantages(scores, "sample")).toEqual([a, -a, -a, a]);
  expect(a).toBeCloseTo(0.8660239, 7); // 0.5 / 0.57735127
});

test("population std: sqrt(1 / 4) + 1e-6", () => {
  const a = 0.5 / (0.5 + 1e-6);
  expect(groupAdvantages(scores, "population")).toEqual([a, -a, -a, a]);
});

test("none: only the mean is taken away", () => {
  expect(groupAdvantages([1, 0, 0, 1], "none")).toEqual([0.5, -0.5, -0.5, 0.5]);
  expect(groupAdvantages([3, 0, 0], "none")).toEqual([2, -1, -1]);
});

test("leave-one-out: the mean of the others", () => {
  // Total 3: for the first 3 − 0/2 = 3; for the second 0 − 3/2 = −1.5.
  expect(groupAdvantages([3, 0, 0], "leave-one-out")).toEqual([3, -1.5, -1.5]);
});

test("three scores under sample std", () => {
  // Mean 1, squared distances 4 + 1 + 1 = 6, over 2 = 3.
  const std = Math.sqrt(3) + 1e-6;
  expect(groupAdvantages([3, 0, 0], "sample")).toEqual([2 / std, -1 / std, -1 / std]);
});

test("equal scores give exactly 0, although their mean is rounded", () => {
  // 0.1 + 0.1 + 0.1 = 0.30000000000000004, whose third is not 0.1.
  for (const mode of ["sample", "population", "none", "leave-one-out"] as const) {
    expect(groupAdvantages([0.1, 0.1, 0.1], mode)).toEqual([0, 0, 0]);
  }
});
