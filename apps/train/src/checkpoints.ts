// The checkpoints of one run on disk.
import { existsSync, readdirSync } from "node:fs";

/** Steps that have a checkpoint, lowest first; damaged ones, which carry another name, do not count. */
export function checkpointSteps(folder: string): number[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .flatMap((name) => /^step-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}
