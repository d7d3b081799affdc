// The public names of @gradus/rewards.
export { exactReward } from "./exact-reward.ts";
export { extractAnswer, lastBoxed, opensThought } from "./extract-answer.ts";
export { isRewardReference, type LoadedReward, loadReward, RewardError } from "./load-reward.ts";
export { mapAtMost, rewardsAtOnce } from "./map-at-most.ts";
export { gradeMath, mathReward, normalizeMath } from "./math-reward.ts";
export { judge, type Reward, type RewardPrompt, type RewardRollout } from "./reward.ts";
export { fault, toVerdict, type Verdict, type VerdictKind, verdictKinds, verdictSchema } from "./verdict.ts";
