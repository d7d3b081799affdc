// Rewards made of rewards: one for each source of prompts, weighted sums, another time limit.
import { attempt, type Reward, type RewardPrompt } from "./reward.ts";
import { fault, type Verdict } from "./verdict.ts";

/** The name under which `bySource` finds the reward of sources that it does not name. */
export const otherSources = "*";

/**
 * Judges every response by the reward of its prompt's `source`; `"*"` judges those of other sources and of none.
 * Without it such a prompt is refused at the start, and its rollouts are faults.
 *
 * @example
 * const reward = bySource({ math: mathReward(), code: codeReward(), "*": exactReward() });
 */
export function bySource<P extends RewardPrompt>(rewards: Readonly<Record<string, Reward<P>>>): Reward<P> {
  const named = new Map(Object.entries(rewards));
  const rewardOf = ({ source }: P) => (source === undefined ? undefined : named.get(source)) ?? named.get(otherSources);
  const judgeOne = (rollout: Parameters<Reward<P>>[0]) => {
    const reward = rewardOf(rollout.prompt);
    return reward ? attempt(reward, rollout) : fault(unknownSource(rollout.prompt.source, [...named.keys()]));
  };
  return Object.assign(judgeOne, {
    ...lifeOf([...named.values()]),
    check: (prompt: P) => {
      const reward = rewardOf(prompt);
      return reward ? reward.check?.(prompt) : unknownSource(prompt.source, [...named.keys()]);
    },
  });
}

function unknownSource(source: string | undefined, known: readonly string[]): string {
  const what = source === undefined ? "the prompt has no source" : `no reward for the source "${source}"`;
  return `${what}; known are ${known.join(", ")}, and "${otherSources}" would take all others`;
}

/** A reward and how much of its score counts. */
export type WeightedReward<P extends RewardPrompt = RewardPrompt> = {
  readonly reward: Reward<P>;
  readonly weight: number;
};

/**
 * The sum of weight · score. The verdict's kind, tier and detail are the first reward's, the one that says what is right;
 * the others shape the score. A fault of any of them is a fault of the whole, since a part of a sum is no score.
 *
 * @example
 * const reward = weightedSum([{ reward: mathReward(), weight: 1 }, { reward: ({ length }) => -length / 8192, weight: 0.1 }]);
 */
export function weightedSum<P extends RewardPrompt>(parts: readonly WeightedReward<P>[]): Reward<P> {
  const sumOf = async (rollout: Parameters<Reward<P>>[0]): Promise<Verdict> => {
    const verdicts = await Promise.all(parts.map(({ reward }) => attempt(reward, rollout)));
    const [first] = verdicts;
    if (first === undefined) return fault("a sum of no rewards");
    let score = 0;
    for (const [index, verdict] of verdicts.entries()) {
      if (verdict.status === "fault") return verdict;
      score += (parts[index]?.weight ?? 0) * verdict.score;
    }
    return first.status === "fault" ? first : { ...first, score };
  };
  return Object.assign(sumOf, {
    ...lifeOf(parts.map(({ reward }) => reward)),
    check: (prompt: P) => {
      for (const { reward } of parts) {
        const problem = reward.check?.(prompt);
        if (problem !== undefined) return problem;
      }
      return undefined;
    },
  });
}

/** The same reward with another time limit. Only work that gives the thread back can be stopped by it. */
export function withTimeLimit<P extends RewardPrompt>(reward: Reward<P>, seconds: number): Reward<P> {
  const { start, check, close } = reward;
  return Object.assign((rollout: Parameters<Reward<P>>[0]) => reward(rollout), {
    ...(start && { start }),
    ...(check && { check }),
    ...(close && { close }),
    limitSeconds: seconds,
  });
}

/** Starts and closes every part, each once; the parts keep their own limits. */
function lifeOf<P extends RewardPrompt>(rewards: readonly Reward<P>[]) {
  const parts = [...new Set(rewards)];
  return {
    start: async () => {
      for (const { start } of parts) await start?.();
    },
    close: async () => {
      await Promise.all(parts.map(({ close }) => close?.()));
    },
    limitSeconds: Number.POSITIVE_INFINITY,
  };
}
