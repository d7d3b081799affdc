import { expect, test } from "bun:test";
import { judge, type Reward } from "./reward.ts";
import { toVerdict } from "./verdict.ts";

const rollout = { prompt: { id: "p" }, text: "", finishReason: "stop", length: 1 } as const;

test("numbers and verdicts become verdicts, everything else faults", () => {
  expect(toVerdict(0.5)).toMatchObject({ status: "graded", score: 0.5, kind: "correct" });
  expect(toVerdict(0)).toMatchObject({ status: "graded", score: 0, kind: "wrong" });
  expect(toVerdict(-1)).toMatchObject({ score: -1, kind: "wrong" });
  const verdict = { status: "graded", score: 0, kind: "timeout", detail: "2 s" } as const;
  expect(toVerdict(verdict)).toEqual(verdict);
  expect(toVerdict(Number.NaN)).toEqual({
    status: "fault",
    reason: "the reward returned NaN; expected a finite number",
  });
  expect(toVerdict({ score: 1 })).toMatchObject({ status: "fault" });
  expect(toVerdict(undefined)).toMatchObject({ status: "fault" });
});

test("a fault is tried once more", async () => {
  let calls = 0;
  const flaky: Reward = () => {
    calls++;
    if (calls === 1) throw new Error("worker died");
    return 1;
  };
  expect(await judge(flaky, rollout)).toMatchObject({ status: "graded", score: 1 });
  expect(calls).toBe(2);
});

test("a second fault is reported and never becomes a score", async () => {
  let calls = 0;
  const broken: Reward = async () => {
    calls++;
    throw new Error("no server");
  };
  expect(await judge(broken, rollout)).toEqual({ status: "fault", reason: "the reward threw: no server" });
  expect(calls).toBe(2);
});
