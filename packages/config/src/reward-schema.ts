// The reward of a run: one by name, a weighted sum, or one for each source of prompts.
import { z } from "zod";

const RewardName = z
  .string()
  .min(1)
  .describe("`math` (boxed answer), `exact` (last word equals the answer), `code` (tests), or `./file.ts#export`.");

const RewardSum = z
  .strictObject({
    sum: z
      .array(
        z.strictObject({
          reward: RewardName,
          weight: z.number().describe("What its score is multiplied with."),
        }),
      )
      .min(1, "a sum needs a reward"),
  })
  .describe("Sum of weight · score; what is told of the verdict is the first reward's.");

const SourceRewards = z
  .strictObject({
    bySource: z
      .record(z.string().min(1), z.union([RewardName, RewardSum]))
      .refine((rewards) => Object.keys(rewards).length > 0, "name a reward for at least one source"),
  })
  .describe('A reward for each `source` of the rows; `"*"` takes all others. A row that no name fits is refused.');

/** The fields of a run that say how responses are judged. */
export const rewardFields = {
  reward: z
    .union([RewardName, RewardSum, SourceRewards])
    .default("math")
    .describe("What judges responses: a name, `{ sum }`, or `{ bySource }`."),
  mathMode: z
    .enum(["strict", "mathverify", "acereason"])
    .default("strict")
    .describe(
      "How `math` grades: no false positives before recall, Math-Verify's conventions, or the paper's toolkit's.",
    ),
  codeScore: z
    .enum(["all", "fraction"])
    .default("all")
    .describe("How `code` scores: 1 where every test passes, else 0; or the share of tests that pass."),
  rewardLimitSeconds: z
    .number()
    .positive()
    .default(10)
    .describe("A custom reward that takes longer for one response is ended; the rollout then has no score."),
  rewardHashes: z
    .record(z.string(), z.string())
    .nullable()
    .default(null)
    .describe(
      "SHA-256 of each custom reward's file, written into the resolved config; a resume refuses a changed one.",
    ),
};
