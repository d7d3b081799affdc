// How a failure is told: one line that says what and what to do; a stack only for someone who asks for it.
import { InterruptedError, signalExitCode } from "./interrupt.ts";

/** For --help. */
export const exitCodesHelp = `Exit codes: 0 done; 2 refused, nothing was done: the flags, the config, the data or the model are not right;
1 failed later, or the machine failed; 130 and 143 stopped by Ctrl-C and SIGTERM.`;

// What is nobody's input: the machine or this program.
const machineFaults = ["internal", "out-of-memory", "disk-full", "io", "store", "ENOSPC", "SQLITE_FULL"];

/**
 * The exit code of a verb that failed.
 * @param begun whether the verb had begun to do what it was asked for; before that, a failure is the input's.
 */
export function exitCodeOf(error: unknown, begun: boolean): number {
  if (error instanceof InterruptedError) return signalExitCode(error.signal);
  const code = codeOf(error);
  return begun || code === null || machineFaults.includes(code) ? 1 : 2;
}

function codeOf(error: unknown): string | null {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : null;
}

/** The error in one line. */
export function explainError(error: unknown): string {
  const message = (error instanceof Error ? error.message : String(error)).trim().replace(/\s*\n\s*/g, " ");
  if (error instanceof InterruptedError) return message;
  const code = codeOf(error);
  if (code === null)
    return `error: ${message} (this should not happen: please report it with the command that led here)`;
  const full = code === "ENOSPC" || code === "SQLITE_FULL";
  const remedy = full ? "; free some disk space, then go on with --resume" : "";
  return `error: ${message}${remedy}`;
}
