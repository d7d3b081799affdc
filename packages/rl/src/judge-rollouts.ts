// The reward's turn in a step: asks for the verdicts that count, some at a time, in the order of the rollouts.
import { mapAtMost, rewardsAtOnce } from "@gradus/rewards";
import { isFiltered, type OverlongFiltering } from "./filter.ts";
import type { RolloutVerdict } from "./group.ts";
import type { JudgedRollout } from "./loop-options.ts";
import type { PromptInput, RolloutInfo } from "./policy.ts";

/**
 * One verdict per rollout; undefined for truncated ones that overlong filtering takes the reward from, which are not
 * graded. An aborted rollout is unfinished for reasons outside the policy, so it is a fault.
 */
export function judgeRollouts<P>(
  rollouts: readonly RolloutInfo[],
  prompts: readonly P[],
  inputs: readonly PromptInput[],
  options: {
    readonly overlongFiltering: OverlongFiltering;
    readonly judge: (rollout: JudgedRollout<P>) => Promise<RolloutVerdict>;
  },
): Promise<(RolloutVerdict | undefined)[]> {
  return mapAtMost(rewardsAtOnce, rollouts, async ({ promptIndex, text, finishReason, length }) => {
    const prompt = prompts[promptIndex];
    if (prompt === undefined) throw new Error(`the policy answered prompt ${promptIndex} of ${prompts.length}`);
    if (finishReason === "abort") return { status: "fault", reason: "the rollout was aborted" };
    if (isFiltered(finishReason === "length", options.overlongFiltering)) return undefined;
    const promptText = textOf(inputs[promptIndex]);
    return options.judge({ prompt, ...(promptText !== undefined && { promptText }), text, finishReason, length });
  });
}

function textOf(input: PromptInput | undefined): string | undefined {
  if (typeof input === "object" && "text" in input) return input.text;
  return typeof input === "string" ? input : undefined;
}

/** The kind of a rollout in records: its verdict's, "fault", or "truncated" where it was not graded. */
export function kindOf(verdict: RolloutVerdict | undefined): string {
  if (!verdict) return "truncated";
  return verdict.status === "fault" ? "fault" : verdict.kind;
}
