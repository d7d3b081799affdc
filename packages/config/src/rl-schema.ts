// The `rl` section of a run: GRPO's defaults and the stages, a plain array; a stage says only what differs.
import { z } from "zod";
import { AdamW } from "./optimizer-schema.ts";

const Plateau = z.strictObject({
  window: z.int().min(1).describe("Steps whose mean reward is compared with that of as many steps before."),
  minGain: z.number().describe("The stage ends when the gain in mean reward is below this."),
});

const endFields = {
  steps: z.int().min(1).nullable().describe("The stage ends after so many steps."),
  epochs: z.int().min(1).nullable().describe("The stage ends after so many passes over its prompts."),
  plateau: Plateau.nullable().describe("The stage ends when the reward no longer rises."),
};

// Without defaults, so that a stage can leave a field to the section above it.
const stageFields = {
  data: z.string().min(1).nullable().describe("Rows of the stage's prompts; null takes `data.rl`."),
  promptsPerStep: z.int().min(1).describe("Prompts a step."),
  groupSize: z
    .int()
    .min(
      2,
      "a group of one has nothing to be compared with, every advantage would be 0; use at least 2 (the paper: 8 or 16)",
    )
    .describe("Rollouts per prompt."),
  maxResponseLength: z
    .int()
    .min(1)
    .describe("Limit of a response in tokens; one that reaches it without an end token is truncated."),
  temperature: z.number().positive().describe("Divides the logits in the sampler and in the loss alike."),
  overlongFiltering: z
    .enum(["exclude", "mask", "off"])
    .describe("Truncated rollouts: out of group and loss, rewarded 0 but out of the loss, or treated like any other."),
  lossAggMode: z
    .enum(["group-token-mean", "token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"])
    .describe("How token losses become one number; the default is the paper's equation 1."),
  advantageStd: z
    .enum(["sample", "population", "none", "leave-one-out"])
    .describe("What the advantage is divided by; leave-one-out subtracts the mean of the others instead."),
  dropZeroVariance: z.boolean().describe("Groups whose rewards are all equal leave the batch."),
  learningRate: z.number().positive().describe("Learning rate after the warm-up."),
  warmupSteps: z.int().min(0).describe("Steps over which the learning rate rises at the start of a stage."),
  ...AdamW,
};

// The defaults are the paper's (arXiv 2506.13284); where it is silent, verl's.
const stageDefaults = z.strictObject({
  data: stageFields.data.default(null),
  promptsPerStep: stageFields.promptsPerStep.default(128),
  groupSize: stageFields.groupSize.default(8),
  maxResponseLength: stageFields.maxResponseLength.default(8192),
  temperature: stageFields.temperature.default(1),
  overlongFiltering: stageFields.overlongFiltering.default("exclude"),
  lossAggMode: stageFields.lossAggMode.default("group-token-mean"),
  advantageStd: stageFields.advantageStd.default("sample"),
  dropZeroVariance: stageFields.dropZeroVariance.default(true),
  learningRate: stageFields.learningRate.default(1e-6),
  warmupSteps: stageFields.warmupSteps.default(0),
  betas: stageFields.betas.default([0.9, 0.999]),
  epsilon: stageFields.epsilon.default(1e-8),
  weightDecay: stageFields.weightDecay.default(0.01),
  maxGradNorm: stageFields.maxGradNorm.default(1),
  end: z
    .strictObject({
      steps: endFields.steps.default(null),
      epochs: endFields.epochs.default(null),
      plateau: endFields.plateau.default(null),
    })
    .prefault({})
    .describe("When a stage ends: by the first of these rules that holds."),
});

const stageName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]*$/, "use lower-case letters, digits and dashes")
  .describe("Name of the stage; its phase is rl:<name>.");

const stageOverrides = z.strictObject({ ...stageFields, end: z.strictObject(endFields).partial() }).partial();

export const RlSection = z.strictObject({
  ...stageDefaults.shape,
  stages: z
    .array(z.strictObject({ name: stageName, ...stageOverrides.shape }))
    .min(1, "name at least one stage, or set rl to false")
    .refine((stages) => new Set(stages.map(({ name }) => name)).size === stages.length, "two stages have the same name")
    .describe("The stages in order; each starts from the policy that the one before left in memory."),
});

/** A stage with nothing left to inherit. */
export const Stage = z.strictObject({ name: stageName, ...stageDefaults.shape });

export type RlConfig = z.output<typeof RlSection>;
export type Stage = z.output<typeof Stage>;
