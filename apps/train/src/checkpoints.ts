// The checkpoints of one run on disk: which there are, and which may go.
import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

/** Steps that have a checkpoint, lowest first; damaged ones, which carry another name, do not count. */
export function checkpointSteps(folder: string): number[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .flatMap((name) => /^step-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/**
 * Removes all but the newest `keepLast` checkpoints and the protected ones; gives the steps that went.
 * A folder is renamed before it is emptied, so that a kill in between leaves no checkpoint that looks whole.
 */
export function pruneCheckpoints(folder: string, keepLast: number, protectedSteps: ReadonlySet<number>): number[] {
  const steps = checkpointSteps(folder);
  const removed = steps.slice(0, Math.max(0, steps.length - keepLast)).filter((step) => !protectedSteps.has(step));
  for (const step of removed) renameSync(join(folder, `step-${step}`), join(folder, `removing-${step}`));
  if (!existsSync(folder)) return removed;
  for (const name of readdirSync(folder).filter((name) => /^removing-\d+$/.test(name)))
    rmSync(join(folder, name), { recursive: true });
  return removed;
}
