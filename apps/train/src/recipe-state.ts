// Where a run stands: what a checkpoint's recipe.json holds. With the resolved config it is all that a resume needs.
import { z } from "zod";
import type { EvalResult } from "./events.ts";

const loopState = z.strictObject({
  step: z.int().min(0),
  cursor: z.int().min(0),
  globalStep: z.int().min(0),
  skippedSteps: z.int().min(0),
  skippedInARow: z.int().min(0),
  scores: z.array(z.number()),
});

const evalResult = z.strictObject({
  phase: z.string(),
  step: z.int().min(0),
  task: z.string(),
  metric: z.string(),
  value: z.number(),
  n: z.int().min(0),
  length: z.number(),
  samples: z.array(
    z.strictObject({ prompt: z.string(), answer: z.string(), response: z.string(), correct: z.boolean() }),
  ),
}) satisfies z.ZodType<EvalResult>;

/** How often a prompt was solved the last time it was drawn, for the difficulty filters and for people. */
const passRecord = z.tuple([
  z.int().min(0).describe("epoch"),
  z.int().min(0).describe("solved"),
  z.int().min(0).describe("graded"),
]);

export const RecipeState = z.strictObject({
  format: z.literal(1),
  /** Index of the current phase in the run's phases; as many as there are when all is done. */
  phase: z.int().min(0),
  /** The current phase's loop: step, data cursor, counters, plateau window. */
  loop: loopState,
  /** Tokens of all batches so far. */
  tokens: z.int().min(0),
  logprobAbsDiffMax: z.number().min(0),
  /** Seconds worked so far, evaluations included, over every resume. */
  wallSeconds: z.number().min(0),
  evals: z.array(evalResult),
  /** Steps that ended a pass over the SFT data: their checkpoints stay. */
  epochEnds: z.array(z.int().min(1)),
  /** Phase → prompt id → [epoch, solved, graded] of its last draw. */
  passHistory: z.record(z.string(), z.record(z.string(), passRecord)),
});

export type RecipeState = z.output<typeof RecipeState>;
