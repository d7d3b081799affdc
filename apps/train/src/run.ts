// The run: evaluation, SFT, RL stages, evaluations between, as one resumable walk over the recipe's state.
import type { ResolvedRun } from "@gradus/config";
import { type StepRecord, startLoop } from "@gradus/rl";
import type { Store } from "@gradus/store";
import { checkpointSteps } from "./checkpoints.ts";
import type { EvalResult, Summary, View } from "./events.ts";
import { type Interrupt, InterruptedError } from "./interrupt.ts";
import { type InterruptiblePolicy, interruptible, nextUnlessAbandoned } from "./interruptible-policy.ts";
import type { Phase } from "./phases.ts";
import type { PreparedRun } from "./prepare-run.ts";
import type { RecipeState } from "./recipe-state.ts";
import { reportText } from "./report.ts";
import { type RunFolder, writeWhole } from "./run-folder.ts";
import type { PolicySource } from "./run-policy.ts";
import { phaseEvals } from "./summary.ts";

/** What a run writes to and listens to. */
export type RunInput = {
  readonly run: ResolvedRun;
  readonly folder: RunFolder;
  readonly store: Store;
  readonly view: View;
  readonly interrupt: Interrupt;
  readonly policies: PolicySource;
  readonly clock: {
    /** Milliseconds since 1970. */
    now(): number;
    /** Seconds from any fixed moment; never goes back. */
    seconds(): number;
  };
  /** Seconds of the clock when work on the run began, loading included. */
  readonly began: number;
  /** The process's peak memory so far. */
  readonly peakMemoryGib: () => number;
};

/** A walk in progress: what the functions below share. */
type Walk = RunInput &
  PreparedRun & {
    readonly guarded: InterruptiblePolicy;
    /** `began`, less what was worked on the run before. */
    readonly startedAt: number;
    /** Step and folder of the last checkpoint, if there is one. */
    checkpoint: { step: number; folder: string } | null;
  };

/**
 * Runs (or goes on with) a prepared recipe to its end.
 * @throws InterruptedError after a signal, once a checkpoint is written; whatever stops the run otherwise.
 */
export async function runRecipe(prepared: PreparedRun, input: RunInput): Promise<Summary> {
  const { policy, state, resumed } = prepared;
  const { folder, store, view, interrupt } = input;
  store.forgetAfter(folder.id, state.loop.globalStep);
  view.show({
    type: "run",
    run: folder.id,
    recipe: input.run.name,
    folder: folder.folder,
    parameters: policy.info.parameters,
    phases: prepared.phases.slice(state.phase).map(({ name, steps }) => ({ name, steps })),
    evaluation: input.run.eval === false ? null : `${input.run.eval.task} mean@${input.run.eval.n}`,
    resumedAt: resumed === null ? null : resumed.step,
  });
  return walkPhases({
    ...prepared,
    ...input,
    guarded: interruptible(policy, interrupt.abandon),
    startedAt: input.began - state.wallSeconds,
    checkpoint: resumed,
  });
}

async function walkPhases(walk: Walk): Promise<Summary> {
  const { state, phases } = walk;
  try {
    if (state.phase === 0 && state.loop.step === 0) await evaluateOnce(walk, "start");
    for (let phase = phases[state.phase]; phase !== undefined; phase = phases[state.phase]) {
      await walkPhase(walk, phase);
      state.phase += 1;
      // Skipped steps are counted over the whole run.
      state.loop = startLoop(state.loop.globalStep, state.loop.skippedSteps);
    }
  } catch (error) {
    await leaveOnSignal(walk, error);
    throw error;
  }
  const summary = summarise(walk);
  writeWhole(walk.folder.report, reportText(summary, state.evals, walk.store.steps(walk.folder.id), walk.memory));
  walk.view.show({ type: "summary", summary, evals: state.evals });
  return summary;
}

async function walkPhase(walk: Walk, phase: Phase): Promise<void> {
  const { state, view, store, folder, run } = walk;
  const firstStep = state.loop.globalStep - state.loop.step + 1;
  store.beginStage({ run: folder.id, idx: state.phase, phase: phase.name, firstStep });
  view.show({ type: "phase", phase: phase.name, steps: phase.steps });
  const plan = walk.memory.get(phase.name);
  if (plan !== undefined) view.show({ type: "memory", phase: phase.name, ...plan });
  const records = phase.start(walk.guarded, state.loop);
  for (;;) {
    // A resume may begin between a checkpoint and the evaluation that follows it.
    const { step } = state.loop;
    if (step > 0 && step !== phase.steps && phase.isEvalDue(step)) await evaluateOnce(walk, phase.name);
    const next = await nextUnlessAbandoned(() => records.next(), walk.guarded, walk.interrupt.abandon);
    if (next.done) break;
    countStep(walk, phase, next.value);
    if (walk.interrupt.received() !== null) stopHere(walk);
    const everySteps = run.checkpoint.everySteps ?? Number.POSITIVE_INFINITY;
    if (isEpochEnd(phase, state) || state.loop.globalStep % everySteps === 0) await checkpoint(walk);
  }
  // Before the evaluation: it can be taken again from here, and gives the same figures.
  await checkpoint(walk);
  await evaluateOnce(walk, phase.name);
}

function isEpochEnd({ epochSteps, steps }: Phase, { loop }: RecipeState): boolean {
  return epochSteps !== null && (loop.step % epochSteps === 0 || loop.step === steps);
}

/** Books a step that the loop has just made: state, store, view. */
function countStep(walk: Walk, phase: Phase, record: StepRecord): void {
  const { state, store, folder, view, clock } = walk;
  const { tokens, passes } = phase.tally(record);
  state.tokens += tokens;
  state.logprobAbsDiffMax = Math.max(state.logprobAbsDiffMax, record.train_rollout_logprob_abs_diff ?? 0);
  if (Object.keys(passes).length > 0) state.passHistory[phase.name] = { ...state.passHistory[phase.name], ...passes };
  const { globalStep: step, step: stageStep } = state.loop;
  if (isEpochEnd(phase, state)) state.epochEnds.push(step);
  const metrics = { ...record, "perf/peak_memory_gib": walk.peakMemoryGib() };
  store.addStep({ run: folder.id, step, phase: phase.name, createdAt: clock.now() }, metrics);
  view.show({
    type: "step",
    stage: phase.name,
    step,
    stageStep,
    stageSteps: phase.steps,
    limit: phase.limit,
    metrics,
  });
}

/** The evaluation after `phase`, unless the state already has it. */
async function evaluateOnce(walk: Walk, phase: string): Promise<void> {
  const { state, evaluate, run, view, store, folder, clock, interrupt } = walk;
  const step = state.loop.globalStep;
  if (walk.interrupt.received() !== null) stopHere(walk);
  if (evaluate === null || run.eval === false) return;
  if (state.evals.some((taken) => taken.phase === phase && taken.step === step)) return;
  view.show({ type: "evaluating", phase, task: run.eval.task });
  const began = clock.seconds();
  const { result, metrics, errors } = await evaluate(phase, step, interrupt.abandon);
  const seconds = clock.seconds() - began;
  state.evals.push({ ...result, samples: [...result.samples] });
  const { task, metric, value, n, length, samples } = result;
  const details = JSON.stringify({ ...errors, length, samples });
  store.addEval({ run: folder.id, step, phase, task, metric, value, n, details });
  store.addMetrics(folder.id, step, { ...metrics, "timing_s/eval": seconds });
  view.show({ type: "eval", ...result, seconds });
  if (walk.interrupt.received() !== null) stopHere(walk);
}

/** Writes the state of this moment, if it is not on disk yet, and removes checkpoints that are no longer kept. */
async function checkpoint(walk: Walk): Promise<void> {
  const { state, run, folder, policy, store, view, clock } = walk;
  const step = state.loop.globalStep;
  if (walk.checkpoint?.step === step) return;
  const began = clock.seconds();
  state.wallSeconds = began - walk.startedAt;
  const path = await policy.checkpoint(folder.checkpoints, step, state);
  walk.checkpoint = { step, folder: path };
  store.addCheckpoint({ run: folder.id, step, folder: path, createdAt: clock.now() });
  store.addMetrics(folder.id, step, { "timing_s/checkpoint": clock.seconds() - began });
  view.show({ type: "checkpoint", step, folder: path });
  const best = bestStep(state.evals, new Set(checkpointSteps(folder.checkpoints)));
  const kept = [...best, ...state.epochEnds];
  const removed = await walk.policies.prune(folder.checkpoints, run.checkpoint.keepLast, kept);
  for (const old of removed) store.removeCheckpoint(folder.id, old);
}

/** The step of the best evaluation that still has a checkpoint. */
function bestStep(evals: readonly EvalResult[], steps: ReadonlySet<number>): number[] {
  const kept = evals.filter(({ step }) => steps.has(step));
  const best = kept.reduce<EvalResult | undefined>(
    (top, result) => (top === undefined || result.value >= top.value ? result : top),
    undefined,
  );
  return best === undefined ? [] : [best.step];
}

function stopHere({ interrupt }: Walk): never {
  throw new InterruptedError(interrupt.received() ?? "SIGTERM");
}

/**
 * After a signal: whatever the abandoned work threw, the last whole step is saved. A step that failed after its update
 * left weights that no state belongs to: nothing is saved then, and its error is the one to tell.
 */
async function leaveOnSignal(walk: Walk, error: unknown): Promise<void> {
  const signal = walk.interrupt.received();
  if (signal === null || !(error instanceof InterruptedError || walk.interrupt.abandon.aborted)) return;
  if (walk.guarded.moving()) return;
  const step = walk.state.loop.globalStep;
  if (step > 0) await checkpoint(walk);
  throw new InterruptedError(signal, `stopped by ${signal} after step ${step}`);
}

function summarise(walk: Walk): Summary {
  const { state, folder } = walk;
  const phases = phaseEvals(state.evals).map(({ phase, task, metric, value, n }) => ({
    phase,
    task,
    metric,
    value,
    n,
  }));
  return {
    run: folder.id,
    phases,
    steps: state.loop.globalStep,
    tokens: state.tokens,
    wall_s: walk.clock.seconds() - walk.startedAt,
    peak_memory_gib: walk.peakMemoryGib(),
    logprob_abs_diff_max: state.logprobAbsDiffMax,
    checkpoint: walk.checkpoint?.folder ?? null,
  };
}
