// Filters: which rollouts and groups take part in mean, std and loss, and a count of everything dropped.
import type { Group } from "./group.ts";

/**
 * What happens to truncated rollouts. "exclude": no reward, no part in mean, std and loss. "mask": a reward of 0 that
 * counts in mean and std, tokens not in the loss. "off": rewarded and trained like any other.
 */
export type OverlongFiltering = "exclude" | "mask" | "off";

/** A rollout that takes part in its group's mean and std; `inLoss` says whether its tokens are in the loss. */
export type Survivor = {
  readonly index: number;
  readonly score: number;
  readonly length: number;
  readonly inLoss: boolean;
};

export type SurvivingGroup = { readonly promptIndex: number; readonly survivors: readonly Survivor[] };

/** Rollouts (truncated, fault) and groups (zeroStd, tooSmall) that left the batch; under "mask" truncated lose only their tokens. */
export type Dropped = {
  readonly truncated: number;
  readonly fault: number;
  readonly zeroStd: number;
  readonly tooSmall: number;
};

export type Filtered = {
  /** The groups that are in the loss. */
  readonly groups: readonly SurvivingGroup[];
  /** Every group of two or more survivors, also those without variance: what the shares of solved groups are taken over. */
  readonly scored: readonly SurvivingGroup[];
  readonly dropped: Dropped;
  /** One per rollout of the batch, also those of groups too small: its score, NaN where it has none. */
  readonly scores: Float32Array;
};

/** Applies, in this order: faults out, overlong filtering, groups of fewer than two survivors out, zero variance out. */
export function filterGroups(
  groups: readonly Group[],
  options: { overlongFiltering: OverlongFiltering; dropZeroVariance: boolean },
): Filtered {
  const dropped = { truncated: 0, fault: 0, zeroStd: 0, tooSmall: 0 };
  const scored: SurvivingGroup[] = [];
  const kept: SurvivingGroup[] = [];
  const scores = new Float32Array(groups.reduce((total, { members }) => total + members.length, 0)).fill(Number.NaN);
  for (const { promptIndex, members } of groups) {
    const survivors: Survivor[] = [];
    for (const { index, length, truncated, verdict } of members) {
      if (verdict?.status === "fault") dropped.fault++;
      else if (isFiltered(truncated, options.overlongFiltering)) {
        dropped.truncated++;
        if (options.overlongFiltering === "mask") survivors.push({ index, score: 0, length, inLoss: false });
      } else if (verdict) survivors.push({ index, score: verdict.score, length, inLoss: true });
      else throw new Error(`rollout ${index} has no verdict; only filtered rollouts may go without one`);
    }
    for (const { index, score } of survivors) scores[index] = score;
    const group = { promptIndex, survivors };
    if (survivors.length < 2) dropped.tooSmall++;
    else {
      scored.push(group);
      if (!hasZeroVariance(group)) kept.push(group);
      else if (options.dropZeroVariance) dropped.zeroStd++;
      else kept.push(group);
    }
  }
  return { groups: kept, scored, dropped, scores };
}

/** Whether overlong filtering takes the reward from a rollout. */
export function isFiltered(truncated: boolean, filtering: OverlongFiltering): boolean {
  return truncated && filtering !== "off";
}

/** Whether all scores of the group are equal: such a group carries no gradient. */
export function hasZeroVariance({ survivors }: SurvivingGroup): boolean {
  return survivors.every(({ score }) => score === survivors[0]?.score);
}
