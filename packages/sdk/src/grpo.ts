// GRPO from the SDK: checks the options, gives rl's loop a policy, prompts and a judge, and yields its records.
import { RlSection } from "@gradus/config";
import { createLoader, type Frame } from "@gradus/data";
import { judge, type Reward } from "@gradus/rewards";
import {
  grpoLoop,
  type GrpoOptions as LoopOptions,
  type LoopState,
  type StageEnd,
  type StepRecord,
  startLoop,
  type TrainablePolicy,
} from "@gradus/rl";
import { z } from "zod";
import { withPublicErrors } from "./loop-errors.ts";
import { optimizerOptions, optimizerSettings, type RateOptions } from "./optimizer-options.ts";
import { frame, loopState, readOptions, seed } from "./options.ts";
import { startReward } from "./start-reward.ts";
import { promptInput, type TaskPrompt, type Templating } from "./task-prompt.ts";

// Limits and defaults are those of a run's config: the paper's, or where it is silent verl's.
const rl = RlSection.shape;

const schema = z.strictObject({
  policy: z.custom<TrainablePolicy & Templating>(
    (value) => typeof value === "object" && value !== null && "rollout" in value,
    "expected a Policy",
  ),
  prompts: z.array(z.custom<TaskPrompt>()).min(1, "expected at least one prompt").readonly(),
  reward: z.custom<Reward<TaskPrompt>>((value) => typeof value === "function", "expected a function of a rollout"),
  groupSize: rl.groupSize.unwrap(),
  maxResponseLength: rl.maxResponseLength.unwrap(),
  temperature: rl.temperature,
  promptsPerStep: rl.promptsPerStep.unwrap().optional(),
  steps: z.int().min(1).optional(),
  epochs: z.number().positive().optional(),
  seed: seed.default(0),
  stage: z.int().min(0).default(0),
  frame: frame.default("raw"),
  stop: z.array(z.string()).readonly().optional(),
  overlongFiltering: rl.overlongFiltering,
  lossAggMode: rl.lossAggMode,
  advantageStd: rl.advantageStd,
  dropZeroVariance: rl.dropZeroVariance,
  maxSkippedInARow: z.int().min(1).default(3),
  state: loopState.optional(),
  record: z.custom<NonNullable<LoopOptions<TaskPrompt>["record"]>>((value) => typeof value === "function").optional(),
  clock: z.custom<() => number>((value) => typeof value === "function").optional(),
  ...optimizerOptions,
  learningRate: optimizerOptions.learningRate.default(1e-6),
});

/** Options of `grpo`; what is not said has the paper's value (see each field). */
export type GrpoOptions<P extends TaskPrompt> = RateOptions & {
  readonly policy: TrainablePolicy & Templating;
  readonly prompts: readonly P[];
  /** A number or a verdict for one rollout, at once or later. */
  readonly reward: Reward<P>;
  /** Rollouts per prompt, at least 2. */
  readonly groupSize: number;
  /** Limit of a response in tokens; one that reaches it without an end token is truncated. */
  readonly maxResponseLength: number;
  /** Divides the logits in the sampler and in the loss alike; 1. */
  readonly temperature?: number;
  /** All prompts, at most 128. */
  readonly promptsPerStep?: number;
  /** Ends the run after so many steps. */
  readonly steps?: number;
  /** Ends the run after so many passes over the prompts; without `steps`, 1. */
  readonly epochs?: number;
  readonly seed?: bigint | number;
  /** Index of the stage in a longer run: part of every random stream. */
  readonly stage?: number;
  /** The text around a prompt that is messages or text; "raw" gives it to the policy as it is. */
  readonly frame?: Frame;
  readonly stop?: readonly string[];
  readonly overlongFiltering?: LoopOptions<P>["overlongFiltering"];
  readonly lossAggMode?: LoopOptions<P>["lossAggMode"];
  readonly advantageStd?: LoopOptions<P>["advantageStd"];
  readonly dropZeroVariance?: boolean;
  /** The run stops after so many updates in a row that were not finite; 3. */
  readonly maxSkippedInARow?: number;
  /** Where to go on: `startLoop()`, or what a checkpoint held of it. The run changes it after every step. */
  readonly state?: LoopState;
  /** Called with each step's batch before it is closed: `batch.record(file, columns)` writes the rollout file. */
  readonly record?: NonNullable<LoopOptions<P>["record"]>;
  /** Seconds from any fixed moment, for the `timing_s` metrics. */
  readonly clock?: () => number;
};

/**
 * Trains `policy` with GRPO, strictly on-policy: one update a step. Yields one metrics record per step and returns why it ended.
 *
 * @example
 * const run = grpo({ policy, prompts, reward: mathReward(), groupSize: 8, maxResponseLength: 8192, temperature: 0.85 });
 * for await (const step of run) console.log(step["critic/score/mean"], step["actor/entropy"]);
 */
export async function* grpo<P extends TaskPrompt>(
  options: GrpoOptions<P>,
): AsyncGenerator<StepRecord, StageEnd, undefined> {
  const { steps, epochs, learningRate, warmupSteps, ...read } = readOptions(schema, "grpo", options);
  // Checked above; here they keep the type of the user's own prompts.
  const { policy, prompts, reward, record } = options;
  await startReward("grpo", reward, prompts);
  const passes = epochs ?? (steps === undefined ? 1 : undefined);
  const loop = grpoLoop<P>({
    policy,
    prompts: createLoader(prompts, {
      seed: read.seed,
      stage: read.stage,
      ...(passes !== undefined && { epochs: passes }),
    }),
    promptInput: (prompt) => promptInput(prompt, read.frame, policy),
    judge: (rollout) => judge(reward, rollout),
    seed: read.seed,
    stage: read.stage,
    promptsPerStep: read.promptsPerStep ?? Math.min(128, prompts.length),
    groupSize: read.groupSize,
    maxResponseLength: read.maxResponseLength,
    temperature: read.temperature,
    ...(read.stop && { stop: read.stop }),
    overlongFiltering: read.overlongFiltering,
    lossAggMode: read.lossAggMode,
    advantageStd: read.advantageStd,
    dropZeroVariance: read.dropZeroVariance,
    optimizer: { ...optimizerSettings({ ...read, learningRate, warmupSteps }), seed: read.seed },
    end: steps === undefined ? {} : { steps },
    maxSkippedInARow: read.maxSkippedInARow,
    state: read.state ?? startLoop(),
    clock: read.clock ?? secondsNow,
    ...(record && { record }),
  });
  return yield* withPublicErrors(loop);
}

export function secondsNow(): number {
  return performance.now() / 1000;
}
