// Custom rewards in their threads: right answers, and every way of not ending.
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { judge, type RewardRollout } from "./reward.ts";
import { workerReward } from "./worker-reward.ts";

const folder = mkdtempSync(join(tmpdir(), "gradus-reward-"));
afterAll(() => rmSync(folder, { recursive: true }));

// The text says what the reward does.
writeFileSync(
  join(folder, "reward.ts"),
  `export const score = async ({ text }) => {
  if (text === "loop") for (;;) {}
  if (text === "loop later") { await Promise.resolve(); for (;;) {} }
  if (text === "never") return new Promise(() => {});
  if (text === "throw") throw new Error("no such answer");
  if (text === "exit") process.exit(0);
  if (text === "not a score") return "high";
  if (text === "later") return new Promise((resolve) => setTimeout(() => resolve(0.5), 1));
  return text.length;
};
`,
);

const rollout = (text: string): RewardRollout => ({ prompt: { id: "p" }, text, finishReason: "stop", length: 1 });
const graded = (score: number) => ({ status: "graded", score });

async function verdicts(texts: readonly string[], limitSeconds: number) {
  const reward = workerReward(
    "r",
    { file: join(folder, "reward.ts"), exportName: "score" },
    { limitSeconds, threadsMax: 2 },
  );
  await reward.start();
  try {
    return await Promise.all(texts.map((text) => judge(reward, rollout(text))));
  } finally {
    await reward.close();
  }
}

test("scores come back, whether the function waits or not", async () => {
  expect(await verdicts(["ab", "later", "abc"], 30)).toMatchObject([graded(2), graded(0.5), graded(3)]);
});

test("what throws, returns no score or leaves the thread is a fault", async () => {
  const [thrown, wrong, left] = await verdicts(["throw", "not a score", "exit"], 30);
  expect(thrown).toEqual({ status: "fault", reason: "the reward threw: no such answer" });
  expect(wrong).toMatchObject({
    status: "fault",
    reason: 'the reward returned "high"; expected a number or a verdict',
  });
  expect(left).toMatchObject({ status: "fault" });
});

test.each(["loop", "loop later", "never"])(
  "one that does not end (%s) is a fault at its limit; no other verdict is lost",
  async (endless) => {
    const texts = ["ab", endless, "abc", "later", "abcd", "later"];
    let turns = 0;
    const beat = setInterval(() => turns++, 10);
    const [first, stuck, ...others] = await verdicts(texts, 0.5);
    clearInterval(beat);
    expect(stuck).toEqual({
      status: "fault",
      reason: "r: the reward took over 0.5 s; make it faster, or raise its limit",
    });
    expect([first, ...others]).toMatchObject([graded(2), graded(3), graded(0.5), graded(4), graded(0.5)]);
    // The event loop went on meanwhile.
    expect(turns).toBeGreaterThan(10);
  },
);

test("after close no thread is left, and open rollouts are faults", async () => {
  const reward = workerReward("r", { file: join(folder, "reward.ts"), exportName: "score" }, { limitSeconds: 30 });
  const open = reward(rollout("never"));
  await reward.close();
  expect(await open).toEqual({ status: "fault", reason: "r: the reward is closed" });
});
