// Dotted flags: coerced by the schema, refused by name.
import { expect, test } from "bun:test";
import { nearestName } from "./nearest-name.ts";
import { applyOverride, isBooleanPath, isConfigPath } from "./overrides.ts";
import type { Tree } from "./tree.ts";

const base: Tree = {
  sft: false,
  rl: { stages: [{ name: "a", temperature: 1 }, { name: "b" }] },
  policy: { config: {} },
};

test("values take the type of their field", () => {
  expect(applyOverride(base, "seed", "7").seed).toBe(7);
  expect(applyOverride(base, "sft.steps", "3").sft).toEqual({ steps: 3 });
  expect(applyOverride(base, "sft", "false").sft).toBe(false);
  expect(applyOverride(base, "threads", "null").threads).toBeNull();
  expect(applyOverride(base, "keepRollouts", "false").keepRollouts).toBe(false);
  expect(applyOverride(base, "reward", "./r.ts#score").reward).toBe("./r.ts#score");
  expect(applyOverride(base, "rl.betas", "[0.9,0.99]").rl).toMatchObject({ betas: [0.9, 0.99] });
  expect(applyOverride(base, "rl.stages.1.maxResponseLength", "8192").rl).toEqual({
    stages: [
      { name: "a", temperature: 1 },
      { name: "b", maxResponseLength: 8192 },
    ],
  });
  expect(applyOverride(base, "policy.config.hidden_size", "64").policy).toEqual({ config: { hidden_size: 64 } });
  expect(base.sft).toBe(false);
});

test("a policy's folder and random config replace each other, and null takes one away", () => {
  const random = { policy: { config: { hidden_size: 8 }, tokenizer: "/t.json" } };
  const folder = { policy: { config: null, tokenizer: null, folder: "/m" } };
  expect(applyOverride(random, "policy.folder", "/m")).toEqual(folder);
  expect(applyOverride(random, "policy.folder", "null")).toEqual({ policy: { ...random.policy, folder: null } });
  expect(applyOverride(folder, "policy.config", '{"hidden_size":8}')).toEqual({
    policy: { config: { hidden_size: 8 }, tokenizer: null, folder: null },
  });
});

test("mistakes name the flag, the fault and the nearest name", () => {
  expect(() => applyOverride(base, "rl.stages.0.temprature", "1")).toThrow(
    '--rl.stages.0.temprature: unknown key "temprature" in rl.stages.0 (did you mean "temperature"?)',
  );
  expect(() => applyOverride(base, "rl.stages.2.temperature", "1")).toThrow(
    "--rl.stages.2.temperature: rl.stages has no item 2; it has 0 to 1",
  );
  expect(() => applyOverride(base, "seed", "many")).toThrow('--seed: expected integer, got "many"');
  expect(() => applyOverride(base, "rl.end.steps", "few")).toThrow(
    '--rl.end.steps: expected integer or null, got "few"',
  );
});

test("paths are known or not", () => {
  expect(isConfigPath("rl.stages.3.end.plateau.window")).toBe(true);
  expect(isConfigPath("rl.stages.window")).toBe(false);
  expect(isBooleanPath("keepRollouts")).toBe(true);
  expect(isBooleanPath("sft")).toBe(false);
});

test("the nearest name forgives a swap, a missing letter and the case", () => {
  const names = ["maxResponseLength", "temperature", "seed", "steps"];
  expect(nearestName("max-response-lenght", names)).toBe("maxResponseLength");
  expect(nearestName("sede", names)).toBe("seed");
  expect(nearestName("step", names)).toBe("steps");
  expect(nearestName("colour", names)).toBeUndefined();
});

test("a reward is a name, or JSON; one of its sources can be set", () => {
  const plan = { bySource: { math: "math" } };
  expect(applyOverride({}, "reward", JSON.stringify(plan)).reward).toEqual(plan);
  expect(applyOverride({ reward: plan }, "reward.bySource.code", "code").reward).toEqual({
    bySource: { math: "math", code: "code" },
  });
  expect(() => applyOverride({}, "reward.bysource.math", "math")).toThrow('did you mean "bySource"?');
});
