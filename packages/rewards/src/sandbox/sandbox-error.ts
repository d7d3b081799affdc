// Why programs cannot be run here, and what to do about it.

/** `sandbox-refused`: a wall does not hold; `sandbox-failed`: the daemon is missing or ended before it was ready. */
export type SandboxErrorCode = "sandbox-refused" | "sandbox-failed";

export class SandboxError extends Error {
  override readonly name = "SandboxError";
  readonly code: SandboxErrorCode;
  /** What failed; for a refusal the primitive and its error. */
  readonly reason: string;
  readonly remedy: string;

  constructor(code: SandboxErrorCode, reason: string, remedy: string) {
    super(`the sandbox ${code === "sandbox-refused" ? "refused" : "failed"}: ${reason}; ${remedy}`);
    this.code = code;
    this.reason = reason;
    this.remedy = remedy;
  }
}
