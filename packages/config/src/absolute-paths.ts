// File names in a config are relative to the file that holds them; before layers merge they are made absolute.
import { isAbsolute, resolve } from "node:path";
import { changeAt, type Tree } from "./tree.ts";

const pathFields = [
  ["policy", "folder"],
  ["policy", "tokenizer"],
  ["data", "sft"],
  ["data", "rl"],
  ["data", "eval"],
  ["rl", "data"],
  ["rl", "stages", "*", "data"],
];

/** `tree` with its relative file names read from `folder`; a reward is a file name when it has the form `file#export`. */
export function absolutePaths(tree: Tree, folder: string): Tree {
  const absolute = (value: unknown): unknown =>
    typeof value === "string" && !isAbsolute(value) ? resolve(folder, value) : value;
  const reward = (value: unknown): unknown =>
    typeof value === "string" && value.includes("#") ? absolute(value) : value;
  const withFiles = pathFields.reduce((changed, field) => changeAt(changed, field, absolute), tree);
  return changeAt(withFiles, ["reward"], reward);
}
