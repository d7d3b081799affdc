// From a command to the resolved run: preset, config file and flags in layers, the reward found and hashed.
import { resolve } from "node:path";
import {
  absolutePaths,
  applyOverride,
  ConfigError,
  type ConfigFiles,
  layOver,
  loadConfigFile,
  presetTree,
  type ResolvedRun,
  resolveRun,
  type Tree,
} from "@gradus/config";
import { exactReward, isRewardReference, loadReward, mathReward, type Reward } from "@gradus/rewards";
import type { TrainCommand } from "./args.ts";

type StartCommand = Extract<TrainCommand, { kind: "start" }>;

/**
 * The run that a command asks for, every default filled in.
 * @param cwd absolute; file names in flags are relative to it.
 * @throws ConfigError, UsageError
 */
export async function configureRun(command: StartCommand, cwd: string, files: ConfigFiles): Promise<ResolvedRun> {
  const layers: Tree[] = [];
  if (command.preset !== undefined || command.config === undefined) layers.push(presetTree(command.preset ?? "tiny"));
  if (command.config !== undefined) layers.push(await loadConfigFile(resolve(cwd, command.config), files));
  const written = layers.reduce((below, over) => layOver(below, over), {});
  const overridden = command.overrides.reduce((tree, [path, text]) => applyOverride(tree, path, text), written);
  const place = command.config ?? `preset ${command.preset ?? "tiny"}`;
  const run = resolveRun(absolutePaths(overridden, cwd), place);
  return { ...run, rewardHash: (await findReward(run)).hash };
}

/** The reward that a run names, and the SHA-256 of its file (null for a built-in one). */
export async function findReward(run: ResolvedRun): Promise<{ reward: Reward; hash: string | null }> {
  if (run.reward === "math") return { reward: mathReward(), hash: null };
  if (run.reward === "exact") return { reward: exactReward(), hash: null };
  if (!isRewardReference(run.reward))
    throw new ConfigError(`reward: unknown reward "${run.reward}"; use math, exact or ./file.ts#export`);
  const { reward, sha256 } = await loadReward(run.reward, "/");
  if (run.rewardHash !== null && run.rewardHash !== sha256)
    throw new ConfigError(`reward: ${run.reward} changed since the run began; restore the file, or start a new run`);
  return { reward, hash: sha256 };
}
