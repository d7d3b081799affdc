import { expect, test } from "bun:test";
import { bySource, weightedSum, withTimeLimit } from "./compose-rewards.ts";
import { judge, type Reward, type RewardPrompt } from "./reward.ts";
import type { Verdict } from "./verdict.ts";

const rollout = (prompt: RewardPrompt, text = "abc") => ({ prompt, text, finishReason: "stop", length: 3 }) as const;
const graded = (score: number, kind: "correct" | "wrong" | "timeout" = "correct"): Verdict => {
  return { status: "graded", score, kind, method: "test" };
};

/** A reward that counts its starts and ends. */
function counted(verdict: Verdict, problem?: string) {
  const calls = { started: 0, closed: 0 };
  const reward: Reward = Object.assign(() => verdict, {
    start: async () => void calls.started++,
    check: () => problem,
    close: () => void calls.closed++,
  });
  return { reward, calls };
}

test("the source chooses the reward, * takes the rest", async () => {
  const reward = bySource({ math: () => 1, code: async () => graded(0, "timeout"), "*": () => 0.25 });
  expect(await judge(reward, rollout({ id: "a", source: "math" }))).toMatchObject({ score: 1 });
  expect(await judge(reward, rollout({ id: "a", source: "code" }))).toEqual(graded(0, "timeout"));
  expect(await judge(reward, rollout({ id: "a", source: "chess" }))).toMatchObject({ score: 0.25 });
  expect(await judge(reward, rollout({ id: "a" }))).toMatchObject({ score: 0.25 });
});

test("without * a source that has no reward is refused, and never scored", async () => {
  const reward = bySource({ math: () => 1, code: () => 1 });
  const problem = 'no reward for the source "maths"; known are math, code, and "*" would take all others';
  expect(reward.check?.({ id: "a", source: "maths" })).toBe(problem);
  expect(await judge(reward, rollout({ id: "a", source: "maths" }))).toEqual({ status: "fault", reason: problem });
  expect(reward.check?.({ id: "a" })).toStartWith("the prompt has no source");
  expect(reward.check?.({ id: "a", source: "math" })).toBeUndefined();
  // Names of an object's own machinery are sources like any other.
  expect(reward.check?.({ id: "a", source: "toString" })).toStartWith('no reward for the source "toString"');
});

test("a sum has the weighted score and the first reward's kind", async () => {
  const parts = [
    { reward: () => graded(1, "wrong"), weight: 2 },
    { reward: async ({ text }: { text: string }) => text.length, weight: -0.5 },
  ];
  expect(await judge(weightedSum(parts), rollout({ id: "a" }))).toEqual(graded(0.5, "wrong"));
});

test("a fault of any part is a fault of the whole", async () => {
  const broken = () => {
    throw new Error("no server");
  };
  for (const parts of [
    [broken, () => 1],
    [() => 1, broken],
  ]) {
    const sum = weightedSum(parts.map((reward) => ({ reward, weight: 1 })));
    const verdict = await judge(sum, rollout({ id: "a" }));
    expect(verdict).toEqual({ status: "fault", reason: "the reward threw: no server" });
  }
});

test("parts are started, asked and closed, each once", async () => {
  const [math, code] = [counted(graded(1)), counted(graded(1), "no tests")];
  const sum = weightedSum([{ reward: math.reward, weight: 1 }]);
  const reward = bySource({ math: sum, more: math.reward, also: math.reward, code: code.reward });
  await reward.start?.();
  await reward.close?.();
  expect([math.calls, code.calls]).toEqual([
    { started: 2, closed: 2 }, // once for the sum, once for itself
    { started: 1, closed: 1 },
  ]);
  expect(reward.check?.({ id: "a", source: "code" })).toBe("no tests");
  expect(reward.check?.({ id: "a", source: "math" })).toBeUndefined();
});

test("a reward that keeps waiting is a fault at its limit; one that bounds itself is waited for", async () => {
  const never: Reward = () => new Promise(() => {});
  const late = "the reward took over 0.01 s; make it faster, or raise its limit";
  expect(await judge(withTimeLimit(never, 0.01), rollout({ id: "a" }))).toEqual({ status: "fault", reason: late });
  // The limit is the part's own, also inside a composition.
  const reward = bySource({ a: withTimeLimit(never, 0.01), b: () => 1 });
  expect(await judge(reward, rollout({ id: "a", source: "a" }))).toEqual({ status: "fault", reason: late });
  const slow: Reward = () => new Promise((resolve) => setTimeout(() => resolve(1), 30));
  const patient = bySource({ a: withTimeLimit(slow, Number.POSITIVE_INFINITY) });
  expect(await judge(patient, rollout({ id: "a", source: "a" }))).toMatchObject({ score: 1 });
});
