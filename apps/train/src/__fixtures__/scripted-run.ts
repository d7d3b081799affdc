// A small recipe over a scripted policy in a folder of its own, run inside the test's process.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openStore, type StepMetricsRow } from "@gradus/store";
import { z } from "zod";
import type { Interrupt } from "../interrupt.ts";
import { jsonView } from "../json-view.ts";
import { trainCommand } from "../train-command.ts";
import { type Script, scriptedPolicies } from "./scripted-policy.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/** A new folder with data files and run.jsonc: SFT of 6 steps, stages of 5 and 4 steps, an evaluation of 4 problems. */
export function scriptedRecipe(): string {
  const folder = temporaryFolder();
  const row = (index: number): object => {
    const [left, right] = [(index * 7) % 10, (index * 3) % 8];
    const answer = `${left + right}`;
    return { id: `p${index}`, problem: `${left}+${right}=`, answer, solution: answer };
  };
  const rows = (count: number): string =>
    Array.from({ length: count }, (_, index) => `${JSON.stringify(row(index))}\n`).join("");
  writeFileSync(join(folder, "train.jsonl"), rows(10));
  writeFileSync(join(folder, "eval.jsonl"), rows(4));
  const recipe = {
    name: "scripted",
    policy: { config: {} },
    frame: "raw",
    reward: "exact",
    data: { sft: "train.jsonl", rl: "train.jsonl", eval: "eval.jsonl" },
    sft: { steps: 6, batchSize: 3, learningRate: 0.1, evalEverySteps: 3 },
    rl: {
      promptsPerStep: 4,
      groupSize: 4,
      learningRate: 0.5,
      stages: [
        { name: "short", maxResponseLength: 3, end: { steps: 5 } },
        { name: "long", maxResponseLength: 8, overlongFiltering: "off", end: { steps: 4 } },
      ],
    },
    eval: { task: "sums", n: 4, maxTokens: 8 },
    checkpoint: { everySteps: 2, keepLast: 2 },
  };
  writeFileSync(join(folder, "run.jsonc"), JSON.stringify(recipe));
  return folder;
}

/** An interrupt that never comes. */
export const uninterrupted: Interrupt = { received: () => null, abandon: new AbortController().signal };

const line = z.looseObject({ type: z.string() });

export type ScriptedOutcome = { exitCode: number; lines: z.output<typeof line>[]; stderr: string };

/** `bun run train ARGV --json` in `folder`, in this process. */
export async function scriptedTrain(
  folder: string,
  argv: readonly string[],
  { script = {}, interrupt = uninterrupted }: { script?: Script; interrupt?: Interrupt } = {},
): Promise<ScriptedOutcome> {
  let [stdout, stderr] = ["", ""];
  let ticks = 0;
  const writeOut = (text: string): void => {
    stdout += text;
  };
  const exitCode = await trainCommand([...argv, "--json"], {
    cwd: folder,
    files: {
      readText: (path) => Bun.file(path).text(),
      importModule: (path) => import(path),
      parseJsonc: Bun.JSONC.parse,
    },
    policies: scriptedPolicies(script),
    clock: { now: () => 1.8e12 + ticks++, seconds: () => ticks++ / 1000 },
    peakMemoryGib: () => 0.5,
    watchSignals: () => interrupt,
    openView: () => jsonView(writeOut),
    writeOut,
    writeError: (text) => {
      stderr += text;
    },
  });
  const lines = stdout.split("\n").flatMap((text) => (text.startsWith("{") ? [line.parse(JSON.parse(text))] : []));
  return { exitCode, lines, stderr };
}

/** What the store holds of the newest run, without what depends on the clock. */
export function storedMetrics(folder: string): {
  steps: StepMetricsRow[];
  evals: object[];
  stages: object[];
  status: string;
} {
  const store = openStore(join(folder, "runs", "gradus.sqlite"));
  const run = store.latestRun();
  const id = run?.id ?? "";
  const timeless = (metrics: Record<string, number>): Record<string, number> =>
    Object.fromEntries(Object.entries(metrics).filter(([name]) => !/^(timing_s|perf)\//.test(name)));
  const stored = {
    steps: store.steps(id).map((step) => ({ ...step, metrics: timeless(step.metrics) })),
    evals: store.evals(id).map(({ run: _, ...row }) => row),
    stages: store.stages(id).map(({ run: _, ...row }) => row),
    status: run?.status ?? "",
  };
  store.close();
  return stored;
}
