// What a merged config becomes, and how each mistake in it is told.
import { describe, expect, test } from "bun:test";
import { ConfigError } from "./config-error.ts";
import { layOver } from "./policy-layers.ts";
import { presetNames, presetTree } from "./presets/index.ts";
import { resolveRun } from "./resolve.ts";
import type { Tree } from "./tree.ts";

const smallest: Tree = {
  policy: { folder: "/models/small" },
  data: { rl: "/data/rl.jsonl" },
  eval: false,
  rl: {
    learningRate: 1e-4,
    end: { steps: 9 },
    stages: [{ name: "one" }, { name: "two", groupSize: 4, end: { epochs: 2 } }],
  },
};

function refusal(over: Tree, base: Tree = smallest): string {
  try {
    resolveRun(layOver(base, over), "test");
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return "accepted";
}

test("every preset is a valid run once it has a model and data", () => {
  for (const name of presetNames) {
    const filled = layOver({ policy: { folder: "/m" }, data: { sft: "/d", rl: "/d" } }, presetTree(name));
    expect(resolveRun(filled, name).name).toBe(name);
  }
});

test("stages inherit what they leave out, and a resolved run resolves to itself", () => {
  const run = resolveRun(smallest, "test");
  if (run.rl === false) throw new Error("rl is off");
  const [one, two] = run.rl.stages;
  expect(one).toMatchObject({ name: "one", learningRate: 1e-4, groupSize: 8, end: { steps: 9, epochs: null } });
  expect(two).toMatchObject({ name: "two", learningRate: 1e-4, groupSize: 4, end: { steps: 9, epochs: 2 } });
  const stored: Tree = JSON.parse(JSON.stringify(run));
  expect(resolveRun(stored, "config.json")).toEqual(run);
});

test("a policy folder replaces a random policy and the other way round", () => {
  const random = { policy: { config: { hidden_size: 8 }, tokenizer: "/t.json" } };
  expect(layOver(random, { policy: { folder: "/m" } })).toEqual({
    policy: { config: null, tokenizer: null, folder: "/m" },
  });
  expect(resolveRun(layOver(smallest, random), "test").policy).toEqual({
    folder: null,
    config: { hidden_size: 8 },
    tokenizer: "/t.json",
  });
});

test("what is missing is told after what nobody knows", () => {
  expect(refusal({}, {})).toMatch(/^test: no policy to start from: set policy\.folder .*--model FOLDER/);
  expect(refusal({ preset: "tiny" }, {})).toBe(
    'test: unknown key "preset"; a file is laid over a preset by "extends": "tiny"',
  );
  const misspelt = refusal({ rl: { stages: [{ nam: "x" }] } });
  expect(misspelt).toBe('test: unknown key "rl.stages.0.nam" (did you mean "name"?)');
  expect(refusal({ datta: {} }, {})).toBe('test: unknown key "datta" (did you mean "data"?)');
});

describe("a mistake is told in one line with its place and remedy", () => {
  const cases: [string, Tree, RegExp][] = [
    ["misspelt key", { chekpoint: {} }, /^test: unknown key "chekpoint" \(did you mean "checkpoint"\?\)$/],
    ["misspelt key in a union", { sft: { stepz: 3 } }, /^test: unknown key "sft\.stepz" \(did you mean "steps"\?\)$/],
    [
      "misspelt key in a stage",
      { rl: { stages: [{ name: "a", groupsize: 4 }] } },
      /"rl\.stages\.0\.groupsize" \(did you mean "groupSize"\?\)$/,
    ],
    ["group size 1", { rl: { groupSize: 1 } }, /^test: rl\.groupSize: a group of one .* use at least 2.*, got 1$/],
    ["wrong type", { seed: "one" }, /^test: seed: expected (int|number), received string, got "one"$/],
    [
      "wrong choice",
      { rl: { overlongFiltering: "drop" } },
      /rl\.overlongFiltering: .*"exclude"\|"mask"\|"off".*got "drop"/,
    ],
    ["no policy", { policy: { folder: null } }, /name either policy\.folder .* --model FOLDER/],
    ["no data", { data: { rl: null } }, /rl\.stages\.0 \(one\) has no prompts: set data\.rl/],
    ["endless stage", { rl: { end: { steps: null } } }, /rl\.stages\.0 \(one\) would never end/],
    ["endless SFT", { sft: {}, data: { sft: "/s" } }, /SFT phase would never end: set sft\.steps or sft\.epochs/],
    ["no problems", { eval: {} }, /evaluation has no problems: set data\.eval/],
    ["nothing to do", { rl: false }, /nothing to train/],
    [
      "misspelt reward form",
      { reward: { bySorce: {} } },
      /unknown key "reward\.bySorce" \(did you mean "bySource"\?\)$/,
    ],
    [
      "no weight",
      { reward: { sum: [{ reward: "math" }] } },
      /^test: reward\.sum\.0\.weight is missing: expected number$/,
    ],
    ["a source's reward is a number", { reward: { bySource: { a: 3 } } }, /^test: reward\.bySource\.a: .*, got 3$/],
    ["a source within a source", { reward: { bySource: { a: { bySource: {} } } } }, /reward\.bySource\.a\.bySource"/],
    ["two forms of a reward", { reward: { bySource: { a: "math" }, sum: [] } }, /reward\.\w+ does not go together/],
    ["stages of one name", { rl: { stages: [{ name: "a" }, { name: "a" }] } }, /two stages have the same name/],
  ];
  for (const [name, over, expected] of cases) {
    test(name, () => {
      const message = refusal(over);
      expect(message).toMatch(expected);
      expect(message).not.toContain("\n");
    });
  }
});
