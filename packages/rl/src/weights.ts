// Weights: one number per rollout, its advantage over every denominator, so that loss = −Σ weight · logprob over tokens.
// The trainer adds them up as they are, so the result never depends on how a batch is split.
import { type AdvantageStd, groupAdvantages } from "./advantage.ts";
import type { SurvivingGroup, Survivor } from "./filter.ts";

/**
 * How token losses become one number (|o| a response's tokens; every denominator counts only what holds a trained token):
 * "group-token-mean": tokens averaged within the group, groups averaged (equation 1). A / (groups · Σ_group |o|)
 * "token-mean": tokens averaged over the batch. A / Σ_batch |o|
 * "seq-mean-token-mean": tokens averaged within the rollout, rollouts averaged. A / (rollouts · |o|)
 * "seq-mean-token-sum-norm": tokens summed over the limit, rollouts averaged (Dr. GRPO). A / (rollouts · maxResponseLength)
 */
export type LossAggMode = "group-token-mean" | "token-mean" | "seq-mean-token-mean" | "seq-mean-token-sum-norm";

export type WeightOptions = {
  readonly lossAggMode: LossAggMode;
  readonly advantageStd: AdvantageStd;
  /** The stage's limit in tokens. */
  readonly maxResponseLength: number;
};

export type Weighted = {
  /** One per rollout of the batch: 0 for those that are not trained on. */
  readonly weights: Float32Array;
  /** One per rollout of the batch: 0 for those that take no part in their group. */
  readonly advantages: Float32Array;
  /** Places in the batch of the rollouts that are trained on, also those whose advantage is 0. */
  readonly trained: readonly number[];
};

/** Advantages and weights for a batch of `rollouts` rollouts, given the groups that the filter kept. */
export function rolloutWeights(groups: readonly SurvivingGroup[], rollouts: number, options: WeightOptions): Weighted {
  const weights = new Float32Array(rollouts);
  const advantages = new Float32Array(rollouts);
  const divisor = denominators(groups, options);
  const trained: number[] = [];
  for (const group of groups) {
    const groupDivisor = divisor(group);
    const values = groupAdvantages(
      group.survivors.map(({ score }) => score),
      options.advantageStd,
    );
    for (const [place, survivor] of group.survivors.entries()) {
      const advantage = values[place] ?? 0;
      advantages[survivor.index] = advantage;
      if (!survivor.trained) continue;
      trained.push(survivor.index);
      weights[survivor.index] = advantage / groupDivisor(survivor);
    }
  }
  return { weights, advantages, trained };
}

type Divisor = (group: SurvivingGroup) => (survivor: Survivor) => number;

function denominators(groups: readonly SurvivingGroup[], options: WeightOptions): Divisor {
  const tokens = groups.map(trainedTokens);
  const groupCount = tokens.filter((count) => count > 0).length;
  const batchTokens = tokens.reduce((total, count) => total + count, 0);
  const sequences = groups.flatMap(({ survivors }) => survivors.filter(({ trained }) => trained)).length;
  switch (options.lossAggMode) {
    case "group-token-mean":
      return (group) => {
        const groupTokens = trainedTokens(group);
        return () => groupCount * groupTokens;
      };
    case "token-mean":
      return () => () => batchTokens;
    case "seq-mean-token-mean":
      return () => (survivor) => sequences * survivor.length;
    case "seq-mean-token-sum-norm":
      return () => () => sequences * options.maxResponseLength;
  }
}

function trainedTokens({ survivors }: SurvivingGroup): number {
  return survivors.reduce((total, { trained, length }) => total + (trained ? length : 0), 0);
}
