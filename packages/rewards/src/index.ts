// The public names of @gradus/rewards.
export { type CodeRewardOptions, codeReward, noProgram } from "./code/code-reward.ts";
export { type EvalPlusDataset, type EvalPlusTask, readEvalPlus } from "./code/evalplus-task.ts";
export { extractProgram } from "./code/extract-program.ts";
export { type EvalPlusGrader, evalPlusGrader } from "./code/grade-evalplus.ts";
export { gradeProgram, type ProgramOptions } from "./code/grade-program.ts";
export { ownSandbox } from "./code/own-sandbox.ts";
export type { Problem } from "./code/problem.ts";
export { FormatError, type PythonJson, parsePythonJson } from "./code/python-json.ts";
export { problemOf } from "./code/read-problem.ts";
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
  type MathGrader,
  type MathMode,
  type MathOptions,
  type MathRow,
  mathGrader,
  mathModes,
} from "./grade-math.ts";
export { isRewardReference } from "./load-reward.ts";
export { limitAtOnce, mapAtMost, rewardsAtOnce } from "./map-at-most.ts";
export { mathReward } from "./math-reward.ts";
export {
  judge,
  type Reward,
  type RewardParts,
  type RewardPrompt,
  type RewardRollout,
} from "./reward.ts";
export { RewardError } from "./reward-error.ts";
export { type Sandbox, type SandboxOptions, startSandbox } from "./sandbox/sandbox.ts";
export { SandboxError } from "./sandbox/sandbox-error.ts";
export { detailOf, fault, kindOf, type Verdict, type VerdictKind, verdictKinds } from "./verdict.ts";
