// The problems of the prompts that are being judged, read once: reading LiveCodeBench's tests anew for each rollout would
// take longer than running them.
import type { RewardPrompt } from "../reward.ts";
import type { Tagged } from "../sandbox/tagged.ts";
import type { Problem } from "./problem.ts";
import { FormatError } from "./python-json.ts";
import { readProblem } from "./read-problem.ts";

/** About one step's problems: each may have a hundred million characters of tests. */
const keptSizeMax = 2 ** 30;

/** Gives a prompt's problem, or why it has none; keeps those last asked for, of `sizeMax` characters together. */
export function problemReader(sizeMax = keptSizeMax): (prompt: RewardPrompt) => Problem | string {
  const kept = new Map<RewardPrompt, { readonly problem: Problem | string; readonly size: number }>();
  let keptSize = 0;
  return (prompt) => {
    const found = kept.get(prompt) ?? sized(readOrSay(prompt));
    if (!kept.delete(prompt)) keptSize += found.size;
    for (const [oldest, { size }] of kept) {
      if (keptSize <= sizeMax) break;
      kept.delete(oldest);
      keptSize -= size;
    }
    // The one asked for stays whatever its size: its other rollouts follow.
    kept.set(prompt, found);
    return found.problem;
  };
}

function readOrSay(prompt: RewardPrompt): Problem | string {
  if (prompt.tests === undefined) return `prompt ${prompt.id} has no tests`;
  try {
    return readProblem(prompt.testsText ?? prompt.tests);
  } catch (error) {
    if (error instanceof FormatError) return `prompt ${prompt.id}: ${error.message}`;
    throw error;
  }
}

function sized(problem: Problem | string): { problem: Problem | string; size: number } {
  return { problem, size: sizeOfProblem(problem) };
}

/** Characters, every value and every test counted as some more. */
function sizeOfProblem(problem: Problem | string): number {
  if (typeof problem === "string") return valueSize + problem.length;
  let size = valueSize;
  if (problem.mode === "stdin") {
    for (const { input, output } of problem.tests) size += valueSize + input.length + output.length;
  } else {
    for (const { values, accepted } of problem.tests) size += valueSize + sizeOfValue(values) + sizeOfValue(accepted);
  }
  return size;
}

/** What an object or a place in a list takes, in characters. */
const valueSize = 32;

function sizeOfValue(value: Tagged): number {
  if (typeof value === "string") return valueSize + value.length;
  if (value === null || typeof value !== "object") return valueSize;
  let size = valueSize;
  for (const item of Object.values(value)) size += sizeOfValue(item);
  return size;
}
