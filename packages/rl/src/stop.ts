// What stops a run at once: an update that was not on-policy, updates that are not finite, a reward that always faults.
import type { Verdict } from "@gradus/rewards";
import { RlError } from "./error.ts";
import type { LoopState } from "./loop-options.ts";
import type { StepMetrics } from "./policy.ts";

/**
 * With one update per batch the trainer's logprobs are the sampler's, bit for bit; any difference is a bug of the engine.
 * `step` is the one being taken, counted from 1 over the run.
 */
export function stopWhenOffPolicy(update: StepMetrics, step: number): void {
  if (update.skipped !== null || update.logprobAbsDiffMax === 0) return;
  throw new RlError(
    "off-policy",
    `step ${step}: the trainer's logprobs differ from the sampler's by up to ${update.logprobAbsDiffMax}, ` +
      "expected exactly 0; resume from the last checkpoint and report this",
  );
}

/** Stops after `maxSkippedInARow` updates in a row that were not finite. */
export function stopWhenNonFinite(state: LoopState, maxSkippedInARow: number): void {
  if (state.skippedInARow < maxSkippedInARow) return;
  throw new RlError(
    "non-finite",
    `${state.skippedInARow} updates in a row were not finite (up to step ${state.globalStep}); ` +
      "lower the learning rate and resume from the last checkpoint",
  );
}

/** A reward that faults on every rollout that it was asked about will not get better by itself. */
export function stopWhenAllFaulted(verdicts: readonly (Verdict | undefined)[]): void {
  const asked = verdicts.filter((verdict) => verdict !== undefined);
  const [first] = asked;
  if (first?.status !== "fault" || !asked.every(({ status }) => status === "fault")) return;
  throw new RlError(
    "all-faults",
    `the reward failed on all ${asked.length} rollouts that a step judged: ${first.reason}`,
  );
}
