// Loads a reward that a config names by file and export (`./reward.ts#score`), with the hash of its content.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { isAbsolute, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import type { Reward } from "./reward.ts";

/** A reward and what identifies it: the resolved file, the export's name and the SHA-256 of the file's bytes. */
export type LoadedReward = { reward: Reward; file: string; exportName: string; sha256: string };

export class RewardError extends Error {
  override readonly name = "RewardError";
  readonly code = "bad-reward";
}

const rewardSchema = z.custom<Reward>((value) => typeof value === "function");

/** Whether a config's reward names a file and export rather than a built-in reward. */
export function isRewardReference(name: string): boolean {
  return name.includes("#") || /\.[cm]?[jt]s$/.test(name);
}

/** Imports `reference` (`FILE#EXPORT`, FILE relative to `folder`). Throws a RewardError that names what is missing. */
export async function loadReward(reference: string, folder: string): Promise<LoadedReward> {
  const [path = "", exportName = ""] = reference.split("#");
  if (!path || !exportName) {
    throw new RewardError(`reward "${reference}": expected FILE#EXPORT, for example ./reward.ts#score`);
  }
  const file = isAbsolute(path) ? path : resolve(folder, path);
  const sha256 = createHash("sha256")
    .update(await read(file, reference))
    .digest("hex");
  const exported = await importModule(file, reference);
  const found = exported.get(exportName);
  const reward = rewardSchema.safeParse(found);
  if (reward.success) return { reward: reward.data, file, exportName, sha256 };
  const functions = [...exported].filter(([, value]) => typeof value === "function").map(([name]) => name);
  const remedy = functions.length > 0 ? `its functions are: ${functions.join(", ")}` : "it exports no function";
  const wrong = found === undefined ? `${file} has no export "${exportName}"` : `"${exportName}" is not a function`;
  throw new RewardError(`reward "${reference}": ${wrong}; ${remedy}`);
}

async function read(file: string, reference: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new RewardError(`reward "${reference}": cannot read ${file}; check the path (relative to the config)`, {
      cause,
    });
  }
}

async function importModule(file: string, reference: string): Promise<Map<string, unknown>> {
  try {
    const loaded: object = await import(pathToFileURL(file).href);
    return new Map(Object.entries(loaded));
  } catch (cause) {
    const message = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new RewardError(`reward "${reference}": ${file} does not load: ${message}`, { cause });
  }
}
