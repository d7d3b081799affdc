// The errors by which the algorithm stops a run, each with a stable code.

/**
 * "bad-option": a setting that cannot work. "off-policy": the trainer's logprobs differ from the sampler's.
 * "non-finite": too many updates in a row were not finite. "all-faults": the reward failed on every rollout of a step.
 */
export type RlErrorCode = "bad-option" | "off-policy" | "non-finite" | "all-faults";

export class RlError extends Error {
  override readonly name = "RlError";
  readonly code: RlErrorCode;

  constructor(code: RlErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
