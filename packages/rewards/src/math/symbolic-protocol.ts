// The messages between the pool and its workers, each way.
import { z } from "zod";
import type { MathJson } from "./math-json.ts";

const mathJsonSchema: z.ZodType<MathJson> = z.lazy(() =>
  z.union([z.string(), z.number(), z.strictObject({ num: z.string() }), z.array(mathJsonSchema)]),
);
const pairSchema = z.tuple([mathJsonSchema, mathJsonSchema]);

/** A question with its number; the answer carries the same number. */
export const questionSchema = z.strictObject({
  id: z.number(),
  values: z.array(pairSchema),
  simplify: pairSchema.optional(),
  complexAllowed: z.boolean(),
});

/** What a worker writes: once that it is ready, then one answer a question. */
export const answerSchema = z.union([
  z.strictObject({ ready: z.literal(true) }),
  z.strictObject({ id: z.number(), is: z.enum(["equal", "different"]) }),
]);
