// What a custom reward's worker and its pool say to each other.
import { z } from "zod";
import { verdictSchema } from "./verdict.ts";

/** Which function a worker is for. */
export const rewardPlaceSchema = z.strictObject({ file: z.string(), exportName: z.string() });
export type RewardPlace = z.infer<typeof rewardPlaceSchema>;

/** A rollout to judge; the worker hands it to the user's function as it is. */
export const rewardRequestSchema = z.strictObject({ id: z.int(), rollout: z.unknown() });

/**
 * First `ready` or `failed`. For each request: `called` before the function is called, `returned` when it gave the thread
 * back (with a promise, or with its answer), `verdict` when the answer is there.
 */
export const rewardReplySchema = z.discriminatedUnion("is", [
  z.strictObject({ is: z.literal("ready") }),
  z.strictObject({ is: z.literal("failed"), reason: z.string() }),
  z.strictObject({ is: z.literal("called"), id: z.int() }),
  z.strictObject({ is: z.literal("returned"), id: z.int() }),
  z.strictObject({ is: z.literal("verdict"), id: z.int(), verdict: verdictSchema }),
]);
export type RewardReply = z.infer<typeof rewardReplySchema>;
