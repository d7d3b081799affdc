// The checkpoints of one run on disk.
import { existsSync, readdirSync } from "node:fs";

/** Steps that have a checkpoint, lowest first; damaged ones, which carry another name, do not count. */
export function checkpointSteps(folder: string): number[] {
  return names(folder)
    .flatMap((name) => /^step-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/** Names of checkpoints that were set aside as damaged, lowest step first. */
export function damagedCheckpoints(folder: string): string[] {
  return names(folder)
    .filter((name) => /^step-\d+\.damaged(-\d+)?$/.test(name))
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

function names(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}
