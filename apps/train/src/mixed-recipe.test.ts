// The recipe that mixes math and code, on the real engine, with the real graders and the sandbox.
import { afterAll, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { storedMetrics } from "./__fixtures__/scripted-run.ts";
import { removeTemporaryFolders, temporaryFolder } from "./__fixtures__/temporary-folder.ts";

const repository = join(import.meta.dirname, "../../..");
const recipe = join(repository, "apps/train/recipes/mixed.jsonc");

afterAll(removeTemporaryFolders);

async function train(folder: string, flags: readonly string[], env: Record<string, string | undefined> = process.env) {
  const command = [process.execPath, join(import.meta.dirname, "main.ts"), "--config", recipe, "--json", ...flags];
  const child = Bun.spawn(command, { cwd: folder, stdout: "pipe", stderr: "pipe", env });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

// Every step has all rows, so that it has both sources.
const size = ["--rl.promptsPerStep", "46", "--rl.groupSize", "4", "--rl.stages.0.end.steps", "2"];
const short = ["--sft.steps", "120", "--eval.problems", "8", ...size];

test("both sources are judged, the run ends by itself and gives the same scores again", async () => {
  const folder = temporaryFolder();
  const { exitCode, stdout, stderr } = await train(folder, short);
  expect([exitCode, stderr.includes("error")]).toEqual([0, false]);
  const summary = z.looseObject({ type: z.literal("summary"), steps: z.literal(122) });
  summary.parse(JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? ""));
  const first = storedMetrics(folder);
  const steps = first.steps.filter(({ phase }) => phase === "rl:both");
  expect(steps).toHaveLength(2);
  for (const { metrics } of steps) {
    expect(metrics["reward/fault"]).toBe(0);
    const names = Object.keys(metrics);
    for (const source of ["math", "code"]) expect(names).toContain(`reward/source/${source}/mean`);
    // Programs were run, all in one tier of the sandbox.
    expect(names.filter((name) => name.startsWith("reward/tier_"))).toHaveLength(1);
  }
  rmSync(join(folder, "runs"), { recursive: true });
  expect((await train(folder, short)).exitCode).toBe(0);
  expect(storedMetrics(folder)).toEqual(first);
}, 240_000);

test("a run whose sandbox is refused ends before anything is trained or written; without code it needs none", async () => {
  const folder = temporaryFolder();
  // No Python is found there.
  const nowhere = { ...process.env, PATH: "/nonexistent" };
  const { exitCode, stdout, stderr } = await train(folder, short, nowhere);
  expect([exitCode, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(/^error: the sandbox refused: .*python3.*\n$/);
  expect(readdirSync(folder)).toEqual([]);
  const exact = ["--reward", "exact", "--data.rl", mathRows(folder), "--data.eval", mathRows(folder)];
  expect((await train(folder, [...short, ...exact], nowhere)).exitCode).toBe(0);
}, 120_000);

/** A file of the recipe's rows that have an answer. */
function mathRows(folder: string): string {
  const rows = readFileSync(join(repository, "datasets/mixed/rows.jsonl"), "utf8").trimEnd().split("\n");
  writeFileSync(join(folder, "math.jsonl"), rows.filter((row) => row.includes('"answer"')).join("\n"));
  return join(folder, "math.jsonl");
}
