// The edge where errors of the algorithms and of the data become the public API's.
import { DataError } from "@gradus/data";
import { EvaluationError } from "@gradus/evals";
import { SandboxError } from "@gradus/rewards";
import { RlError } from "@gradus/rl";
import { GradusError } from "./gradus-error.ts";

/** The error as a GradusError, with the same message. What a user's own function threw stays what it is. */
export function toPublicError(error: unknown): unknown {
  if (error instanceof RlError) return new GradusError(error.code, error.message, { cause: error });
  if (error instanceof EvaluationError) {
    return new GradusError(error.code === "empty" ? "bad-input" : error.code, error.message, { cause: error });
  }
  if (error instanceof SandboxError) return new GradusError(error.code, error.message, { cause: error });
  if (error instanceof DataError) return new GradusError("bad-input", error.message, { cause: error });
  return error;
}

/** Runs a loop to its end; its errors leave it as the public API's. */
export async function* withPublicErrors<T, R>(loop: AsyncGenerator<T, R, undefined>): AsyncGenerator<T, R, undefined> {
  try {
    return yield* loop;
  } catch (error) {
    throw toPublicError(error);
  }
}
