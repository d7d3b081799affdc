import { expect, test } from "bun:test";
import type { Run } from "../sandbox/protocol.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { SandboxError } from "../sandbox/sandbox-error.ts";
import { codeReward } from "./code-reward.ts";

/** Programs print their input. */
const echo: Sandbox = {
  tier: "A",
  workers: 2,
  run: async (program) => {
    const run: Run = {
      outcome: "exited",
      exitCode: 0,
      signal: null,
      cpuMs: 1,
      wallMs: 1,
      memoryPeakMiB: 1,
      stdout: new TextEncoder().encode(program.mode === "stdin" ? String(program.stdin) : ""),
      stderr: "",
      answers: [],
      tier: "A",
    };
    return run;
  },
  processId: () => undefined,
  close: async () => {},
};

const rollout = (tests: unknown, text = "```python\n…\n```") => ({
  prompt: { id: "p", ...(tests !== undefined && { tests }) },
  text,
  finishReason: "stop" as const,
  length: 1,
});

test("a response is judged by its prompt's tests", async () => {
  const reward = codeReward({ sandbox: async () => echo });
  expect(await reward(rollout({ inputs: ["1"], outputs: ["1"] }))).toMatchObject({ score: 1, tier: "A" });
  expect(await reward(rollout({ inputs: ["1"], outputs: ["2"] }))).toMatchObject({ score: 0, kind: "wrong" });
  expect(await reward(rollout({ inputs: ["1"], outputs: ["1"] }, "no program"))).toMatchObject({ kind: "no-answer" });
  expect(reward.limitSeconds).toBe(Number.POSITIVE_INFINITY);
});

test("tests that cannot be read are told before and are faults", async () => {
  const reward = codeReward({ sandbox: async () => echo });
  expect(reward.check?.({ id: "p" })).toBe("prompt p has no tests");
  expect(reward.check?.({ id: "p", tests: { inputs: [], outputs: [] } })).toContain("prompt p: no tests");
  expect(reward.check?.({ id: "p", tests: { inputs: ["1"], outputs: ["1"] } })).toBeUndefined();
  expect(await reward(rollout(undefined))).toEqual({ status: "fault", reason: "prompt p has no tests" });
});

test("a sandbox that refuses stops the start, and later is a fault", async () => {
  const refused = new SandboxError("sandbox-refused", "clone: EPERM", "run as root");
  const reward = codeReward({ sandbox: () => Promise.reject(refused) });
  expect(reward.start?.()).rejects.toBe(refused);
  expect(await reward(rollout({ inputs: ["1"], outputs: ["1"] }))).toMatchObject({ status: "fault" });
});
