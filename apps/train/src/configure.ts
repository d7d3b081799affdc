// From a command to the resolved run: preset, config file and flags in layers, custom rewards hashed.
import { resolve } from "node:path";
import {
  absolutePaths,
  applyOverride,
  type ConfigFiles,
  layOver,
  loadConfigFile,
  presetTree,
  type ResolvedRun,
  resolveRun,
  type Tree,
} from "@gradus/config";
import type { TrainCommand } from "./args.ts";
import { hashRewards } from "./open-reward.ts";

type StartCommand = Extract<TrainCommand, { kind: "start" }>;

/**
 * The run that a command asks for, every default filled in.
 * @param cwd absolute; file names in flags are relative to it.
 * @throws ConfigError, UsageError, RewardError
 */
export async function configureRun(command: StartCommand, cwd: string, files: ConfigFiles): Promise<ResolvedRun> {
  const layers: Tree[] = [];
  if (command.preset !== undefined || command.config === undefined) layers.push(presetTree(command.preset ?? "tiny"));
  if (command.config !== undefined) layers.push(await loadConfigFile(resolve(cwd, command.config), files));
  const written = layers.reduce((below, over) => layOver(below, over), {});
  const overridden = command.overrides.reduce((tree, [path, text]) => applyOverride(tree, path, text), written);
  const place = command.config ?? `preset ${command.preset ?? "tiny"}`;
  const run = resolveRun(absolutePaths(overridden, cwd), place);
  return { ...run, rewardHashes: await hashRewards(run) };
}
