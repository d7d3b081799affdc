// Advantages: how much better a rollout is than its group, A_i = (S_i − mean(S)) / std(S) and its relatives.

import type { SurvivingGroup } from "./filter.ts";

/**
 * "sample": divided by the Bessel-corrected std + 1e-6 (the default). "population": by the population std + 1e-6.
 * "none": the mean is taken away, nothing divided. "leave-one-out": minus the mean of the others, nothing divided.
 */
export type AdvantageStd = "sample" | "population" | "none" | "leave-one-out";

const stdFloor = 1e-6;

/**
 * One advantage per score of a group of at least two. Equal scores give exactly 0: rounding in their mean
 * must not be blown up by the division through the floor.
 */
export function groupAdvantages(scores: readonly number[], mode: AdvantageStd): number[] {
  if (scores.every((score) => score === scores[0])) return scores.map(() => 0);
  const count = scores.length;
  const total = sum(scores);
  const mean = total / count;
  if (mode === "none") return scores.map((score) => score - mean);
  if (mode === "leave-one-out") return scores.map((score) => score - (total - score) / (count - 1));
  const squares = sum(scores.map((score) => (score - mean) ** 2));
  const std = Math.sqrt(squares / (mode === "sample" ? count - 1 : count));
  return scores.map((score) => (score - mean) / (std + stdFloor));
}

/** One advantage per rollout of a batch of `rollouts`: 0 for those that take no part in a group. */
export function rolloutAdvantages(
  groups: readonly SurvivingGroup[],
  rollouts: number,
  mode: AdvantageStd,
): Float64Array {
  const advantages = new Float64Array(rollouts);
  for (const { survivors } of groups) {
    const scores = survivors.map(({ score }) => score);
    const values = groupAdvantages(scores, mode);
    for (const [place, { index }] of survivors.entries()) advantages[index] = values[place] ?? 0;
  }
  return advantages;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
