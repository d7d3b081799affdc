// How verdicts come from runs: a scripted sandbox, whose runs end in any order.
import { expect, test } from "bun:test";
import type { Program, Run } from "../sandbox/protocol.ts";
import { type Sandbox, startSandbox } from "../sandbox/sandbox.ts";
import { gradeProgram, type ProgramOptions } from "./grade-program.ts";
import type { Problem } from "./problem.ts";

const ended: Run = {
  outcome: "exited",
  exitCode: 0,
  signal: null,
  cpuMs: 10,
  wallMs: 10,
  memoryPeakMiB: 1,
  stdout: new Uint8Array(),
  stderr: "",
  answers: [],
  tier: "B",
};
const printing = (text: string): Run => ({ ...ended, stdout: new TextEncoder().encode(text) });

type Script = (input: string, attempt: number) => Partial<Run>;

/** A sandbox whose runs end later the smaller their number, so that late tests come first. */
function scripted(script: Script, workers = 3): { sandbox: Sandbox; inputs: string[] } {
  const inputs: string[] = [];
  const run = async (program: Program, _limits?: unknown, signal?: AbortSignal): Promise<Run> => {
    const input = program.mode === "stdin" ? String(program.stdin) : JSON.stringify(program.calls);
    const attempt = inputs.filter((other) => other === input).length;
    inputs.push(input);
    for (let turns = 20 - 5 * (Number(input) % 3 || 0); turns > 0; turns--) await Promise.resolve();
    return signal?.aborted ? { ...ended, outcome: "cancelled" } : { ...ended, ...script(input, attempt) };
  };
  return { sandbox: { tier: "B", workers, run, processId: () => undefined, close: async () => {} }, inputs };
}

/** Tests 0, 1, 2… whose right output is their input. */
const echoes = (count: number): Problem => ({
  mode: "stdin",
  tests: Array.from({ length: count }, (_, index) => ({ input: String(index), output: String(index) })),
});

async function grade(script: Script, options: ProgramOptions = {}, workers?: number) {
  const { sandbox, inputs } = scripted(script, workers);
  return { verdict: await gradeProgram(echoes(8), "…", sandbox, { isOverloaded: () => false, ...options }), inputs };
}

test("all tests right is 1, with the tier", async () => {
  const { verdict } = await grade(printing);
  expect(verdict).toEqual({ status: "graded", score: 1, kind: "correct", method: "stdin", tier: "B" });
});

test("the first failing test by number is told, whatever failed first and however many run at once", async () => {
  const script: Script = (input) => printing(Number(input) >= 4 ? "no" : input);
  for (const workers of [1, 2, 3, 8]) {
    const { verdict, inputs } = await grade(script, {}, workers);
    expect(verdict).toMatchObject({
      score: 0,
      kind: "wrong",
      detail: 'test 5 of 8: line 1: "no", expected "4"',
      tier: "B",
    });
    expect(inputs.length).toBeLessThanOrEqual(4 + workers);
  }
  const { inputs } = await grade(script, { stopAtFirstFailure: false });
  expect(inputs.length).toBe(8);
});

test("fraction is the share of the tests that pass", async () => {
  const { verdict } = await grade((input) => printing(input === "2" ? "no" : input), { score: "fraction" });
  expect(verdict).toMatchObject({ score: 7 / 8, kind: "wrong" });
  expect((await grade(printing, { score: "fraction" })).verdict).toMatchObject({ score: 1, kind: "correct" });
});

test("each end of a run has its kind", async () => {
  const kind = async (run: Partial<Run>) => (await grade(() => run)).verdict;
  expect(await kind({ ...printing("0"), exitCode: 1, stderr: "Trace\nValueError: no\n" })).toMatchObject({
    kind: "error",
    detail: "test 1 of 8: exit code 1: ValueError: no",
  });
  expect(await kind({ outcome: "signalled", signal: 11 })).toMatchObject({ score: 0, kind: "error" });
  expect(await kind({ outcome: "memory-limit" })).toMatchObject({ kind: "error" });
  expect(await kind({ outcome: "output-limit" })).toMatchObject({ kind: "error" });
  expect(await kind({ outcome: "cpu-limit" })).toMatchObject({ score: 0, kind: "timeout" });
  expect(await kind({ outcome: "wall-limit" })).toMatchObject({ score: 0, kind: "timeout" });
  expect(await kind({ outcome: "fault", reason: "the daemon died" })).toEqual({
    status: "fault",
    reason: "test 1 of 8: the daemon died",
  });
});

test("a fault counts only before the first failing test; in a fraction always", async () => {
  const script: Script = (input) => (input === "5" ? { outcome: "fault" } : printing(input === "2" ? "no" : input));
  expect((await grade(script)).verdict).toMatchObject({ score: 0, kind: "wrong" });
  expect((await grade(script, { score: "fraction" })).verdict.status).toBe("fault");
});

test("a timeout is tried again on an overloaded machine only, and once", async () => {
  const once: Script = (input, attempt) =>
    input === "3" && attempt === 0 ? { outcome: "cpu-limit" } : printing(input);
  expect((await grade(once, { isOverloaded: () => true })).verdict).toMatchObject({ score: 1 });
  expect((await grade(once)).verdict).toMatchObject({ kind: "timeout" });
  const always: Script = (input) => (input === "0" ? { outcome: "wall-limit" } : printing(input));
  const { verdict, inputs } = await grade(always, { isOverloaded: () => true });
  expect(verdict).toMatchObject({ kind: "timeout", detail: "test 1 of 8: idle over the waiting limit" });
  expect(inputs.filter((input) => input === "0").length).toBe(2);
});

test("the problem's time is summed by number", async () => {
  const slow: Script = (input) => ({ ...printing(input), cpuMs: 100 });
  for (const workers of [1, 8]) {
    const { verdict } = await grade(slow, { problemCpuMs: 350 }, workers);
    expect(verdict).toMatchObject({ kind: "timeout", detail: "test 4 of 8: over the problem's processor time limit" });
  }
  const share = await grade(slow, { problemCpuMs: 350, score: "fraction" });
  expect(share.verdict).toMatchObject({ score: 3 / 8, kind: "timeout" });
});

test("functions: tuples are lists at the top, nested ones only for APPS; subclasses are nothing", async () => {
  const verdict = async (value: unknown, accepted: readonly (readonly number[] | number)[], tupleDepth: 1 | 2) => {
    const { sandbox } = scripted(() => ({ answers: JSON.parse(JSON.stringify([{ value }])) }));
    const tests = [{ values: [1], accepted, tupleDepth }];
    return (await gradeProgram({ mode: "functional", entry: "f", tests }, "…", sandbox)) as { kind?: string };
  };
  expect((await verdict({ t: [1, 2] }, [[1, 2]], 1)).kind).toBe("correct");
  expect((await verdict([{ t: [1] }], [[1]], 1)).kind).toBe("wrong");
  expect((await verdict({ f: "3.0" }, [3], 1)).kind).toBe("correct");
  expect((await verdict({ o: "S" }, [3], 1)).kind).toBe("wrong");
});

test("a right program with a large output passes, one that prints without end does not", async () => {
  const sandbox = await startSandbox({ workers: 1 });
  try {
    const size = 10 * 1024 * 1024;
    const stdin: Problem = { mode: "stdin", tests: [{ input: "", output: "x".repeat(size) }] };
    expect(await gradeProgram(stdin, `print("x" * ${size})`, sandbox)).toMatchObject({ kind: "correct" });
    expect(await gradeProgram(stdin, `while True: print("x" * ${size})`, sandbox)).toMatchObject({
      detail: "test 1 of 1: over the output limit",
    });
    const tests = [{ values: [], accepted: ["x".repeat(size)], tupleDepth: 1 as const }];
    const functional: Problem = { mode: "functional", entry: "f", tests };
    const code = `def f(): return "x" * ${size}`;
    expect(await gradeProgram(functional, code, sandbox)).toMatchObject({ kind: "correct" });
  } finally {
    await sandbox.close();
  }
}, 60_000);

test("a program's own text is made harmless and short in the detail", async () => {
  const stderr = `ValueError: \u001b[31mred\u001b[0m \u009b2J \u202e${"x".repeat(300)}\n`;
  const { verdict } = await grade(() => ({ ...printing(""), exitCode: 1, stderr }));
  const start = "test 1 of 8: exit code 1: ValueError: \\u{1b}[31mred\\u{1b}[0m \\u{9b}2J \\u{202e}xxx";
  if (verdict.status !== "graded") throw new Error("it is no grade");
  expect(verdict.detail).toStartWith(start);
  expect(verdict.detail?.length).toBeLessThan(250);
});

test("where the sandbox throws, no other run goes on", async () => {
  const ends: Promise<unknown>[] = [];
  const run: Sandbox["run"] = (program, _limits, signal) => {
    if (program.mode === "stdin" && program.stdin === "2") return Promise.reject(new Error("broken"));
    const end = new Promise<Run>((resolve) => signal?.addEventListener("abort", () => resolve(ended)));
    ends.push(end);
    return end;
  };
  const { sandbox } = scripted(printing, 4);
  await expect(gradeProgram(echoes(8), "…", { ...sandbox, run })).rejects.toThrow("broken");
  expect((await Promise.all(ends)).length).toBe(3);
});

test("functions that raise or end early are errors", async () => {
  const problem: Problem = { mode: "functional", entry: "f", tests: [{ values: [1], accepted: [1], tupleDepth: 1 }] };
  const raised = scripted(() => ({ answers: [{ error: "KeyError", message: "'a'" }] }));
  expect(await gradeProgram(problem, "…", raised.sandbox)).toMatchObject({
    kind: "error",
    detail: "test 1 of 1: KeyError: 'a'",
  });
  expect(await gradeProgram(problem, "…", scripted(() => ({})).sandbox)).toMatchObject({
    kind: "error",
    detail: "test 1 of 1: ended before it gave an answer",
  });
});
