// The metrics record of a step, under the names of the field (design: product, metric names). A statistic over nothing
// (no score, no update) is left out of the record rather than reported as 0.
import { type Filtered, hasZeroVariance } from "./filter.ts";
import type { RolloutVerdict } from "./group.ts";
import type { RolloutBatch, StepMetrics, TrainingBatch } from "./policy.ts";

/** Metric name → value; see the package's design page for units (seconds, tokens, shares from 0 to 1, counts). */
export type StepRecord = { [name: string]: number };

const verdictKinds = ["correct", "wrong", "no-answer", "unparsable-answer", "timeout", "error"];

/** What the reward and the filter found: scores, group shares, verdict kinds and everything dropped. */
export function rewardMetrics(verdicts: readonly (RolloutVerdict | undefined)[], filtered: Filtered): StepRecord {
  const record: StepRecord = {
    ...spread(
      "critic/score",
      [...filtered.scores].filter((score) => !Number.isNaN(score)),
    ),
    "reward/fault": filtered.dropped.fault,
    "batch/dropped_truncated": filtered.dropped.truncated,
    "batch/dropped_zero_std": filtered.dropped.zeroStd,
    "batch/dropped_fault": filtered.dropped.fault,
    "batch/group_too_small": filtered.dropped.tooSmall,
  };
  for (const kind of verdictKinds) {
    const count = verdicts.filter((verdict) => verdict?.status === "graded" && verdict.kind === kind).length;
    record[`reward/${kind.replaceAll("-", "_")}`] = count;
  }
  const groups = filtered.scored;
  if (groups.length > 0) {
    const zeroStd = groups.filter(hasZeroVariance);
    const all = (score: number) => zeroStd.filter(({ survivors }) => survivors[0]?.score === score).length;
    record.frac_reward_zero_std = zeroStd.length / groups.length;
    record["batch/pct_0"] = all(0) / groups.length;
    record["batch/pct_1"] = all(1) / groups.length;
    record["batch/pct_mixed"] = (groups.length - zeroStd.length) / groups.length;
  }
  return record;
}

/** Lengths in tokens and entropies of all rollouts of a batch; `clip_ratio` is the share cut off by the limit. */
export function rolloutMetrics(batch: RolloutBatch): StepRecord {
  const truncated = batch.rollouts.filter(({ finishReason }) => finishReason === "length").length;
  return {
    ...spread(
      "response_length",
      batch.rollouts.map(({ length }) => length),
    ),
    "response_length/clip_ratio": truncated / batch.rollouts.length,
    ...spread(
      "prompt_length",
      batch.rollouts.map(({ promptLength }) => promptLength),
    ),
    "actor/entropy": batch.entropy,
    "actor/entropy_raw": batch.entropyRaw,
  };
}

/** What the update did, where it moved the policy. */
export function updateMetrics(update: StepMetrics): StepRecord {
  const record: StepRecord = { "batch/trained_tokens": update.trainedTokens };
  if (update.seconds > 0) record["perf/train_tokens_per_s"] = update.tokens / update.seconds;
  if (update.skipped !== null) return record;
  record["actor/pg_loss"] = update.loss;
  record["actor/grad_norm"] = update.gradNorm;
  record.train_rollout_logprob_abs_diff = update.logprobAbsDiffMax;
  return record;
}

/** Phases of a step by name, in seconds, and the speeds that follow from them. */
export function timingMetrics(batch: TrainingBatch, seconds: Record<string, number>, generated?: number): StepRecord {
  const record: StepRecord = {};
  for (const [phase, value] of Object.entries(seconds)) record[`timing_s/${phase}`] = value;
  if (seconds.step) record["perf/throughput"] = batch.tokens / seconds.step;
  if (seconds.gen && generated !== undefined) record["perf/gen_tokens_per_s"] = generated / seconds.gen;
  return record;
}

/** `name/{mean,max,min}` of the values; nothing where there are none. */
export function spread(name: string, values: readonly number[]): StepRecord {
  if (values.length === 0) return {};
  let [total, max, min] = [0, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (const value of values) {
    total += value;
    max = Math.max(max, value);
    min = Math.min(min, value);
  }
  return { [`${name}/mean`]: total / values.length, [`${name}/max`]: max, [`${name}/min`]: min };
}
