// The error of an evaluation that cannot give a figure.

/** "empty": a task without problems. "all-faults": a problem of which no response was graded. "bad-option": a k over n. */
export type EvaluationErrorCode = "empty" | "all-faults" | "bad-option";

export class EvaluationError extends Error {
  override readonly name = "EvaluationError";
  readonly code: EvaluationErrorCode;

  constructor(code: EvaluationErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
