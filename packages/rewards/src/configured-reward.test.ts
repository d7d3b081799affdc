import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configuredReward, namesIn, type RewardPlan, rewardHashes } from "./configured-reward.ts";
import { judge } from "./reward.ts";

const folder = mkdtempSync(join(tmpdir(), "gradus-plan-"));
afterAll(() => rmSync(folder, { recursive: true }));
const custom = `${join(folder, "reward.ts")}#half`;
writeFileSync(join(folder, "reward.ts"), "export const half = () => 0.5;\n");

const settings = { mathMode: "strict", codeScore: "all", limitSeconds: 5 } as const;

async function scores(plan: RewardPlan, rollouts: readonly { source: string; answer: string; text: string }[]) {
  const reward = await configuredReward(plan, settings);
  await reward.start?.();
  const verdicts = await Promise.all(
    rollouts.map(({ source, answer, text }) =>
      judge(reward, { prompt: { id: "p", source, answer }, text, finishReason: "stop", length: 1 }),
    ),
  );
  await reward.close?.();
  return verdicts.map((verdict) => (verdict.status === "graded" ? verdict.score : verdict.reason));
}

test("one name, a sum, and a reward for each source", async () => {
  const sums = { source: "sums", answer: "42", text: "so 42" };
  const boxed = { source: "math", answer: "42", text: "\\boxed{42}" };
  expect(await scores("exact", [sums, boxed])).toEqual([1, 0]);
  expect(await scores("math", [sums, boxed])).toEqual([0, 1]);
  const sum = {
    sum: [
      { reward: "math", weight: 1 },
      { reward: custom, weight: -0.5 },
    ],
  };
  expect(await scores(sum, [sums, boxed])).toEqual([-0.25, 0.75]);
  expect(await scores({ bySource: { sums: "exact", "*": sum } }, [sums, boxed])).toEqual([1, 0.75]);
});

test("math grades in the mode that the config names", async () => {
  const grade = async (mathMode: "strict" | "mathverify") => {
    const reward = await configuredReward("math", { ...settings, mathMode });
    const rollout = {
      prompt: { id: "p", answer: "42" },
      text: "the answer is 42",
      finishReason: "stop",
      length: 4,
    } as const;
    const verdict = await judge(reward, rollout);
    await reward.close?.();
    return verdict;
  };
  expect(await grade("strict")).toMatchObject({ kind: "no-answer" });
  expect(await grade("mathverify")).toMatchObject({ kind: "correct" });
});

test("the names of a plan, and the hashes of its files", async () => {
  const plan = {
    bySource: {
      a: "math",
      b: {
        sum: [
          { reward: custom, weight: 1 },
          { reward: "math", weight: 1 },
        ],
      },
    },
  };
  expect(namesIn(plan)).toEqual(["math", custom]);
  expect(Object.keys(await rewardHashes(plan))).toEqual([custom]);
  await expect(configuredReward("maths", settings)).rejects.toThrow('unknown reward "maths"; use');
});
