// Runs the CPU suite: builds the program that measures the machine, then contest after contest.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../scripts/run-command.ts";
import { Child } from "./child.ts";
import type { Peaks } from "./limits.ts";
import { machineKind, median, type Result, type Row } from "./rows.ts";
import { type Machine, measureContest, measurePeaks } from "./run-suite.ts";
import { cpuContests } from "./suites/cpu.ts";

const root = join(import.meta.dir, "..");

/** What a suite is asked for; `show` takes each row when it is there. */
export type Measuring = {
  readonly only: RegExp;
  readonly repeats: number;
  readonly show: (row: Row) => void;
};

/** What a suite gives. */
export type Measured = Pick<Result, "rows" | "level" | "threads" | "peaks">;

/** The rows of the suite that `only` names. @throws Error when the machine cannot be measured */
export async function measureCpu({ only, repeats, show }: Measuring): Promise<Measured> {
  const { machine, level, peaks: first } = await startMachine();
  const { threads } = machine;
  const rows: Row[] = [];
  const peaks = [first];
  for (const contest of cpuContests(threads)) {
    const plans = contest.rows.filter(({ work }) => only.test(work));
    if (plans.length === 0) continue;
    const measured = await measureContest(contest, plans, machine, repeats);
    measured.rows.forEach(show);
    rows.push(...measured.rows);
    peaks.push(...measured.peaks);
  }
  await machine.limits.stop();
  const overRun = (figure: (peaks: Peaks) => number | null) => {
    const values = peaks.map(figure);
    return values.some((value) => value === null) ? null : median(values.map(Number));
  };
  const told = {
    f32_gflops: overRun(({ f32Gflops }) => f32Gflops),
    bf16_gflops: overRun(({ bf16Gflops }) => bf16Gflops),
    int8_gops: overRun(({ int8Gops }) => int8Gops),
    read_gbps: overRun(({ readGbps }) => readGbps),
  };
  return { rows, level, threads, peaks: told };
}

/** Builds the program that measures the machine and starts it. */
async function startMachine(): Promise<{ machine: Machine; level: string; peaks: Peaks }> {
  const build = "cargo build --release --quiet --package gradus-cpu --example machine_limits".split(" ");
  const { exitCode, output } = await runCommand(build, { cwd: root, show: false });
  if (exitCode !== 0) {
    throw new Error(`machine_limits did not build:\n${output.trimEnd().split("\n").slice(-12).join("\n")}`);
  }
  const target = Bun.env.CARGO_TARGET_DIR ?? join(root, "target");
  const limitsProgram = join(target, "release", "examples", "machine_limits");
  const [limits, told] = await Child.start([limitsProgram, "limits"]);
  const peaks = await measurePeaks(limits);
  const kind = machineKind(readFileSync("/proc/cpuinfo", "utf8"));
  const machine = { kind, threads: Number(told.threads), limitsProgram, limits, hasBf16: peaks.bf16Gflops !== null };
  return { machine, level: String(told.level), peaks };
}
