// Splits a command line into flags, dotted overrides and plain words; knows no verb.
import { isBooleanPath, isConfigPath, nameHint, RunConfig } from "@gradus/config";
import { UsageError } from "./usage-error.ts";

/** A flag of a verb; `value` is what its argument stands for in the help, absent for a switch. */
export type Flag = { readonly name: string; readonly value?: string; readonly help: string };

/** Flags that mean the same to every verb with a policy. */
export const policyFlags: readonly Flag[] = [
  { name: "device", value: "NAME", help: "auto, cpu, cuda or cuda-sim" },
  { name: "dtype", value: "NAME", help: "what the policy computes in: f32, bf16, or q8_0 (generate only)" },
  { name: "threads", value: "N", help: "CPU threads (default: the physical cores that this process may use)" },
  { name: "out", value: "FOLDER", help: "where runs are kept (default: runs)" },
];

export type ParsedFlags = {
  /** Values of the verb's own flags; a switch has "". The last one wins. */
  readonly values: ReadonlyMap<string, string>;
  /** Flags that name a config field, in order: `--rl.stages.0.temperature 0.9`. */
  readonly overrides: readonly (readonly [path: string, text: string])[];
  readonly words: readonly string[];
};

/**
 * @param overridable whether flags may name config fields.
 * @throws UsageError for an unknown flag (with the nearest known one) or a missing value.
 */
export function parseFlags(argv: readonly string[], flags: readonly Flag[], overridable: boolean): ParsedFlags {
  const values = new Map<string, string>();
  const overrides: [string, string][] = [];
  const words: string[] = [];
  const known = new Map(flags.map((flag) => [flag.name, flag]));
  for (let at = 0; at < argv.length; at++) {
    const argument = argv[at] ?? "";
    if (argument === "-h") values.set("help", "");
    else if (!argument.startsWith("--")) words.push(argument);
    else {
      const equals = argument.indexOf("=");
      const name = equals < 0 ? argument.slice(2) : argument.slice(2, equals);
      const flag = known.get(name);
      const isPath = overridable && flag === undefined && (isConfigPath(name) || name.includes("."));
      if (flag === undefined && !isPath) {
        const keys = overridable ? Object.keys(RunConfig.shape) : [];
        throw new UsageError(`unknown flag --${name}${flagHint(name, [...known.keys(), ...keys])}`);
      }
      const takesValue = isPath || flag?.value !== undefined;
      let value = equals < 0 ? undefined : argument.slice(equals + 1);
      if (value === undefined && takesValue) {
        const next = argv[at + 1];
        const bare = next === undefined || next.startsWith("--");
        if (bare && isPath && isBooleanPath(name)) value = "true";
        else if (next === undefined || next.startsWith("--"))
          throw new UsageError(`--${name} needs a value: --${name} ${flag?.value ?? "VALUE"}`);
        else [value, at] = [next, at + 1];
      } else if (value !== undefined && !takesValue)
        throw new UsageError(`--${name} takes no value; leave out "=${value}"`);
      if (isPath) overrides.push([name, value ?? ""]);
      else values.set(name, value ?? "");
    }
  }
  return { values, overrides, words };
}

function flagHint(name: string, candidates: readonly string[]): string {
  return nameHint(name, candidates)
    .replace(/"([^"]+)"/, '"--$1"')
    .replace(/\(known: .*\)/, "(--help lists them)");
}

/** The flags as aligned lines for --help. */
export function describeFlags(flags: readonly Flag[]): string {
  const left = flags.map(({ name, value }) => `--${name}${value === undefined ? "" : ` ${value}`}`);
  const width = Math.max(...left.map((text) => text.length));
  return flags.map(({ help }, index) => `  ${(left[index] ?? "").padEnd(width)}  ${help}`).join("\n");
}
