// The command line of `bun run train`.
import { presetNames } from "@gradus/config";
import { exitCodesHelp } from "./explain-error.ts";
import { describeFlags, type Flag, parseFlags, policyFlags } from "./flags.ts";
import { UsageError } from "./usage-error.ts";

const flags: readonly Flag[] = [
  { name: "preset", value: "NAME", help: `recipe to start from: ${presetNames.join(", ")} (default: tiny)` },
  { name: "config", value: "FILE", help: "gradus.config.ts or .jsonc; what it says is laid over its preset" },
  { name: "data", value: "FILE", help: "rows for the SFT phase and the RL stages (JSONL, also .gz)" },
  { name: "model", value: "FOLDER", help: "Hugging Face folder of the starting policy" },
  { name: "resume", value: "RUN", help: "go on with a run by its id, or with the newest one: last" },
  ...policyFlags,
  { name: "seed", value: "N", help: "the seed of every random number of the run" },
  { name: "json", help: "one JSON object a line on stdout; the last one is the summary" },
  { name: "help", help: "this page" },
];

export const trainHelp = `bun run train [flags]: SFT, then RL in stages, evaluated before and after each phase

${describeFlags(flags)}

Any field of the config is a flag by its dotted name, for example
  --rl.stages.0.maxResponseLength 64   --sft.steps 500   --reward ./reward.ts#score
packages/config/generated/schema.json describes every field with its unit and default.

${exitCodesHelp}`;

export type TrainCommand =
  | { readonly kind: "help" }
  | { readonly kind: "resume"; readonly run: string; readonly out: string; readonly json: boolean }
  | {
      readonly kind: "start";
      readonly preset: string | undefined;
      readonly config: string | undefined;
      readonly overrides: readonly (readonly [path: string, text: string])[];
      readonly out: string;
      readonly json: boolean;
    };

/** @throws UsageError */
export function parseTrainCommand(argv: readonly string[]): TrainCommand {
  const { values, overrides, words } = parseFlags(argv, flags, true);
  if (values.has("help")) return { kind: "help" };
  if (words[0] !== undefined)
    throw new UsageError(`unexpected "${words[0]}": train takes flags only, for example --preset ${presetNames[0]}`);
  const out = values.get("out") ?? "runs";
  const json = values.has("json");
  const run = values.get("resume");
  if (run !== undefined) {
    const other = [...values.keys(), ...overrides.map(([path]) => path)].find(
      (name) => !["resume", "out", "json"].includes(name),
    );
    if (other !== undefined)
      throw new UsageError(`--resume goes on with the run's own config.json; leave out --${other}, or start a new run`);
    return { kind: "resume", run, out, json };
  }
  const shorthand: (readonly [string, string])[] = [];
  for (const [name, paths] of Object.entries(configFieldsOf)) {
    const value = values.get(name);
    if (value !== undefined) shorthand.push(...paths.map((path) => [path, value] as const));
  }
  const [preset, config] = [values.get("preset"), values.get("config")];
  return { kind: "start", preset, config, overrides: [...shorthand, ...overrides], out, json };
}

// The flags that stand for config fields; a dotted flag that names the same field has the last word.
const configFieldsOf: Readonly<Record<string, readonly string[]>> = {
  data: ["data.sft", "data.rl"],
  model: ["policy.folder"],
  device: ["device"],
  dtype: ["dtype"],
  threads: ["threads"],
  seed: ["seed"],
};
