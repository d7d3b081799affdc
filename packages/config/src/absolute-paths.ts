// File names in a config are relative to the file that holds them; before layers merge they are made absolute.
import { isAbsolute, resolve } from "node:path";
import { changeAt, isTree, type Tree } from "./tree.ts";

const pathFields = [
  ["policy", "folder"],
  ["policy", "tokenizer"],
  ["data", "sft"],
  ["data", "rl"],
  ["data", "eval"],
  ["rl", "data"],
  ["rl", "stages", "*", "data"],
];

/** `tree` with its relative file names read from `folder`; a reward's name is a file's when it has the form `file#export`. */
export function absolutePaths(tree: Tree, folder: string): Tree {
  const absolute = (value: unknown): unknown =>
    typeof value === "string" && !isAbsolute(value) ? resolve(folder, value) : value;
  const reward = (value: unknown): unknown => {
    if (typeof value === "string") return value.includes("#") ? absolute(value) : value;
    if (Array.isArray(value)) return value.map(reward);
    return isTree(value) ? Object.fromEntries(Object.entries(value).map(([key, part]) => [key, reward(part)])) : value;
  };
  const withFiles = pathFields.reduce((changed, field) => changeAt(changed, field, absolute), tree);
  return changeAt(withFiles, ["reward"], reward);
}
