// The reward that a config describes by names: `math`, `exact`, `code` or FILE#EXPORT, summed or chosen by source.
import { codeReward } from "./code/code-reward.ts";
import { bySource, weightedSum } from "./compose-rewards.ts";
import { exactReward } from "./exact-reward.ts";
import type { MathMode } from "./grade-math.ts";
import { isRewardReference, loadReward, rewardHash } from "./load-reward.ts";
import { mathReward } from "./math-reward.ts";
import type { Reward } from "./reward.ts";
import { RewardError } from "./reward-error.ts";

/** Rewards by name and how much of each score counts. */
export type RewardSumPlan = { readonly sum: readonly { readonly reward: string; readonly weight: number }[] };

/** A reward by name, a sum of such, or one of these for each source (`"*"`: all others). */
export type RewardPlan =
  | string
  | RewardSumPlan
  | { readonly bySource: Readonly<Record<string, string | RewardSumPlan>> };

export type RewardSettings = {
  readonly mathMode: MathMode;
  readonly codeScore: "all" | "fraction";
  /** For custom rewards. */
  readonly limitSeconds: number;
};

const builtIn: Readonly<Record<string, (settings: RewardSettings) => Reward>> = {
  math: ({ mathMode }) => mathReward({ mode: mathMode }),
  exact: () => exactReward(),
  code: ({ codeScore }) => codeReward({ score: codeScore }),
};

/** The names of the rewards that are there without a file. */
export const rewardNames: readonly string[] = Object.keys(builtIn);

/** Every name in a plan, each once. */
export function namesIn(plan: RewardPlan): string[] {
  if (typeof plan === "string") return [plan];
  if ("sum" in plan) return [...new Set(plan.sum.map(({ reward }) => reward))];
  return [...new Set(Object.values(plan.bySource).flatMap(namesIn))];
}

/** The SHA-256 of the file of each custom reward in a plan, by its name. @throws RewardError */
export async function rewardHashes(plan: RewardPlan): Promise<Record<string, string>> {
  const custom = namesIn(plan).filter(isRewardReference);
  return Object.fromEntries(
    await Promise.all(custom.map(async (name) => [name, await rewardHash(name, "/")] as const)),
  );
}

/**
 * The reward of a plan. Files are absolute; they are loaded, and the sandbox starts, when the reward is started.
 * @throws RewardError for a name that is none.
 */
export async function configuredReward(plan: RewardPlan, settings: RewardSettings): Promise<Reward> {
  const named = new Map<string, Reward>();
  for (const name of namesIn(plan)) named.set(name, await rewardOf(name, settings));
  const find = (name: string): Reward => {
    const reward = named.get(name);
    if (reward === undefined) throw new Error(`reward ${name} was not made`);
    return reward;
  };
  const build = (part: string | RewardSumPlan): Reward =>
    typeof part === "string"
      ? find(part)
      : weightedSum(part.sum.map(({ reward, weight }) => ({ reward: find(reward), weight })));
  if (typeof plan === "string" || "sum" in plan) return build(plan);
  return bySource(Object.fromEntries(Object.entries(plan.bySource).map(([source, part]) => [source, build(part)])));
}

async function rewardOf(name: string, settings: RewardSettings): Promise<Reward> {
  const make = builtIn[name];
  if (make !== undefined) return make(settings);
  if (isRewardReference(name)) return (await loadReward(name, "/", settings)).reward;
  throw new RewardError(`unknown reward "${name}"; use ${rewardNames.join(", ")} or ./file.ts#export`);
}
