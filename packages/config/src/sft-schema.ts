// The `sft` section of a run: supervised fine-tuning on solutions, before the RL stages.
import { z } from "zod";
import { AdamW } from "./optimizer-schema.ts";

export const SftSection = z.strictObject({
  steps: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe("Optimizer steps; the phase ends at steps or epochs, whichever comes first."),
  epochs: z.int().min(1).nullable().default(null).describe("Passes over the data; null for as many as `steps` needs."),
  batchSize: z.int().min(1).default(64).describe("Samples a step."),
  maxSampleTokens: z
    .int()
    .min(2)
    .default(32_768)
    .describe("Samples longer than this many tokens are left out, and counted."),
  learningRate: z.number().positive().default(1e-5).describe("Peak learning rate."),
  schedule: z
    .enum(["constant", "cosine", "linear"])
    .default("cosine")
    .describe("Course of the learning rate after the warm-up."),
  warmupSteps: z.int().min(0).default(0).describe("Steps over which the learning rate rises to its peak."),
  floorShare: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe("Learning rate at the end of a cosine or linear schedule, as a share of its peak."),
  betas: AdamW.betas.default([0.9, 0.95]),
  epsilon: AdamW.epsilon.default(1e-8),
  weightDecay: AdamW.weightDecay.default(0.01),
  maxGradNorm: AdamW.maxGradNorm.default(1),
  evalEverySteps: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      "Steps between evaluations within the phase, beside those at its end and, where epochs is set, after each.",
    ),
});

export type SftConfig = z.output<typeof SftSection>;
