// The JavaScript side of a batch: plain facts about it, and the native handle that only this package sees.
import type { NativeBatch, NativePolicy } from "@gradus/native";
import type { RolloutBatch, RolloutInfo, TrainingBatch } from "@gradus/rl";
import { fromNative, GradusError } from "./gradus-error.ts";

const handles = new WeakMap<object, NativeBatch>();

/** The native handle of a batch that this package made. */
export function handleOf(batch: TrainingBatch): NativeBatch {
  const handle = handles.get(batch);
  if (handle === undefined) {
    throw new GradusError("bad-input", "step: the batch is not from policy.rollout or policy.batch");
  }
  return handle;
}

/** A batch of given sequences. */
export function trainingBatch(handle: NativeBatch): TrainingBatch {
  const batch = { tokens: handle.tokens, close: () => handle.close() };
  handles.set(batch, handle);
  return batch;
}

/** A batch of rollouts; their token ids stay in the engine. */
export function rolloutBatch(policy: NativePolicy, handle: NativeBatch): RolloutBatch {
  const rollouts: RolloutInfo[] = handle.rollouts();
  const responseTokens = handle.targets;
  const overTokens = (entropy: (rollout: RolloutInfo) => number) =>
    rollouts.reduce((sum, rollout) => sum + entropy(rollout) * rollout.length, 0) / Math.max(1, responseTokens);
  const batch: RolloutBatch = {
    tokens: handle.tokens,
    rollouts,
    responseTokens,
    entropy: overTokens((rollout) => rollout.entropy),
    entropyRaw: overTokens((rollout) => rollout.entropyRaw),
    record: (file, { scores, kinds, details, advantages }) =>
      fromNative(() => policy.record(handle, file, { scores, kinds: [...kinds], details: [...details], advantages })),
    close: () => handle.close(),
  };
  handles.set(batch, handle);
  return batch;
}
