// The public names of @gradus/rewards.
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
export { isRewardReference, type LoadedReward, loadReward, RewardError } from "./load-reward.ts";
export { mapAtMost, rewardsAtOnce } from "./map-at-most.ts";
export { mathReward } from "./math-reward.ts";
export { judge, type Reward, type RewardPrompt, type RewardRollout } from "./reward.ts";
export { fault, type Verdict, type VerdictKind, verdictKinds } from "./verdict.ts";
