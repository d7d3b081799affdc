// The presets by name, their file names read from the root of the repository.
import { resolve } from "node:path";
import { absolutePaths } from "../absolute-paths.ts";
import { ConfigError } from "../config-error.ts";
import type { ConfigInput } from "../config-input.ts";
import { nameHint } from "../nearest-name.ts";
import type { Tree } from "../tree.ts";
import { real05b } from "./real-0.5b.ts";
import { tiny } from "./tiny.ts";

const presets = new Map<string, ConfigInput>([
  ["tiny", tiny],
  ["real-0.5b", real05b],
]);

export const presetNames: readonly string[] = [...presets.keys()];

/** A preset to build on: `extends: preset("tiny")`. Throws a ConfigError with the nearest name for an unknown one. */
export function preset(name: string): ConfigInput {
  return presetTree(name);
}

/** The layer that a preset describes, its file names absolute. */
export function presetTree(name: string): Tree {
  const found = presets.get(name);
  if (found === undefined) throw new ConfigError(`unknown preset "${name}"${nameHint(name, presetNames)}`);
  return absolutePaths(structuredClone(found), resolve(import.meta.dirname, "../../../.."));
}
