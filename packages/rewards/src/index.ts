// The public names of @gradus/rewards.
export { bySource, otherSources, type WeightedReward, weightedSum, withTimeLimit } from "./compose-rewards.ts";
export {
  configuredReward,
  namesIn,
  type RewardPlan,
  type RewardSettings,
  type RewardSumPlan,
  rewardHashes,
  rewardNames,
} from "./configured-reward.ts";
export { exactReward } from "./exact-reward.ts";
export {
  gradingVersion,
  type MathGrader,
  type MathMode,
  type MathOptions,
  type MathRow,
  mathGrader,
  mathModes,
} from "./grade-math.ts";
export { isRewardReference, type LoadedReward, loadReward } from "./load-reward.ts";
export { limitAtOnce, mapAtMost, rewardsAtOnce } from "./map-at-most.ts";
export { mathReward } from "./math-reward.ts";
export {
  judge,
  limitSecondsDefault,
  type Reward,
  type RewardParts,
  type RewardPrompt,
  type RewardRollout,
} from "./reward.ts";
export { RewardError } from "./reward-error.ts";
export { fault, type Verdict, type VerdictKind, verdictKinds } from "./verdict.ts";
