// Weights: one number per rollout, its advantage over every denominator, so that loss = −Σ weight · logprob over tokens.
// The trainer adds them up as they are, so the result never depends on how a batch is split.
import type { SurvivingGroup, Survivor } from "./filter.ts";

/**
 * How token losses become one number (|o| a response's tokens; every denominator counts only what has tokens in the loss):
 * "group-token-mean": tokens averaged within the group, groups averaged (equation 1). A / (groups · Σ_group |o|)
 * "token-mean": tokens averaged over the batch. A / Σ_batch |o|
 * "seq-mean-token-mean": tokens averaged within the rollout, rollouts averaged. A / (rollouts · |o|)
 * "seq-mean-token-sum-norm": tokens summed over the limit, rollouts averaged (Dr. GRPO). A / (rollouts · maxResponseLength)
 */
export type LossAggMode = "group-token-mean" | "token-mean" | "seq-mean-token-mean" | "seq-mean-token-sum-norm";

export type WeightOptions = {
  readonly lossAggMode: LossAggMode;
  /** The stage's limit in tokens. */
  readonly maxResponseLength: number;
};

/**
 * One weight per rollout of the batch, from its advantage and the groups that the filter kept;
 * 0 for those whose tokens are not in the loss.
 */
export function rolloutWeights(
  groups: readonly SurvivingGroup[],
  advantages: Float64Array,
  options: WeightOptions,
): Float32Array {
  const weights = new Float32Array(advantages.length);
  const divisor = denominators(groups, options);
  for (const group of groups) {
    const groupDivisor = divisor(group);
    for (const survivor of group.survivors) {
      if (survivor.inLoss) weights[survivor.index] = (advantages[survivor.index] ?? 0) / groupDivisor(survivor);
    }
  }
  return weights;
}

type Divisor = (group: SurvivingGroup) => (survivor: Survivor) => number;

function denominators(groups: readonly SurvivingGroup[], options: WeightOptions): Divisor {
  const tokens = groups.map(lossTokens);
  const groupCount = tokens.filter((count) => count > 0).length;
  const batchTokens = tokens.reduce((total, count) => total + count, 0);
  const sequences = groups.flatMap(({ survivors }) => survivors.filter(({ inLoss }) => inLoss)).length;
  switch (options.lossAggMode) {
    case "group-token-mean":
      return (group) => {
        const groupTokens = lossTokens(group);
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

function lossTokens({ survivors }: SurvivingGroup): number {
  return survivors.reduce((total, { inLoss, length }) => total + (inLoss ? length : 0), 0);
}
