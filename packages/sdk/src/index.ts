// The public API of Gradus, npm name `gradus`.
export type { Frame } from "@gradus/data";
export type { EvalResult } from "@gradus/evals";
export {
  bySource,
  type CodeRewardOptions,
  codeReward,
  exactReward,
  type MathMode,
  mathReward,
  type Reward,
  type RewardParts,
  type RewardRollout,
  type Sandbox,
  type SandboxOptions,
  startSandbox,
  type Verdict,
  type WeightedReward,
  weightedSum,
  withTimeLimit,
} from "@gradus/rewards";
export {
  type FinishedRollout,
  type FinishReason,
  type LoopState,
  type Message,
  type PackedTokens,
  type PromptInput,
  type PromptText,
  type RolloutBatch,
  type RolloutInfo,
  type StageEnd,
  type StepMetrics,
  type StepRecord,
  startLoop,
  type TrainingBatch,
} from "@gradus/rl";
export { type LatestCheckpoint, latestCheckpoint, pruneCheckpoints } from "./checkpoints.ts";
export { type EvaluateOptions, evaluate } from "./evaluate.ts";
export { GradusError, type GradusErrorCode } from "./gradus-error.ts";
export { type GrpoOptions, grpo } from "./grpo.ts";
export type {
  CheckpointOptions,
  CreateOptions,
  GenerateOptions,
  LoadOptions,
  Progress,
  RolloutOptions,
  ScoreOptions,
  StageOptions,
  StepOptions,
  StreamOptions,
} from "./options.ts";
export { Policy } from "./policy.ts";
export type { Completion, Memory, MemoryPlan, PolicyInfo, ResumedPolicy, Score } from "./policy-types.ts";
export { type SftOptions, type SftSample, sft } from "./sft.ts";
export type { TaskPrompt } from "./task-prompt.ts";
