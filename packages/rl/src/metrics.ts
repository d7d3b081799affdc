// The metrics record of a step, under the names of the field (verl's, TRL's). A statistic over nothing
// (no score, no update) is left out of the record rather than reported as 0.
import { type Verdict, verdictKinds } from "@gradus/rewards";
import { type Filtered, hasZeroVariance } from "./filter.ts";
import type { LoopPrompt, LoopState } from "./loop-options.ts";
import type { RolloutBatch, StepMetrics, TrainingBatch } from "./policy.ts";

/** Metric name → value: timing_s in seconds, lengths in tokens, shares (frac, pct, clip_ratio) from 0 to 1, else counts. */
export type StepRecord = { [name: string]: number };

/** What a step of the RL loop leaves; `state` is already past it. */
type FinishedStep = {
  readonly batch: RolloutBatch;
  readonly items: readonly LoopPrompt[];
  readonly verdicts: readonly (Verdict | undefined)[];
  readonly filtered: Filtered;
  readonly advantages: Float64Array;
  readonly rate: number;
  readonly update: StepMetrics | undefined;
  readonly state: LoopState;
  readonly stage: number;
  readonly epoch: number;
  readonly timing: Timing;
};

/** The record of a step of the RL loop. */
export function stepRecord(done: FinishedStep): StepRecord {
  const { batch, filtered, advantages, update } = done;
  const inLoss = filtered.groups.flatMap(({ survivors }) => survivors.filter((survivor) => survivor.inLoss));
  return {
    ...rewardMetrics(done.verdicts, filtered),
    ...sourceMetrics(done),
    ...tierMetrics(done.verdicts),
    ...rolloutMetrics(batch),
    ...spread(
      "critic/advantages",
      inLoss.map(({ index }) => advantages[index] ?? 0),
    ),
    "actor/lr": done.rate,
    ...(update && updateMetrics(update)),
    "training/stage": done.stage,
    ...counters(done.state, done.epoch),
    ...timingMetrics(batch, done.timing.seconds(), batch.responseTokens),
  };
}

/** Where the run stands after a step. */
export function counters(state: LoopState, epoch: number): StepRecord {
  return {
    "training/global_step": state.globalStep,
    "training/epoch": epoch,
    "training/skipped_steps": state.skippedSteps,
  };
}

/** The mean over every rollout with a score; undefined where none has one. */
export function meanScore(filtered: Filtered): number | undefined {
  return spread("score", given(filtered.scores))["score/mean"];
}

function given(scores: Float32Array): number[] {
  return [...scores].filter((score) => !Number.isNaN(score));
}

/** What the reward and the filter found: scores, group shares, verdict kinds and everything dropped. */
function rewardMetrics(verdicts: readonly (Verdict | undefined)[], filtered: Filtered): StepRecord {
  const record: StepRecord = {
    ...spread("critic/score", given(filtered.scores)),
    "reward/fault": filtered.dropped.fault,
    "batch/dropped_truncated": filtered.dropped.truncated,
    "batch/dropped_zero_std": filtered.dropped.zeroStd,
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

/** The mean score of each source that the prompts name, over its rollouts with a score. */
function sourceMetrics({ batch, items, filtered }: FinishedStep): StepRecord {
  const scoresOf = new Map<string, number[]>();
  for (const [index, { promptIndex }] of batch.rollouts.entries()) {
    const source = items[promptIndex]?.source;
    const score = filtered.scores[index] ?? Number.NaN;
    if (source === undefined || Number.isNaN(score)) continue;
    scoresOf.set(source, [...(scoresOf.get(source) ?? []), score]);
  }
  const record: StepRecord = {};
  for (const [source, scores] of scoresOf) record[`reward/source/${source}/mean`] = meanOf(scores);
  return record;
}

/** How many verdicts were made under which tier of the sandbox; nothing where none needed it. */
function tierMetrics(verdicts: readonly (Verdict | undefined)[]): StepRecord {
  const record: StepRecord = {};
  for (const verdict of verdicts) {
    if (verdict?.status !== "graded" || verdict.tier === undefined) continue;
    const name = `reward/tier_${verdict.tier}`;
    record[name] = (record[name] ?? 0) + 1;
  }
  return record;
}

/** Lengths in tokens and entropies of all rollouts of a batch; `clip_ratio` is the share cut off by the limit. */
function rolloutMetrics(batch: RolloutBatch): StepRecord {
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
function updateMetrics(update: StepMetrics): StepRecord {
  const record: StepRecord = { "batch/trained_tokens": update.trainedTokens };
  if (update.seconds > 0) record["perf/train_tokens_per_s"] = update.tokens / update.seconds;
  if (update.skipped !== null) return record;
  record["actor/pg_loss"] = update.loss;
  record["actor/grad_norm"] = update.gradNorm;
  record.train_rollout_logprob_abs_diff = update.logprobAbsDiffMax;
  return record;
}

/** Seconds of a step's phases; a phase is from the end of the one before. */
export type Timing = {
  end(phase: string): void;
  /** Seconds of work that went on beside the phases. */
  add(work: string, taken: number): void;
  seconds(): Record<string, number>;
};

/** Starts the first phase. `seconds` adds the whole step until now as "step". */
export function startTiming(clock: () => number): Timing {
  const started = clock();
  let last = started;
  const seconds: Record<string, number> = {};
  return {
    end: (phase) => {
      const now = clock();
      seconds[phase] = now - last;
      last = now;
    },
    add: (work, taken) => {
      seconds[work] = taken;
    },
    seconds: () => ({ ...seconds, step: clock() - started }),
  };
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
function spread(name: string, values: readonly number[]): StepRecord {
  if (values.length === 0) return {};
  let [total, max, min] = [0, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (const value of values) {
    total += value;
    max = Math.max(max, value);
    min = Math.min(min, value);
  }
  return { [`${name}/mean`]: total / values.length, [`${name}/max`]: max, [`${name}/min`]: min };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}
