// What the README promises of `bun run train`: the tiny recipe, whole, on the real engine. One seed, with --full all five.
import { afterAll, expect, test } from "bun:test";
import { join } from "node:path";
import { z } from "zod";
import { removeTemporaryFolders, temporaryFolder } from "./__fixtures__/temporary-folder.ts";

const repository = join(import.meta.dirname, "../../..");
const lines = z.looseObject({ type: z.string() });
const evaluation = z.looseObject({ phase: z.string(), length: z.number() });
const summaryLine = z.strictObject({
  type: z.literal("summary"),
  run: z.string(),
  phases: z.array(
    z.strictObject({
      phase: z.string(),
      task: z.string(),
      metric: z.literal("mean@8"),
      value: z.number(),
      n: z.number(),
    }),
  ),
  steps: z.number(),
  tokens: z.number(),
  wall_s: z.number(),
  peak_memory_gib: z.number(),
  logprob_abs_diff_max: z.number(),
  checkpoint: z.string(),
});

afterAll(removeTemporaryFolders);

const seeds = process.env.GRADUS_TEST_FULL ? [1, 2, 3, 4, 5] : [4];

test.each(seeds)(
  "the tiny recipe learns what it promises, seed %d",
  async (seed) => {
    const command = [
      process.execPath,
      join(import.meta.dirname, "main.ts"),
      "--device",
      "cpu",
      "--seed",
      String(seed),
      "--json",
      "--out",
      temporaryFolder(),
    ];
    const child = Bun.spawn(command, { cwd: repository, stdout: "pipe", stderr: "pipe" });
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    expect([await child.exited, stderr.includes("error")]).toEqual([0, false]);
    const printed = stdout
      .trimEnd()
      .split("\n")
      .map((line) => lines.parse(JSON.parse(line)));
    const summary = summaryLine.parse(printed.at(-1));
    expect(summary.phases.map(({ phase }) => phase)).toEqual(["start", "sft", "rl:short", "rl:long"]);
    expect(summary.phases.every(({ n }) => n >= 256)).toBe(true);
    const [start = 1, sft = 1, , end = 0] = summary.phases.map(({ value }) => value);
    expect(start).toBeLessThan(0.05);
    expect(sft).toBeGreaterThan(0.25);
    expect(sft).toBeLessThan(0.75);
    expect(end - sft).toBeGreaterThan(0.2);
    expect(summary.logprob_abs_diff_max).toBe(0);
    const lengths = printed.filter(({ type }) => type === "eval").map((line) => evaluation.parse(line).length);
    expect(lengths.at(-1) ?? 0).toBeGreaterThan(lengths[1] ?? Number.POSITIVE_INFINITY);
  },
  1_200_000,
);
