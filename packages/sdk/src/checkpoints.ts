// A run's checkpoints folder: what to resume from, and what may go.
import { latestCheckpoint as nativeLatest, pruneCheckpointsOf } from "@gradus/native";
import { fromNative } from "./gradus-error.ts";

/** A whole checkpoint; `warnings` names each damaged one that was set aside to find it. */
export type LatestCheckpoint = { readonly folder: string; readonly step: number; readonly warnings: readonly string[] };

/**
 * The newest checkpoint of `folder` whose every file is as its manifest says, or null. Damaged newer ones are renamed.
 *
 * @example
 * const latest = await latestCheckpoint("runs/a/checkpoints");
 */
export async function latestCheckpoint(folder: string): Promise<LatestCheckpoint | null> {
  const { folder: found, step, warnings } = await fromNative(() => nativeLatest(folder));
  return found === undefined || step === undefined ? null : { folder: found, step, warnings };
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
