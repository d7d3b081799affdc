import { expect, test } from "bun:test";
import { learningRate } from "./schedule.ts";

test("constant with warm-up rises in equal parts and stays", () => {
  const schedule = { kind: "constant", peak: 8, warmupSteps: 4 } as const;
  expect([0, 1, 2, 3, 4, 100].map((step) => learningRate(schedule, step))).toEqual([2, 4, 6, 8, 8, 8]);
});

test("constant without warm-up is the peak from the first step", () => {
  expect(learningRate({ kind: "constant", peak: 1e-6, warmupSteps: 0 }, 0)).toBe(1e-6);
});

test("cosine: warm-up, half way, end, beyond the end", () => {
  // Peak 8, floor 0.25 · 8 = 2; after 2 steps of warm-up the middle of the 8 that follow is 2 + 6 / 2 = 5.
  const schedule = { kind: "cosine", peak: 8, warmupSteps: 2, totalSteps: 10, floorShare: 0.25 } as const;
  expect(learningRate(schedule, 0)).toBe(4);
  expect(learningRate(schedule, 1)).toBe(8);
  expect(learningRate(schedule, 2)).toBe(8);
  expect(learningRate(schedule, 6)).toBeCloseTo(5, 12);
  expect(learningRate(schedule, 10)).toBeCloseTo(2, 12);
  expect(learningRate(schedule, 50)).toBeCloseTo(2, 12);
});

test("linear: half way between peak and floor in the middle", () => {
  const schedule = { kind: "linear", peak: 8, warmupSteps: 2, totalSteps: 10, floorShare: 0.25 } as const;
  expect([0, 1, 2, 4, 6, 10, 50].map((step) => learningRate(schedule, step))).toEqual([4, 8, 8, 6.5, 5, 2, 2]);
});
