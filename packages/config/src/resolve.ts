// From merged layers to a valid run: defaults filled in, stages complete, every fault told in one line.
import type { z } from "zod";
import { ConfigError } from "./config-error.ts";
import { knownKeys } from "./json-schema.ts";
import { nameHint } from "./nearest-name.ts";
import { type RlConfig, Stage } from "./rl-schema.ts";
import { RunConfig } from "./schema.ts";
import { isTree, mergeTrees, type Tree } from "./tree.ts";

/** A run with nothing left to decide: what config.json holds and what a resume reads. */
export type ResolvedRun = Omit<RunConfig, "rl"> & { rl: false | (Omit<RlConfig, "stages"> & { stages: Stage[] }) };

/**
 * Validates a merged tree and fills in every default.
 * @param place names the source in an error, for example `gradus.config.ts`.
 * @throws ConfigError naming the field, what was expected and, for an unknown key, the nearest known one.
 */
export function resolveRun(tree: Tree, place: string): ResolvedRun {
  const parsed = RunConfig.safeParse(tree);
  if (!parsed.success) throw new ConfigError(explain(parsed.error, tree, place));
  const config = parsed.data;
  const rl = config.rl === false ? (false as const) : { ...config.rl, stages: completeStages(config.rl) };
  const resolved = { ...config, rl };
  checkPhases(resolved, place);
  return resolved;
}

function completeStages(rl: RlConfig): Stage[] {
  const { stages, ...defaults } = rl;
  return stages.map((stage) => Stage.parse(mergeTrees(defaults, stage)));
}

function checkPhases(config: ResolvedRun, place: string): void {
  const fail = (message: string): never => {
    throw new ConfigError(`${place}: ${message}`);
  };
  if (config.dtype === "q8_0") fail("dtype: q8_0 is for inference only and cannot be trained; use f32 or bf16");
  if (config.sft === false && config.rl === false) fail("sft and rl are both false: nothing to train; set one of them");
  if (config.sft !== false) {
    if (config.sft.steps === null && config.sft.epochs === null)
      fail("the SFT phase would never end: set sft.steps or sft.epochs");
    if (config.data.sft === null) fail("the SFT phase has no data: set data.sft (or --data FILE), or sft to false");
  }
  if (config.eval !== false && config.data.eval === null)
    fail("the evaluation has no problems: set data.eval, or eval to false");
  for (const [index, stage] of (config.rl === false ? [] : config.rl.stages).entries()) {
    const { steps, epochs, plateau } = stage.end;
    if (steps === null && epochs === null && plateau === null)
      fail(`rl.stages.${index} (${stage.name}) would never end: set its end.steps, end.epochs or end.plateau`);
    if ((stage.data ?? config.data.rl) === null)
      fail(`rl.stages.${index} (${stage.name}) has no prompts: set data.rl (or --data FILE), or the stage's data`);
  }
}

function explain(error: z.ZodError, tree: Tree, place: string): string {
  // A key that nobody knows is often why another one is missing.
  const issue = error.issues.find(isUnknownKey) ?? error.issues[0];
  return issue === undefined ? `${place}: not a valid config` : `${place}: ${explainIssue(issue, [], tree)}`;
}

function explainIssue(issue: z.core.$ZodIssue, above: readonly PropertyKey[], tree: Tree): string {
  const path = [...above, ...issue.path];
  const name = path.join(".");
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0] ?? "";
    const known = knownKeys(path);
    const named = [...path, key].join(".");
    // Known in another alternative: the keys beside it choose this one.
    if (known.includes(key)) return `${named} does not go together with the other keys there; leave one out`;
    if (named === "preset") return 'unknown key "preset"; a file is laid over a preset by "extends": "tiny"';
    return `unknown key "${named}"${nameHint(key, known)}`;
  }
  const value = valueAt(tree, path);
  if (issue.code === "invalid_union") {
    const inner = likelyBranch(issue.errors);
    if (inner !== undefined) return explainIssue(inner, path, tree);
  }
  const message = issue.message.replace(/^Invalid input: /, "").replace(/, received undefined$/, "");
  if (name === "policy" && value === undefined)
    return "no policy to start from: set policy.folder (or --model FOLDER), or policy.config";
  if (value === undefined) return `${name || "the config"} is missing: ${message}`;
  return isTree(value) || Array.isArray(value)
    ? `${name || "the config"}: ${message}`
    : `${name}: ${message}, got ${JSON.stringify(value)}`;
}

// Of a union's branches the one meant is that whose top level fits: its first fault lies deeper or is an unknown key.
function likelyBranch(branches: readonly (readonly z.core.$ZodIssue[])[]): z.core.$ZodIssue | undefined {
  const fitting = branches.find((issues) => issues.every(({ path }) => path.length > 0));
  if (fitting?.[0] !== undefined) return fitting.find(isUnknownKey) ?? fitting[0];
  const unknown = branches.flat().find(isUnknownKey);
  if (unknown !== undefined) return unknown;
  return branches.flat().find((issue) => issue.path.length > 0);
}

function isUnknownKey({ code }: z.core.$ZodIssue): boolean {
  return code === "unrecognized_keys";
}

function valueAt(tree: unknown, path: readonly PropertyKey[]): unknown {
  let value = tree;
  for (const segment of path) {
    if (Array.isArray(value)) value = value[Number(segment)];
    else value = isTree(value) ? value[String(segment)] : undefined;
  }
  return value;
}
