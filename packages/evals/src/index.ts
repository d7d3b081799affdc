// The public names of @gradus/evals.

export { type EvalResult, type EvaluateOptions, evaluate, type ProblemResult } from "./evaluate.ts";
export { EvaluationError, type EvaluationErrorCode } from "./evaluation-error.ts";
export type { GenerateOptions, Generation, Generator, PromptInput, PromptText } from "./generator.ts";
export type { EvalRollout, Task } from "./task.ts";
