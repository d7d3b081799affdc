// Loads a reward that a config names by file and export (`./reward.ts#score`), with the hash of its content.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { isAbsolute, resolve } from "node:path";
import type { Reward } from "./reward.ts";
import { RewardError } from "./reward-error.ts";
import { workerReward } from "./worker-reward.ts";

/** A custom reward and what identifies it: the resolved file, the export's name and the SHA-256 of the file's bytes. */
export type LoadedReward = { reward: Reward; file: string; exportName: string; sha256: string };

/** Whether a config's reward names a file and export rather than a built-in reward. */
export function isRewardReference(name: string): boolean {
  return name.includes("#") || /\.[cm]?[jt]s$/.test(name);
}

/**
 * The reward `reference` (`FILE#EXPORT`, FILE relative to `folder`), which runs in threads of its own; its `start` loads
 * the file. Throws a RewardError that names what is missing.
 */
export async function loadReward(
  reference: string,
  folder: string,
  { limitSeconds }: { limitSeconds: number },
): Promise<LoadedReward> {
  const { file, exportName } = placeOf(reference, folder);
  const sha256 = await rewardHash(reference, folder);
  return { reward: workerReward(reference, { file, exportName }, { limitSeconds }), file, exportName, sha256 };
}

/** The SHA-256 of the file that a custom reward is in. Throws a RewardError where it cannot be read. */
export async function rewardHash(reference: string, folder: string): Promise<string> {
  const { file } = placeOf(reference, folder);
  try {
    return createHash("sha256")
      .update(await readFile(file))
      .digest("hex");
  } catch (cause) {
    throw new RewardError(`reward "${reference}": cannot read ${file}; check the path (relative to the config)`, {
      cause,
    });
  }
}

function placeOf(reference: string, folder: string): { file: string; exportName: string } {
  const [path = "", exportName = ""] = reference.split("#");
  if (!path || !exportName) {
    throw new RewardError(`reward "${reference}": expected FILE#EXPORT, for example ./reward.ts#score`);
  }
  return { file: isAbsolute(path) ? path : resolve(folder, path), exportName };
}
