// What the RL loop is given, and the state that it keeps: plain data, so that a checkpoint can hold it.

import type { Verdict } from "@gradus/rewards";
import type { AdvantageStd } from "./advantage.ts";
import { RlError } from "./error.ts";
import type { OverlongFiltering } from "./filter.ts";
import type {
  FinishReason,
  PromptInput,
  RolloutBatch,
  RolloutColumns,
  StepMetrics,
  TrainablePolicy,
} from "./policy.ts";
import type { PlateauRule, StageEndRules } from "./stage-end.ts";
import type { WeightOptions } from "./weights.ts";

/** Items by position in an endless (or finite) sequence of epochs; a pure function of the cursor. */
export interface Source<T> {
  /** Up to `count` items from `cursor`, never across an epoch's end; undefined when the sequence is over. */
  take(cursor: number, count: number): { items: readonly T[]; epoch: number; nextCursor: number } | undefined;
}

/** What the loop itself reads of a prompt: its name in random streams, and where it comes from, for the metrics. */
export type LoopPrompt = { readonly id: string; readonly source?: string };

/** One response on its way to the reward. `promptText` is there when the prompt was given as text. */
export type JudgedRollout<P> = {
  readonly prompt: P;
  readonly promptText?: string;
  readonly text: string;
  readonly finishReason: FinishReason;
  readonly length: number;
};

/** Optimizer settings that stay the same during a stage; `learningRate` is a function of the stage's step. */
export type OptimizerOptions = {
  readonly learningRate: (step: number) => number;
  readonly betas?: readonly [number, number];
  readonly weightDecay?: number;
  readonly epsilon?: number;
  readonly maxGradNorm?: number;
  readonly microBatchTokens?: number;
  readonly seed?: bigint | number;
};

/** A step as it is recorded: its prompts, the epoch that they are of, and its number in the stage, from 0. */
export type RecordedStep<P> = { readonly items: readonly P[]; readonly epoch: number; readonly step: number };

export type GrpoOptions<P> = WeightOptions & {
  readonly policy: TrainablePolicy;
  readonly prompts: Source<P>;
  readonly promptInput: (prompt: P) => PromptInput | Promise<PromptInput>;
  /** The verdict on one rollout; retries of faults are its own affair. */
  readonly judge: (rollout: JudgedRollout<P>) => Promise<Verdict>;
  readonly seed: bigint | number;
  /** Index of the stage in the run; part of every rollout's random stream. */
  readonly stage: number;
  readonly promptsPerStep: number;
  readonly groupSize: number;
  readonly temperature: number;
  readonly stop?: readonly string[];
  readonly overlongFiltering: OverlongFiltering;
  readonly dropZeroVariance: boolean;
  readonly advantageStd: AdvantageStd;
  readonly optimizer: OptimizerOptions;
  readonly end: StageEndRules;
  /** After this many non-finite updates in a row the run stops. */
  readonly maxSkippedInARow: number;
  readonly state: LoopState;
  /** Seconds, from any fixed moment. */
  readonly clock: () => number;
  /** Called before the batch is closed. */
  readonly record?: (batch: RolloutBatch, columns: RolloutColumns, drawn: RecordedStep<P>) => Promise<void>;
};

/** Where a loop stands. The loop changes it after every step, before it yields; JSON holds it exactly. */
export type LoopState = {
  /** Steps done in this stage. */
  step: number;
  /** Position in the stage's prompts (or samples). */
  cursor: number;
  /** Steps done in the whole run. */
  globalStep: number;
  /** Steps of the whole run that did not move the policy. */
  skippedSteps: number;
  skippedInARow: number;
  /** Mean scores of the last steps, as many as the plateau rule looks at. */
  scores: number[];
};

/** The state of a stage that begins after `globalStep` steps of the run, of which `skippedSteps` moved nothing. */
export function startLoop(globalStep = 0, skippedSteps = 0): LoopState {
  return { step: 0, cursor: 0, globalStep, skippedSteps, skippedInARow: 0, scores: [] };
}

/** Refuses settings that cannot work, naming the setting and the remedy. */
export function checkGrpoOptions<P>(options: GrpoOptions<P>): void {
  const { groupSize, promptsPerStep, temperature, maxResponseLength } = options;
  requireInteger("groupSize", groupSize, 2, "a group of one has no advantage");
  requireInteger("promptsPerStep", promptsPerStep, 1, "a step needs a prompt");
  requireInteger("maxResponseLength", maxResponseLength, 1, "a response needs a token");
  if (!(temperature > 0)) {
    throw new RlError("bad-option", `temperature ${temperature}: expected above 0; training samples the policy itself`);
  }
}

function requireInteger(name: string, value: number, least: number, reason: string): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new RlError("bad-option", `${name} ${value}: expected an integer of at least ${least}; ${reason}`);
}

/** What moves the state: where the prompts stand, and the update (undefined where no token had weight). */
type StepDone = {
  readonly nextCursor: number;
  readonly update: StepMetrics | undefined;
  readonly score?: number | undefined;
  readonly plateau?: PlateauRule | undefined;
};

/** Moves the state past a step; it keeps as many mean scores as the plateau rule looks at. */
export function advance(state: LoopState, { nextCursor, update, score, plateau }: StepDone): void {
  state.step++;
  state.globalStep++;
  state.cursor = nextCursor;
  const moved = update !== undefined && update.skipped === null;
  if (!moved) state.skippedSteps++;
  if (update !== undefined) state.skippedInARow = moved ? 0 : state.skippedInARow + 1;
  if (score !== undefined && plateau) state.scores = [...state.scores, score].slice(-2 * plateau.window);
}
