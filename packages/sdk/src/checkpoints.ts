// A run's checkpoints folder: what to resume from, and what may go.
import { latestCheckpoint as nativeLatest, pruneCheckpointsOf } from "@gradus/native";
import { fromNative } from "./gradus-error.ts";

/** The newest whole checkpoint, or nulls where there is none; `warnings` names each damaged one that was set aside. */
export type LatestCheckpoint = { readonly warnings: readonly string[] } & (
  | { readonly folder: string; readonly step: number }
  | { readonly folder: null; readonly step: null }
);

/**
 * The newest checkpoint of `folder` whose every file is as its manifest says. Damaged newer ones are renamed.
 *
 * @example
 * const { folder, warnings } = await latestCheckpoint("runs/a/checkpoints");
 * if (folder !== null) await Policy.resume(folder);
 */
export async function latestCheckpoint(folder: string): Promise<LatestCheckpoint> {
  const { folder: found, step, warnings } = await fromNative(() => nativeLatest(folder));
  return found === undefined || step === undefined
    ? { folder: null, step: null, warnings }
    : { folder: found, step, warnings };
}

/**
 * Removes all checkpoints but the newest `keepLast` and the protected steps, never the only good one; gives the removed steps.
 *
 * @example
 * const removed = await pruneCheckpoints("runs/a/checkpoints", { keepLast: 2, protectedSteps: [40] });
 */
export async function pruneCheckpoints(
  folder: string,
  { keepLast, protectedSteps = [] }: { keepLast: number; protectedSteps?: readonly number[] },
): Promise<number[]> {
  return fromNative(() => pruneCheckpointsOf(folder, keepLast, [...protectedSteps]));
}
