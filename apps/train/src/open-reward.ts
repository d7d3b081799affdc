// The reward of a run: made from its config, started before the first step, asked whether it can judge every prompt.
import { ConfigError, nameHint, type ResolvedRun } from "@gradus/config";
import { DataError } from "@gradus/data";
import {
  configuredReward,
  isRewardReference,
  namesIn,
  otherSources,
  type Reward,
  type RewardPlan,
  rewardHashes,
  rewardNames,
} from "@gradus/rewards";
import type { RenderedPrompt } from "./load-data.ts";

/** The hashes of the files that a run's rewards are in, by name. @throws ConfigError, RewardError */
export async function hashRewards({ reward }: Pick<ResolvedRun, "reward">): Promise<Record<string, string> | null> {
  for (const name of namesIn(reward)) {
    if (rewardNames.includes(name) || isRewardReference(name)) continue;
    const hint = nameHint(name, rewardNames);
    throw new ConfigError(`reward: unknown reward "${name}"${hint}; use ${rewardNames.join(", ")} or ./file.ts#export`);
  }
  const hashes = await rewardHashes(reward);
  return Object.keys(hashes).length > 0 ? hashes : null;
}

/**
 * The run's reward, started: custom files are loaded and the sandbox runs, where the run needs them. Close it.
 * @throws ConfigError for a file that changed since the run began, RewardError, and the sandbox's refusal.
 */
export async function openReward(run: ResolvedRun): Promise<Reward> {
  const hashes = await hashRewards(run);
  for (const [name, hash] of Object.entries(run.rewardHashes ?? {})) {
    if (hashes?.[name] === hash) continue;
    throw new ConfigError(`reward: ${name} changed since the run began; restore the file, or start a new run`);
  }
  const { mathMode, codeScore, rewardLimitSeconds: limitSeconds } = run;
  const reward = await configuredReward(run.reward, { mathMode, codeScore, limitSeconds });
  try {
    await reward.start?.();
  } catch (error) {
    await reward.close?.();
    throw error;
  }
  return reward;
}

/** Refuses a prompt that the reward cannot judge, by its place. @throws DataError */
export function checkJudged(prompts: readonly RenderedPrompt[], plan: RewardPlan, reward: Reward): void {
  for (const prompt of prompts) {
    const problem = sourceProblem(prompt.source, plan) ?? reward.check?.(prompt);
    if (problem !== undefined) throw new DataError("bad-row", `${prompt.place}: ${problem}`);
  }
}

function sourceProblem(source: string | undefined, plan: RewardPlan): string | undefined {
  if (typeof plan === "string" || !("bySource" in plan)) return undefined;
  const known = Object.keys(plan.bySource);
  if (known.includes(otherSources) || (source !== undefined && known.includes(source))) return undefined;
  const remedy = `name it in reward.bySource, or give "${otherSources}" a reward there`;
  if (source === undefined)
    return `the row has no source, and reward.bySource chooses by it; give it one, or ${remedy}`;
  return `no reward for the source "${source}"${nameHint(source, known)}; ${remedy}`;
}
