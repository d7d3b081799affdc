// The phases of a run in order: SFT, then each RL stage, each a loop over the policy that goes on from where its state stands.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ResolvedRun, SftConfig, Stage } from "@gradus/config";
import { createLoader, sftBatches } from "@gradus/data";
import { judge, type Reward } from "@gradus/rewards";
import {
  grpoLoop,
  type LoopState,
  learningRate,
  type OptimizerOptions,
  type RolloutBatch,
  type RolloutColumns,
  type Schedule,
  type StageEnd,
  type StageEndRules,
  type StepRecord,
  sftLoop,
} from "@gradus/rl";
import type { RunEvent } from "./events.ts";
import type { InterruptiblePolicy } from "./interruptible-policy.ts";
import {
  checkContext,
  loadPrompts,
  loadSamples,
  longestPromptTokens,
  type RenderedPrompt,
  stopsOf,
} from "./load-data.ts";
import { checkJudged } from "./open-reward.ts";
import type { RunPolicy, StageShape } from "./run-policy.ts";

/** What a step leaves for the run's counters, beside its metrics. */
export type StepTally = {
  /** Tokens of the step's batch. */
  tokens: number;
  /** Prompt id → [epoch, solved, graded]. */
  passes: Record<string, [number, number, number]>;
};

export type Phase = {
  /** sft, or rl:<stage>. */
  readonly name: string;
  /** Steps that the phase will have, where its end is known. */
  readonly steps: number | null;
  readonly limit: number | null;
  /** What it asks of the memory; null when it is over. */
  readonly shape: StageShape | null;
  /** SFT's steps of a pass over the data, the last of which is kept; null in RL. */
  readonly epochSteps: number | null;
  /** Whether an evaluation follows the phase's step `step`, beside the one at its end. */
  isEvalDue(step: number): boolean;
  /** Goes on from `state`, which it changes before each record. */
  start(policy: InterruptiblePolicy, state: LoopState): AsyncGenerator<StepRecord, StageEnd, undefined>;
  /** What the step that was just yielded leaves. */
  tally(record: StepRecord): StepTally;
};

/** What phases are made from. */
export type PhaseContext = {
  readonly run: ResolvedRun;
  readonly policy: RunPolicy;
  readonly reward: Reward;
  /** Where rollout files go. */
  readonly rollouts: () => string;
  /** Seconds from any fixed moment. */
  readonly clock: () => number;
  readonly show: (event: RunEvent) => void;
};

/**
 * Loads and checks the data of every phase from index `from` on (those before are done and stay unread).
 * @throws DataError, ConfigError
 */
export async function loadPhases(context: PhaseContext, from: number): Promise<Phase[]> {
  const { run } = context;
  const names = phaseNames(run);
  const phases: Phase[] = [];
  for (const [index, name] of names.entries()) {
    const stage = index - (run.sft === false ? 0 : 1);
    if (index < from) phases.push(finished(name));
    else if (stage < 0 && run.sft !== false) phases.push(await sftPhase(run.sft, context));
    else if (run.rl !== false) {
      const config = run.rl.stages[stage];
      if (config !== undefined) phases.push(await rlPhase(config, stage, context));
    }
  }
  return phases;
}

/** The names of a run's phases in order. */
export function phaseNames(run: ResolvedRun): string[] {
  const stages = run.rl === false ? [] : run.rl.stages.map(({ name }) => `rl:${name}`);
  return run.sft === false ? stages : ["sft", ...stages];
}

function finished(name: string): Phase {
  const refuse = (): never => {
    throw new Error(`phase ${name} is over`);
  };
  return {
    name,
    steps: 0,
    limit: null,
    shape: null,
    epochSteps: null,
    isEvalDue: refuse,
    start: refuse,
    tally: refuse,
  };
}

async function sftPhase(sft: SftConfig, { run, policy, clock, show }: PhaseContext): Promise<Phase> {
  const note = (text: string): void => show({ type: "note", text });
  const prompts = await loadPrompts(run.data.sft ?? "", "solution", { frame: run.frame, policy, note });
  const maxTokens = Math.min(sft.maxSampleTokens, policy.info.maxPositions);
  const samples = await loadSamples(prompts, run, maxTokens, policy, note);
  const epochSteps = Math.ceil(samples.length / sft.batchSize);
  const steps = Math.min(sft.steps ?? Number.POSITIVE_INFINITY, (sft.epochs ?? Number.POSITIVE_INFINITY) * epochSteps);
  const rate = { peak: sft.learningRate, warmupSteps: sft.warmupSteps };
  const schedule: Schedule =
    sft.schedule === "constant"
      ? { kind: "constant", ...rate }
      : { kind: sft.schedule, ...rate, totalSteps: steps, floorShare: sft.floorShare };
  const epochs = sft.epochs === null ? {} : { epochs: sft.epochs };
  return {
    name: "sft",
    steps,
    limit: null,
    shape: {
      sequenceTokens: samples.reduce((longest, { tokens }) => Math.max(longest, tokens.length), 0),
      sequences: sft.batchSize,
      microBatchTokens: run.microBatchTokens,
      isSampled: false,
    },
    epochSteps,
    isEvalDue: (step) =>
      (sft.evalEverySteps !== null && step % sft.evalEverySteps === 0) ||
      // Who counts in epochs wants to see what each is worth.
      (sft.epochs !== null && step % epochSteps === 0),
    start: (interruptible, state) =>
      sftLoop({
        policy: interruptible,
        batches: sftBatches(samples, { batchSize: sft.batchSize, seed: run.seed, ...epochs }),
        optimizer: { ...optimizerOf(sft, run), learningRate: (step) => learningRate(schedule, step) },
        steps,
        maxSkippedInARow: run.maxSkippedSteps,
        state,
        clock,
      }),
    tally: (record) => ({ tokens: record["batch/tokens"] ?? 0, passes: {} }),
  };
}

async function rlPhase(stage: Stage, index: number, context: PhaseContext): Promise<Phase> {
  const { run, policy, clock, show } = context;
  const note = (text: string): void => show({ type: "note", text });
  const prompts = await loadPrompts(stage.data ?? run.data.rl ?? "", "answer", { frame: run.frame, policy, note });
  checkJudged(prompts, run.reward, context.reward);
  await checkContext(`rl.stages.${index}.maxResponseLength (${stage.name})`, stage.maxResponseLength, prompts, policy);
  const promptTokens = await longestPromptTokens(prompts, policy);
  const { end } = stage;
  const epochs = end.epochs === null ? {} : { epochs: end.epochs };
  const source = createLoader(prompts, { seed: run.seed, stage: index, ...epochs });
  const epochSteps = Math.ceil(prompts.length / stage.promptsPerStep);
  const known = Math.min(end.steps ?? Number.POSITIVE_INFINITY, (end.epochs ?? Number.POSITIVE_INFINITY) * epochSteps);
  const rate = { kind: "constant", peak: stage.learningRate, warmupSteps: stage.warmupSteps } as const;
  const stops = stopsOf(run.frame);
  let tally: StepTally = { tokens: 0, passes: {} };
  let faultSteps = 0;
  return {
    name: `rl:${stage.name}`,
    steps: Number.isFinite(known) ? known : null,
    limit: stage.maxResponseLength,
    shape: {
      sequenceTokens: Math.min(policy.info.maxPositions, promptTokens + stage.maxResponseLength),
      sequences: stage.promptsPerStep * stage.groupSize,
      microBatchTokens: run.microBatchTokens,
      isSampled: true,
    },
    epochSteps: null,
    isEvalDue: () => false,
    start: (interruptible, state) =>
      grpoLoop({
        policy: interruptible,
        prompts: source,
        promptInput: ({ rendered }) => rendered,
        judge: (rollout) => judge(context.reward, rollout),
        seed: run.seed,
        stage: index,
        promptsPerStep: stage.promptsPerStep,
        groupSize: stage.groupSize,
        maxResponseLength: stage.maxResponseLength,
        temperature: stage.temperature,
        ...(stops.length > 0 && { stop: stops }),
        overlongFiltering: stage.overlongFiltering,
        lossAggMode: stage.lossAggMode,
        advantageStd: stage.advantageStd,
        dropZeroVariance: stage.dropZeroVariance,
        optimizer: { ...optimizerOf(stage, run), learningRate: (step) => learningRate(rate, step) },
        end: endRules(end),
        maxSkippedInARow: run.maxSkippedSteps,
        state,
        clock,
        record: async (batch, columns, { items, epoch, step }) => {
          tally = { tokens: batch.tokens, passes: passesOf(batch, columns, items, epoch) };
          showSample(context, stage, batch, columns, items, step);
          faultSteps += showFault(context, stage, columns, step, faultSteps);
          if (!run.keepRollouts) return;
          const folder = context.rollouts();
          mkdirSync(folder, { recursive: true });
          await batch.record(join(folder, `${stage.name}-${String(step + 1).padStart(6, "0")}.bin`), columns);
        },
      }),
    tally: () => tally,
  };
}

function optimizerOf(config: SftConfig | Stage, run: ResolvedRun): Omit<OptimizerOptions, "learningRate"> {
  const { betas, weightDecay, epsilon, maxGradNorm } = config;
  return { betas, weightDecay, epsilon, maxGradNorm, microBatchTokens: run.microBatchTokens, seed: run.seed };
}

function endRules({ steps, plateau }: Stage["end"]): StageEndRules {
  return { ...(steps !== null && { steps }), ...(plateau !== null && { plateau }) };
}

function passesOf(
  batch: RolloutBatch,
  { kinds }: RolloutColumns,
  prompts: readonly RenderedPrompt[],
  epoch: number,
): StepTally["passes"] {
  const passes: StepTally["passes"] = {};
  for (const [index, { promptIndex }] of batch.rollouts.entries()) {
    const id = prompts[promptIndex]?.id;
    const kind = kinds[index];
    if (id === undefined || kind === "fault" || kind === "truncated") continue;
    const before = passes[id] ?? [epoch, 0, 0];
    passes[id] = [epoch, before[1] + (kind === "correct" ? 1 : 0), before[2] + 1];
  }
  return passes;
}

/** Steps of a stage whose faults are told by their reason; the metrics count all of them, the rollout files name each. */
const faultStepsTold = 5;

// A fault is no score and shows in no mean: the first of a step is told. Gives 1 for a step with faults, else 0.
function showFault(
  { show }: PhaseContext,
  stage: Stage,
  { kinds, details }: RolloutColumns,
  step: number,
  before: number,
): number {
  const first = kinds.indexOf("fault");
  if (first < 0) return 0;
  const count = kinds.filter((kind) => kind === "fault").length;
  const line = `rl:${stage.name} ${step + 1}: the reward failed on ${count} of ${kinds.length} rollouts: ${details[first]}`;
  const more = before + 1 === faultStepsTold ? "; further ones are counted in reward/fault and told in rollouts/" : "";
  if (before < faultStepsTold) show({ type: "note", text: `${line}${more}` });
  return 1;
}

// One rollout to look at, at the first step and every tenth: another one each time.
function showSample(
  { show }: PhaseContext,
  stage: Stage,
  batch: RolloutBatch,
  { scores }: RolloutColumns,
  prompts: readonly RenderedPrompt[],
  step: number,
): void {
  if (step % 10 !== 0) return;
  const index = (step / 10) % batch.rollouts.length;
  const rollout = batch.rollouts[index];
  const prompt = prompts[rollout?.promptIndex ?? 0];
  if (rollout === undefined || prompt === undefined) return;
  const [text, response] = [prompt.text ?? prompt.rendered.text, rollout.text];
  show({ type: "sample", stage: `rl:${stage.name}`, prompt: text, response, score: scores[index] ?? Number.NaN });
}
