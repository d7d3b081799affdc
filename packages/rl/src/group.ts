// Groups: the rollouts of one prompt, with what the reward said of each. First station after the reward.
import type { Verdict } from "@gradus/rewards";
import type { RolloutInfo } from "./policy.ts";

/** A rollout on its way to a weight; `index` is its place in the batch. `verdict` is undefined where none was asked for. */
export type Member = {
  readonly index: number;
  readonly length: number;
  readonly truncated: boolean;
  readonly verdict: Verdict | undefined;
};

export type Group = { readonly promptIndex: number; readonly members: readonly Member[] };

/**
 * The groups in order of their prompts. `verdicts` has one entry per rollout.
 * A rollout is truncated when it reached the limit without an end token; an end token at the limit is not truncated.
 */
export function groupRollouts(rollouts: readonly RolloutInfo[], verdicts: readonly (Verdict | undefined)[]): Group[] {
  const groups = new Map<number, Member[]>();
  for (const [index, rollout] of rollouts.entries()) {
    const members = groups.get(rollout.promptIndex) ?? [];
    groups.set(rollout.promptIndex, members);
    members.push({
      index,
      length: rollout.length,
      truncated: rollout.finishReason === "length",
      verdict: verdicts[index],
    });
  }
  return [...groups].sort(([a], [b]) => a - b).map(([promptIndex, members]) => ({ promptIndex, members }));
}
