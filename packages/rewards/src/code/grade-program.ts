// The verdict on one program: its tests run in the sandbox, their outputs are compared here.
import { availableParallelism, loadavg } from "node:os";
import type { Limits, Program, Run } from "../sandbox/protocol.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { fault, type Verdict } from "../verdict.ts";
import { withImportBlock } from "./import-block.ts";
import { callResult, isTimeout, stdinResult, type TestResult } from "./judge-test.ts";
import { limitsFor } from "./output-limit.ts";
import type { CallTest, Problem, StdinTest } from "./problem.ts";

export type ProgramOptions = {
  /** `all` (default): 1 when every test passes, else 0; `fraction`: the share of tests that pass, which runs them all. */
  readonly score?: "all" | "fraction";
  /** Under `all`: the tests after the first failing one are not needed and not run; default true. */
  readonly stopAtFirstFailure?: boolean;
  /**
   * Of each test; what is left out is the sandbox's default (6 s of processor time, 4 GiB, 8 MiB of output). A test whose
   * right output is large may have twice that.
   */
  readonly limits?: Partial<Limits>;
  /** Processor time of all tests together; the test that exceeds it is a timeout. */
  readonly problemCpuMs?: number;
  /** Whether a timeout may be the machine's fault; default: more work waits than there are cores. */
  readonly isOverloaded?: () => boolean;
};

const problemCpuMsDefault = 300_000;

const detailLengthMax = 200;
// What a terminal or a log would obey, or show out of order: details hold texts of the program.
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/**
 * Judges `code` by the problem's tests; as many run at once as the sandbox has workers, and the verdict does not depend on
 * it: it is that of the first failing test by number, and a fault counts only before it. A run that times out on an
 * overloaded machine is run once more.
 */
export async function gradeProgram(
  problem: Problem,
  code: string,
  sandbox: Sandbox,
  options: ProgramOptions = {},
): Promise<Verdict> {
  const { score = "all", stopAtFirstFailure = true, problemCpuMs = problemCpuMsDefault } = options;
  const runOne = testRunner(problem, withImportBlock(code, entryOf(problem)), sandbox, options);
  const results = await runTests(problem.tests.length, runOne, {
    atOnce: sandbox.workers,
    stops: score === "all" && stopAtFirstFailure,
    cpuMsMax: problemCpuMs,
  });
  return verdictOf(results, problem.tests.length, { method: problem.mode, tier: sandbox.tier, score });
}

const entryOf = (problem: Problem) => (problem.mode === "functional" ? problem.entry : undefined);

type RunOne = (index: number, signal: AbortSignal) => Promise<TestResult>;

function testRunner(problem: Problem, code: string, sandbox: Sandbox, options: ProgramOptions): RunOne {
  const { limits = {}, isOverloaded } = options;
  const run = (program: Program, test: StdinTest | CallTest, signal: AbortSignal) => {
    const how = { limits: limitsFor(test, limits), ...(isOverloaded && { isOverloaded }) };
    return runFairly(sandbox, program, how, signal);
  };
  if (problem.mode === "stdin") {
    return async (index, signal) => {
      const test = problem.tests[index] ?? { input: "", output: "" };
      return stdinResult(await run({ mode: "stdin", code, stdin: test.input }, test, signal), test);
    };
  }
  const { entry, tests } = problem;
  return async (index, signal) => {
    const test = tests[index] ?? { values: [], accepted: [], tupleDepth: 1 };
    return callResult(await run({ mode: "calls", code, entry, calls: [test.values] }, test, signal), test);
  };
}

/** One run; where it timed out while the machine was overloaded, a second one decides. */
export async function runFairly(
  sandbox: Sandbox,
  program: Program,
  { limits = {}, isOverloaded = machineIsOverloaded }: Pick<ProgramOptions, "limits" | "isOverloaded">,
  signal?: AbortSignal,
): Promise<Run> {
  const run = await sandbox.run(program, limits, signal);
  return isTimeout(run) && isOverloaded() ? sandbox.run(program, limits, signal) : run;
}

// The sandbox's own workers keep the cores busy; half as much again is work of others.
function machineIsOverloaded(): boolean {
  return (loadavg()[0] ?? 0) > 1.5 * availableParallelism();
}

type Plan = { readonly atOnce: number; readonly stops: boolean; readonly cpuMsMax: number };

/** The results by number; after the first failing one they may be missing where the plan stops there. */
async function runTests(count: number, runOne: RunOne, plan: Plan): Promise<readonly (TestResult | undefined)[]> {
  const results: (TestResult | undefined)[] = Array.from({ length: count });
  const running = new Map<number, AbortController>();
  let [next, end, summed, cpuMs] = [0, count, 0, 0];
  const endAt = (index: number) => {
    end = Math.min(end, index);
    for (const [other, controller] of running) if (other > index) controller.abort();
  };
  const settle = (index: number, result: TestResult) => {
    results[index] = result;
    if (plan.stops && result.is !== "right") endAt(index);
    // The sum goes by number, so that the test that exceeds it is the same whatever ran first.
    for (let done = results[summed]; done !== undefined && summed < end; done = results[++summed]) {
      if (done.is !== "fault") cpuMs += done.cpuMs;
      if (cpuMs <= plan.cpuMsMax) continue;
      if (done.is === "right") results[summed] = overProblemLimit(done.cpuMs);
      for (let later = summed + 1; later < count; later++) results[later] = overProblemLimit(0);
      endAt(summed);
    }
  };
  const worker = async () => {
    while (next < end) {
      const index = next++;
      const controller = new AbortController();
      running.set(index, controller);
      const result = await runOne(index, controller.signal);
      running.delete(index);
      if (index <= end) settle(index, result);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(plan.atOnce, count) }, worker));
  } finally {
    // Where one throws, no other goes on.
    endAt(-1);
  }
  return results;
}

function overProblemLimit(cpuMs: number): TestResult {
  return { is: "timeout", detail: "over the problem's processor time limit", cpuMs };
}

type Judged = { readonly method: string; readonly tier: "A" | "B"; readonly score: "all" | "fraction" };

function verdictOf(results: readonly (TestResult | undefined)[], count: number, judged: Judged): Verdict {
  const { method, tier } = judged;
  const first = results.findIndex((result) => result !== undefined && result.is !== "right");
  const failed = results[first];
  if (failed === undefined || failed.is === "right")
    return { status: "graded", score: 1, kind: "correct", method, tier };
  if (failed.is === "fault") return fault(`test ${first + 1} of ${count}: ${failed.reason}`);
  const later = results.find((result) => result?.is === "fault");
  if (judged.score === "fraction" && later?.is === "fault") return fault(later.reason);
  const passed = results.filter((result) => result?.is === "right").length;
  return {
    status: "graded",
    score: judged.score === "fraction" ? passed / count : 0,
    kind: failed.is,
    method,
    detail: cut(`test ${first + 1} of ${count}: ${failed.detail}`),
    tier,
  };
}

/** A detail short enough for a line of `bun run judge`. */
export function cut(detail: string): string {
  const short = detail.length > detailLengthMax ? `${detail.slice(0, detailLengthMax)}…` : detail;
  return short.replace(unprintable, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}
