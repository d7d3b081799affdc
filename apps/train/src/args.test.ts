// The command line: what it means and how each mistake in it is told.
import { describe, expect, test } from "bun:test";
import { parseTrainCommand, trainHelp } from "./args.ts";
import { UsageError } from "./usage-error.ts";

test("no flags start the default recipe in runs/", () => {
  expect(parseTrainCommand([])).toEqual({
    kind: "start",
    preset: undefined,
    config: undefined,
    overrides: [],
    out: "runs",
    json: false,
  });
});

test("shorthands become fields, and a dotted flag has the last word", () => {
  const argv = "--seed 3 --data rows.jsonl --data.rl other.jsonl --model=./m --json --keepRollouts --out here".split(
    " ",
  );
  expect(parseTrainCommand(argv)).toEqual({
    kind: "start",
    preset: undefined,
    config: undefined,
    overrides: [
      ["data.sft", "rows.jsonl"],
      ["data.rl", "rows.jsonl"],
      ["policy.folder", "./m"],
      ["seed", "3"],
      ["data.rl", "other.jsonl"],
      ["keepRollouts", "true"],
    ],
    out: "here",
    json: true,
  });
});

test("a resume takes its run and where it lies, nothing else", () => {
  expect(parseTrainCommand(["--resume", "last"])).toEqual({ kind: "resume", run: "last", out: "runs", json: false });
  expect(() => parseTrainCommand(["--resume", "last", "--seed", "2"])).toThrow(
    "--resume goes on with the run's own config.json; leave out --seed, or start a new run",
  );
});

test("help names every flag", () => {
  expect(parseTrainCommand(["-h"])).toEqual({ kind: "help" });
  for (const flag of "preset config data model resume out device dtype threads seed json help".split(" "))
    expect(trainHelp).toContain(`--${flag}`);
  expect(trainHelp).toContain("Exit codes: 0 done; 2 refused");
});

describe("mistakes", () => {
  const cases: [string, string][] = [
    ["--sede 3", 'unknown flag --sede (did you mean "--seed"?)'],
    ["--reumse last", 'unknown flag --reumse (did you mean "--resume"?)'],
    ["--wandb", "unknown flag --wandb (--help lists them)"],
    ["--preset", "--preset needs a value: --preset NAME"],
    ["--seed --json", "--seed needs a value: --seed N"],
    ["--json=yes", '--json takes no value; leave out "=yes"'],
    ["tiny", 'unexpected "tiny": train takes flags only, for example --preset tiny'],
  ];
  for (const [argv, message] of cases) {
    test(argv, () => {
      expect(() => parseTrainCommand(argv.split(" "))).toThrow(new UsageError(message));
    });
  }
});
