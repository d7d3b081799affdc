// Optimizer options that `grpo` and `sft` share: their schema, their public type, and what rl's loops take.
import { AdamW } from "@gradus/config";
import { type OptimizerOptions, learningRate as scheduledRate } from "@gradus/rl";
import { z } from "zod";

export const optimizerOptions = {
  learningRate: z.union(
    [z.number().positive(), z.custom<(step: number) => number>((value) => typeof value === "function")],
    {
      error: "expected a number above 0, or a function of the step",
    },
  ),
  warmupSteps: z.int().min(0).default(0),
  betas: AdamW.betas.readonly().optional(),
  weightDecay: AdamW.weightDecay.optional(),
  epsilon: AdamW.epsilon.optional(),
  maxGradNorm: AdamW.maxGradNorm.optional(),
  microBatchTokens: z.int().min(1).optional(),
};

export type RateOptions = {
  /** A constant rate after the warm-up, or a function of the step (from 0); 1e-6 in `grpo`, 1e-5 in `sft`. */
  readonly learningRate?: number | ((step: number) => number);
  /** Steps over which a constant rate rises from 0. */
  readonly warmupSteps?: number;
  /** AdamW's; 0.9 and 0.999 in `grpo`, 0.9 and 0.95 in `sft`. */
  readonly betas?: readonly [number, number];
  /** Decoupled, not on norms and biases; 0.01. */
  readonly weightDecay?: number;
  readonly epsilon?: number;
  /** The gradient's L2 norm is clipped to this; 1. */
  readonly maxGradNorm?: number;
  /** Most tokens in one pass; 4,096. Changes memory and rounding, nothing else. */
  readonly microBatchTokens?: number;
};

type ReadOptions = z.output<z.ZodObject<typeof optimizerOptions>>;

/** What rl's loops take. */
export function optimizerSettings(options: ReadOptions): OptimizerOptions {
  const { learningRate: rate, warmupSteps, betas, weightDecay, epsilon, maxGradNorm, microBatchTokens } = options;
  const constant = (peak: number) => (step: number) => scheduledRate({ kind: "constant", peak, warmupSteps }, step);
  return {
    learningRate: typeof rate === "number" ? constant(rate) : rate,
    ...(betas !== undefined && { betas }),
    ...(weightDecay !== undefined && { weightDecay }),
    ...(epsilon !== undefined && { epsilon }),
    ...(maxGradNorm !== undefined && { maxGradNorm }),
    ...(microBatchTokens !== undefined && { microBatchTokens }),
  };
}
