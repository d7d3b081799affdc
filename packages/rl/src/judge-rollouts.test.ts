// Judging beside sampling: the verdicts are the same, whenever a rollout is told of.
import { expect, test } from "bun:test";
import type { Verdict } from "@gradus/rewards";
import { startJudging } from "./judge-rollouts.ts";
import type { JudgedRollout } from "./loop-options.ts";
import type { FinishReason, RolloutInfo } from "./policy.ts";

const groupSize = 2;
const prompts = [{ id: "a" }, { id: "b" }];
const inputs = ["a=", { text: "b=", addSpecial: false }];

function rollout(index: number, finishReason: FinishReason = "stop"): RolloutInfo {
  const place = { promptIndex: Math.floor(index / groupSize), rolloutIndex: index % groupSize, text: `t${index}` };
  return { ...place, finishReason, promptLength: 2, length: index, entropy: 0, entropyRaw: 0 };
}

const rollouts = [rollout(0), rollout(1, "length"), rollout(2), rollout(3, "abort")];

type Asked = JudgedRollout<{ id: string }>;

function judging(judge: (rollout: Asked) => Promise<Verdict>) {
  let now = 0;
  return startJudging(prompts, inputs, { groupSize, overlongFiltering: "exclude", judge, clock: () => now++ });
}

const graded = (score: number) => ({ status: "graded", score, kind: "wrong" }) as const;
const expected = [graded(0), undefined, graded(2), { status: "fault", reason: "the rollout was aborted" } as const];

test.each([[], [0], [2, 0], [0, 1, 2, 3]])(
  "verdicts are in the rollouts' order; told of early: %j",
  async (...early) => {
    const asked: Asked[] = [];
    const { finished, verdicts } = judging(async (one) => {
      asked.push(one);
      return graded(one.length);
    });
    finished(early.map((index) => rollouts[index] ?? rollout(index)));
    expect(asked).toHaveLength(early.filter((index) => index === 0 || index === 2).length);
    expect(await verdicts(rollouts)).toEqual(expected);
    // Each once, with the prompt's text.
    expect(asked.map(({ text }) => text).sort()).toEqual(["t0", "t2"]);
    expect(asked.map(({ prompt, promptText }) => [prompt.id, promptText]).sort()).toEqual([
      ["a", "a="],
      ["b", "b="],
    ]);
  },
);

test("a rollout that fails ends the judging: what waits is not asked about", async () => {
  const gates: (() => void)[] = [];
  let asked = 0;
  const { finished, sampled } = judging(async () => {
    asked++;
    await new Promise<void>((resolve) => gates.push(resolve));
    return graded(1);
  });
  // More than are asked about at once.
  finished(Array.from({ length: 100 }, (_, index) => ({ ...rollout(0), rolloutIndex: index })));
  expect(asked).toBe(64);
  await expect(sampled(Promise.reject(new Error("aborted")))).rejects.toThrow("aborted");
  for (const open of gates.splice(0)) open();
  await Promise.resolve();
  await Bun.sleep(0);
  expect(asked).toBe(64);
});

test("the time of judging is that in which a verdict was open, counted once", async () => {
  const gates: (() => void)[] = [];
  let now = 0;
  const { finished, verdicts, seconds } = startJudging(prompts, inputs, {
    groupSize,
    overlongFiltering: "off",
    judge: () => new Promise((resolve) => gates.push(() => resolve(graded(1)))),
    clock: () => now,
  });
  const settle = async (time: number) => {
    now = time;
    gates.shift()?.();
    await Bun.sleep(0);
  };
  finished([rollout(0), rollout(1)]);
  await settle(2);
  await settle(3);
  expect(seconds()).toBe(3);
  now = 10;
  const last = verdicts([rollout(0), rollout(1), rollout(2)]);
  await settle(14);
  await last;
  expect(seconds()).toBe(7);
});
