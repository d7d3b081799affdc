// How a failure is told: one line that says what and what to do; a stack only for someone who asks for it.
import { ConfigError } from "@gradus/config";
import { InterruptedError, signalExitCode } from "./interrupt.ts";
import { UsageError } from "./usage-error.ts";

/** 2 for a command line or config that cannot be used, 130 or 143 after a signal, 1 for everything else. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof InterruptedError) return signalExitCode(error.signal);
  return error instanceof UsageError || error instanceof ConfigError ? 2 : 1;
}

/** The error in one line. */
export function explainError(error: unknown): string {
  const message = (error instanceof Error ? error.message : String(error)).trim().replace(/\s*\n\s*/g, " ");
  if (error instanceof InterruptedError) return message;
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string")
    return `error: ${message} (this should not happen: please report it with the command that led here)`;
  const full = error.code === "ENOSPC" || error.code === "SQLITE_FULL";
  const remedy = full ? "; free some disk space, then go on with --resume" : "";
  return `error: ${message}${remedy}`;
}
