// The walk over a recipe with a scripted policy: order of phases, stores, resumes that equal the unbroken run, signals.
import { afterEach, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { scriptedRecipe, scriptedTrain, storedMetrics } from "./__fixtures__/scripted-run.ts";
import { removeTemporaryFolders } from "./__fixtures__/temporary-folder.ts";
import { type Interrupt, InterruptedError, type StopSignal } from "./interrupt.ts";

const start = ["--config", "run.jsonc"];

afterEach(removeTemporaryFolders);

/** The policy's weight in the last checkpoint of the only run in `folder`. */
function lastWeight(folder: string): string {
  const id = readFileSync(join(folder, "runs", "last"), "utf8").trim();
  const checkpoints = join(folder, "runs", id, "checkpoints");
  const steps = readdirSync(checkpoints).map((name) => Number(name.replace("step-", "")));
  return `${Math.max(...steps)}: ${readFileSync(join(checkpoints, `step-${Math.max(...steps)}`, "weight"), "utf8")}`;
}

/** An interrupt whose signal is sent by the test; `abandon` tells it that the time is up. */
function manualInterrupt(): Interrupt & { send(signal: StopSignal): void; giveUp(): void } {
  let received: StopSignal | null = null;
  const abandon = new AbortController();
  return {
    received: () => received,
    abandon: abandon.signal,
    send: (signal) => {
      received = signal;
    },
    giveUp: () => abandon.abort(new InterruptedError(received ?? "SIGINT")),
  };
}

test("phases come in order, each evaluated; the last line is the summary", async () => {
  const folder = scriptedRecipe();
  const { exitCode, lines, stderr } = await scriptedTrain(folder, start);
  expect([exitCode, stderr]).toEqual([0, ""]);
  const shape = lines.flatMap((line) =>
    line.type === "eval" || line.type === "phase" ? [`${line.type} ${line.phase}`] : [],
  );
  expect(shape).toEqual([
    "eval start",
    "phase sft",
    "eval sft",
    "eval sft",
    "phase rl:short",
    "eval rl:short",
    "phase rl:long",
    "eval rl:long",
  ]);
  const steps = lines.filter((line) => line.type === "step");
  expect(steps.map((line) => line.step)).toEqual(Array.from({ length: 15 }, (_, index) => index + 1));
  expect(steps[6]).toMatchObject({ stage: "rl:short", "training/global_step": 7, train_rollout_logprob_abs_diff: 0 });
  for (const step of steps) expect(step["perf/peak_memory_gib"]).toBe(0.5);
  const summary = lines.at(-1);
  expect(Object.keys(summary ?? {})).toEqual(
    "type run phases steps tokens wall_s peak_memory_gib logprob_abs_diff_max checkpoint".split(" "),
  );
  expect(summary).toMatchObject({ type: "summary", steps: 15, peak_memory_gib: 0.5, logprob_abs_diff_max: 0 });
  expect(summary?.phases).toEqual(
    ["start", "sft", "rl:short", "rl:long"].map((phase) => ({
      phase,
      task: "sums",
      metric: "mean@4",
      value: expect.any(Number),
      n: 4,
    })),
  );
});

test("what memory decides is decided once, told before each phase, and kept by every resume", async () => {
  const folder = scriptedRecipe();
  const memoryOf = (outcome: { lines: readonly { type: string }[] }) =>
    outcome.lines.filter(({ type }) => type === "memory").map((line) => z.looseObject({}).parse(line));
  const interrupt = manualInterrupt();
  const onMove = (move: string): void => {
    if (move === "checkpoint 8") interrupt.send("SIGTERM");
  };
  const first = await scriptedTrain(folder, start, { script: { activationBytes: 1000, onMove }, interrupt });
  expect(first.exitCode).toBe(143);
  const id = readFileSync(join(folder, "runs", "last"), "utf8").trim();
  const config = (): unknown => JSON.parse(readFileSync(join(folder, "runs", id, "config.json"), "utf8"));
  expect(config()).toMatchObject({ activationBytesMax: 1000 });
  const told = [...memoryOf(first)];
  // Another start has other memory free.
  const second = await scriptedTrain(folder, ["--resume", "last"], { script: { activationBytes: 7 } });
  expect(second.exitCode).toBe(0);
  expect(config()).toMatchObject({ activationBytesMax: 1000 });
  told.push(...memoryOf(second));
  expect(told.map(({ phase, activationsMax, kvPages }) => [phase, activationsMax, kvPages])).toEqual([
    ["sft", 1000, 0],
    ["rl:short", 1000, 32],
    ["rl:short", 1000, 32],
    ["rl:long", 1000, 32],
  ]);
  expect(readFileSync(join(folder, "runs", id, "report.md"), "utf8")).toContain("- `rl:long`: weights 0.00 MiB");
});

test("a run leaves config, checkpoints, rollouts, report and rows behind", async () => {
  const folder = scriptedRecipe();
  await scriptedTrain(folder, start);
  const id = readFileSync(join(folder, "runs", "last"), "utf8").trim();
  expect(id).toMatch(/^\d{8}-\d{6}-scripted$/);
  const run = join(folder, "runs", id);
  expect(readdirSync(run).sort()).toEqual(["checkpoints", "config.json", "report.md", "rollouts"]);
  expect(readdirSync(join(run, "rollouts")).length).toBe(9);
  expect(readFileSync(join(run, "report.md"), "utf8")).toMatch(/\| rl:long \| \d+\.\d %/);
  const { steps, evals, stages, status } = storedMetrics(folder);
  expect([steps.length, evals.length, status]).toEqual([15, 5, "finished"]);
  expect(stages).toEqual([
    { idx: 0, phase: "sft", firstStep: 1 },
    { idx: 1, phase: "rl:short", firstStep: 7 },
    { idx: 2, phase: "rl:long", firstStep: 12 },
  ]);
  expect(steps[5]?.metrics["val-core/sums/mean@4"]).toBeNumber();
  const details = z.object({ standardError: z.number(), samplingError: z.number(), length: z.number() });
  for (const row of evals) details.parse(JSON.parse(z.object({ details: z.string() }).parse(row).details));
  // The two newest, that of the best evaluation, and SFT's epoch ends: 10 samples make epochs of 4 steps, 6 steps end it.
  const kept = readdirSync(join(run, "checkpoints"));
  for (const step of ["step-15", "step-14", "step-4", "step-6"]) expect(kept).toContain(step);
  expect(kept.length).toBeLessThanOrEqual(5);
});

test("SFT given in epochs is evaluated after each, and resumes at their borders", async () => {
  const folder = scriptedRecipe();
  const epochs = [
    ...start,
    "--sft.steps",
    "null",
    "--sft.epochs",
    "3",
    "--sft.evalEverySteps",
    "null",
    "--rl",
    "false",
  ];
  const { lines } = await scriptedTrain(folder, [...epochs, "--checkpoint.everySteps", "null"]);
  const evals = lines.filter((line) => line.type === "eval").map((line) => [line.phase, line.step]);
  expect(evals).toEqual([
    ["start", 0],
    ["sft", 4],
    ["sft", 8],
    ["sft", 12],
  ]);
  const expected = storedMetrics(folder);
  for (let killAt = 1; killAt <= 4; killAt++) {
    const broken = scriptedRecipe();
    let generates = 0;
    const onMove = (move: string): void => {
      if (move === "generate" && ++generates === killAt) throw new Error("killed");
    };
    await scriptedTrain(broken, [...epochs, "--checkpoint.everySteps", "null"], { script: { onMove } });
    const resumed = await scriptedTrain(broken, ["--resume", "last"]);
    const [first] = resumed.lines.filter((line) => line.type === "eval");
    expect([killAt, first?.step]).toEqual([killAt, 4 * (killAt - 1)]);
    expect(storedMetrics(broken)).toEqual(expected);
  }
});

test("skipped steps are counted over the whole run", async () => {
  const folder = scriptedRecipe();
  const argv = [...start, "--rl.stages.0.maxResponseLength", "1"];
  const { lines } = await scriptedTrain(folder, argv);
  const skipped = lines.flatMap((line) => z.number().safeParse(line["training/skipped_steps"]).data ?? []);
  expect(skipped).toEqual(skipped.toSorted((a, b) => a - b));
  expect(skipped[10]).toBeGreaterThan(0);
  expect(skipped[11]).toBe(skipped[10] ?? 0);
});

test("killed at any move and resumed, a run equals the unbroken one", async () => {
  const whole = scriptedRecipe();
  let moves = 0;
  const counting = { onMove: () => void moves++ };
  const { lines } = await scriptedTrain(whole, start, { script: counting });
  const [expected, weight] = [storedMetrics(whole), lastWeight(whole)];
  for (let killAt = 1; killAt <= moves; killAt++) {
    const folder = scriptedRecipe();
    let move = 0;
    const script = {
      onMove: () => {
        if (++move === killAt) throw new Error("killed");
      },
    };
    const killed = await scriptedTrain(folder, start, { script });
    expect(killed.exitCode).toBe(1);
    const resumed = await scriptedTrain(folder, ["--resume", "last"]);
    expect([resumed.exitCode, resumed.stderr]).toEqual([0, ""]);
    expect({ killAt, ...storedMetrics(folder) }).toEqual({ killAt, ...expected });
    expect(lastWeight(folder)).toBe(weight);
    expect(resumed.lines.at(-1)?.phases).toEqual(lines.at(-1)?.phases);
    expect(resumed.lines.at(-1)?.tokens).toEqual(lines.at(-1)?.tokens);
  }
}, 60_000);

test("a finished run can be resumed, changes nothing and tells the same", async () => {
  const folder = scriptedRecipe();
  const first = await scriptedTrain(folder, start);
  const before = storedMetrics(folder);
  const again = await scriptedTrain(folder, ["--resume", "last"]);
  expect(again.exitCode).toBe(0);
  expect(storedMetrics(folder)).toEqual(before);
  expect(again.lines.at(-1)?.phases).toEqual(first.lines.at(-1)?.phases);
});

test("a signal lets the step end, saves it and tells how to go on", async () => {
  const whole = scriptedRecipe();
  await scriptedTrain(whole, start);
  const folder = scriptedRecipe();
  const interrupt = manualInterrupt();
  let steps = 0;
  const onMove = (move: string): void => {
    if (move === "step" && ++steps === 8) interrupt.send("SIGTERM");
  };
  const stopped = await scriptedTrain(folder, start, { script: { onMove }, interrupt });
  const id = readFileSync(join(folder, "runs", "last"), "utf8").trim();
  expect(stopped.exitCode).toBe(143);
  expect(stopped.stderr).toMatch(
    new RegExp(`^stopped by SIGTERM after step \\d+; go on with: bun run train --resume ${id}\n$`),
  );
  expect(storedMetrics(folder).status).toBe("interrupted");
  const after = stopped.lines.findLast((line) => line.type === "step")?.step;
  expect(existsSync(join(folder, "runs", id, "checkpoints", `step-${after}`))).toBe(true);
  expect((await scriptedTrain(folder, ["--resume", id])).exitCode).toBe(0);
  expect(storedMetrics(folder)).toEqual(storedMetrics(whole));
  expect(lastWeight(folder)).toBe(lastWeight(whole));
});

test("a rollout that takes too long is abandoned, and the step before it saved", async () => {
  const whole = scriptedRecipe();
  await scriptedTrain(whole, start);
  const folder = scriptedRecipe();
  const interrupt = manualInterrupt();
  let rollouts = 0;
  const onMove = async (move: string): Promise<void> => {
    if (move !== "rollout" || ++rollouts !== 4) return;
    interrupt.send("SIGINT");
    interrupt.giveUp();
    await new Promise(() => {});
  };
  const stopped = await scriptedTrain(folder, start, { script: { onMove }, interrupt });
  expect([stopped.exitCode, stopped.lines.at(-1)?.type]).toEqual([130, "checkpoint"]);
  expect(stopped.stderr).toMatch(/^stopped by SIGINT after step 9; go on with: /);
  expect((await scriptedTrain(folder, ["--resume", "last"])).exitCode).toBe(0);
  expect(storedMetrics(folder)).toEqual(storedMetrics(whole));
});

test("an update in flight is let finish even when the time is up", async () => {
  const whole = scriptedRecipe();
  await scriptedTrain(whole, start);
  const folder = scriptedRecipe();
  const interrupt = manualInterrupt();
  let steps = 0;
  const onMove = async (move: string): Promise<void> => {
    if (move !== "step" || ++steps !== 8) return; // after step 7, which has no checkpoint of its own
    interrupt.send("SIGINT");
    interrupt.giveUp();
    await Bun.sleep(1);
  };
  const stopped = await scriptedTrain(folder, start, { script: { onMove }, interrupt });
  const counted = stopped.lines.filter((line) => line.type === "step").length;
  expect(stopped.stderr).toMatch(new RegExp(`^stopped by SIGINT after step ${counted};`));
  expect(stopped.lines.at(-1)).toMatchObject({ type: "checkpoint", step: counted });
  expect((await scriptedTrain(folder, ["--resume", "last"])).exitCode).toBe(0);
  expect(storedMetrics(folder)).toEqual(storedMetrics(whole));
  expect(lastWeight(folder)).toBe(lastWeight(whole));
});

test("a step that fails after its update is not saved as the step before", async () => {
  const whole = scriptedRecipe();
  await scriptedTrain(whole, start);
  const folder = scriptedRecipe();
  const interrupt = manualInterrupt();
  let records = 0;
  const onMove = (move: string): void => {
    if (move !== "record" || ++records !== 2) return; // step 8: step 7 has no checkpoint of its own
    interrupt.send("SIGINT");
    interrupt.giveUp();
    throw Object.assign(new Error("no space left on the disk"), { code: "disk-full" });
  };
  const failed = await scriptedTrain(folder, start, { script: { onMove }, interrupt });
  expect([failed.exitCode, failed.stderr]).toEqual([1, "error: no space left on the disk\n"]);
  expect(lastWeight(folder)).toMatch(/^6: /);
  expect((await scriptedTrain(folder, ["--resume", "last"])).exitCode).toBe(0);
  expect(storedMetrics(folder)).toEqual(storedMetrics(whole));
  expect(lastWeight(folder)).toBe(lastWeight(whole));
});

test("a checkpoint that cannot be written stops the run; the one before is still good", async () => {
  const folder = scriptedRecipe();
  const onMove = (move: string): void => {
    if (move === "checkpoint 8")
      throw Object.assign(new Error("step-8: no space left on the disk; free some"), { code: "disk-full" });
  };
  const failed = await scriptedTrain(folder, start, { script: { onMove } });
  expect([failed.exitCode, failed.stderr]).toEqual([1, "error: step-8: no space left on the disk; free some\n"]);
  expect(storedMetrics(folder).status).toBe("failed");
  expect(lastWeight(folder)).toMatch(/^6: /);
  expect((await scriptedTrain(folder, ["--resume", "last"])).exitCode).toBe(0);
});

test("without a whole checkpoint a resume is refused, and the history stays", async () => {
  const folder = scriptedRecipe();
  await scriptedTrain(folder, start);
  const before = storedMetrics(folder);
  const id = readFileSync(join(folder, "runs", "last"), "utf8").trim();
  const checkpoints = join(folder, "runs", id, "checkpoints");
  for (const name of readdirSync(checkpoints))
    renameSync(join(checkpoints, name), join(checkpoints, `${name}.damaged`));
  const damaged = await scriptedTrain(folder, ["--resume", "last"]);
  expect([damaged.exitCode, damaged.lines]).toEqual([2, []]);
  expect(damaged.stderr).toMatch(
    /^error: \S+checkpoints: no checkpoint is whole, .*step-14\.damaged.*; start a new run/,
  );
  rmSync(checkpoints, { recursive: true });
  const removed = await scriptedTrain(folder, ["--resume", "last"]);
  expect([removed.exitCode, removed.lines.every((line) => line.type === "note")]).toEqual([2, true]);
  expect(removed.stderr).toMatch(/^error: \S+checkpoints: the run's checkpoints are gone; .*start a new run\n$/);
  expect(storedMetrics(folder)).toEqual(before);
});

test("a row without an answer is refused before anything is written", async () => {
  const folder = scriptedRecipe();
  writeFileSync(join(folder, "eval.jsonl"), '{"problem":"1+1=","answer":"2"}\n{"problem":"1+2="}\n');
  const refused = await scriptedTrain(folder, start);
  expect(refused.exitCode).toBe(2);
  expect(refused.stderr).toMatch(
    /^error: \S+eval\.jsonl row 2: field "answer" is missing or empty; rewards compare with it.*\n$/,
  );
  expect(existsSync(join(folder, "runs"))).toBe(false);
});
