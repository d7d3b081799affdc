// The public names of @gradus/rl.
export { type AdvantageStd, rolloutAdvantages } from "./advantage.ts";
export { RlError, type RlErrorCode } from "./error.ts";
export { type Filtered, filterGroups, type OverlongFiltering } from "./filter.ts";
export { groupRollouts } from "./group.ts";
export { grpoLoop } from "./loop.ts";
export {
  type GrpoOptions,
  type JudgedRollout,
  type LoopState,
  type OptimizerOptions,
  type RecordedStep,
  type Source,
  startLoop,
} from "./loop-options.ts";
export type { StepRecord } from "./metrics.ts";
export type {
  FinishedRollout,
  FinishReason,
  Message,
  PackedTokens,
  PromptInput,
  PromptText,
  RolloutBatch,
  RolloutColumns,
  RolloutInfo,
  RolloutOptions,
  StepMetrics,
  StepOptions,
  TrainablePolicy,
  TrainingBatch,
} from "./policy.ts";
export { learningRate, type Schedule } from "./schedule.ts";
export { type BatchSource, type SftOptions, sftLoop } from "./sft.ts";
export type { PlateauRule, StageEnd, StageEndRules } from "./stage-end.ts";
export { type LossAggMode, rolloutWeights, type WeightOptions } from "./weights.ts";
