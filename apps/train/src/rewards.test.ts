// Rewards in a run: chosen by source, refused before the first step, the same after a resume.
import { afterEach, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scriptedRecipe, scriptedTrain, storedMetrics } from "./__fixtures__/scripted-run.ts";
import { removeTemporaryFolders } from "./__fixtures__/temporary-folder.ts";

afterEach(removeTemporaryFolders);

const rewardFile = `export const even = ({ text }) => (Number(text) % 2 === 0 ? 1 : 0);
export const stuck = ({ text }) => { while (text === "6") {} return 1; };
`;

/** The scripted recipe with rows of two sources, judged by `reward`. */
function recipe(reward: unknown, changeRow: (row: object, index: number) => object = (row) => row): string {
  const folder = scriptedRecipe();
  for (const name of ["train.jsonl", "eval.jsonl"]) {
    const rows = readFileSync(join(folder, name), "utf8").trimEnd().split("\n");
    const sourced = rows.map((line, index) => {
      const row: object = { ...JSON.parse(line), source: index % 2 === 0 ? "sums" : "parity" };
      return JSON.stringify(changeRow(row, index));
    });
    writeFileSync(join(folder, name), `${sourced.join("\n")}\n`);
  }
  writeFileSync(join(folder, "reward.ts"), rewardFile);
  const config: object = { ...JSON.parse(readFileSync(join(folder, "run.jsonc"), "utf8")), reward };
  writeFileSync(join(folder, "run.jsonc"), JSON.stringify(config));
  return folder;
}

const start = ["--config", "run.jsonc"];
const bySource = { bySource: { sums: "exact", parity: "./reward.ts#even" } };

test("each source has its own reward, and its mean in the metrics; a resumed run is the same", async () => {
  const whole = recipe(bySource);
  expect((await scriptedTrain(whole, start)).exitCode).toBe(0);
  const steps = storedMetrics(whole).steps.filter(({ phase }) => phase !== "sft");
  for (const { metrics } of steps) {
    const told = Object.keys(metrics).filter((name) => name.startsWith("reward/source/"));
    expect(told.length).toBeGreaterThan(0);
    expect(told.every((name) => /^reward\/source\/(sums|parity)\/mean$/.test(name))).toBe(true);
    expect(metrics["reward/fault"]).toBe(0);
  }
  const broken = recipe(bySource);
  let rollouts = 0;
  const onMove = (move: string) => {
    if (move === "rollout" && ++rollouts === 4) throw new Error("planted");
  };
  expect((await scriptedTrain(broken, start, { script: { onMove } })).exitCode).toBe(1);
  expect((await scriptedTrain(broken, ["--resume", "last"])).exitCode).toBe(0);
  expect(storedMetrics(broken)).toEqual(storedMetrics(whole));
});

test("a reward that does not end costs its rollout, not the run", async () => {
  const folder = recipe({ bySource: { sums: "exact", parity: "./reward.ts#stuck" } });
  const config: object = { ...JSON.parse(readFileSync(join(folder, "run.jsonc"), "utf8")), eval: false };
  writeFileSync(join(folder, "run.jsonc"), JSON.stringify(config));
  const flags = [
    "--rewardLimitSeconds",
    "0.2",
    "--sft",
    "false",
    "--rl.stages.0.end.steps",
    "2",
    "--rl.stages.1.end.steps",
    "1",
  ];
  const { exitCode, lines } = await scriptedTrain(folder, [...start, ...flags]);
  expect(exitCode).toBe(0);
  const faults = lines.flatMap((line) => (typeof line["reward/fault"] === "number" ? [line["reward/fault"]] : []));
  expect(faults.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
  // A fault is no score and shows in no mean: it is told with its reason.
  const notes = lines.flatMap((line) => (line.type === "note" ? [String(line.text)] : []));
  const told = notes.filter((text) => text.includes("the reward failed on"));
  expect(told[0]).toMatch(/^rl:\w+ \d+: the reward failed on \d+ of \d+ rollouts: .*took over 0\.2 s/);
  expect(told.length).toBe(faults.filter((count) => count > 0).length);
});

test("what a reward cannot judge is refused by its place before anything is written", async () => {
  const without = (name: string) => (row: object, index: number) =>
    index === 2 ? Object.fromEntries(Object.entries(row).filter(([key]) => key !== name)) : row;
  const renamed = (row: object, index: number) => (index === 2 ? { ...row, source: "summs" } : row);
  const cases: [string, RegExp][] = [
    [
      recipe(bySource, renamed),
      /^error: train\.jsonl row 3: no reward for the source "summs" \(did you mean "sums"\?\); name it in reward\.bySource/,
    ],
    [
      recipe(bySource, without("source")),
      /^error: train\.jsonl row 3: the row has no source, .* give "\*" a reward there\n$/,
    ],
    [
      recipe({ bySource: { sums: "exact", parity: "./reward.ts#odd" } }),
      /^error: reward ".*reward\.ts#odd": .* has no export "odd"; its functions are: even, stuck\n$/,
    ],
    [
      recipe({ bySource: { sums: "exct", "*": "math" } }),
      /^error: reward: unknown reward "exct" \(did you mean "exact"\?\)/,
    ],
  ];
  for (const [folder, message] of cases) {
    const { exitCode, stderr } = await scriptedTrain(folder, [...start, "--sft", "false"]);
    expect([exitCode, stderr.replace(folder, "")]).toEqual([2, expect.stringMatching(message)]);
    expect(existsSync(join(folder, "runs", "last"))).toBe(false);
  }
});

test("a resume refuses a reward whose file has changed", async () => {
  const folder = recipe(bySource);
  const onMove = (move: string) => {
    if (move === "rollout") throw new Error("planted");
  };
  await scriptedTrain(folder, start, { script: { onMove } });
  writeFileSync(join(folder, "reward.ts"), `${rewardFile}// changed\n`);
  const { exitCode, stderr } = await scriptedTrain(folder, ["--resume", "last"]);
  expect([exitCode, stderr]).toEqual([
    2,
    expect.stringMatching(/reward\.ts#even changed since the run began; restore the file/),
  ]);
});
