// How EvalPlus verdicts come from runs that end early, and what the real sandbox gives of results that JSON lacks.
import { afterAll, expect, test } from "bun:test";
import type { Program, Run } from "../sandbox/protocol.ts";
import { type Sandbox, startSandbox } from "../sandbox/sandbox.ts";
import type { Tagged } from "../sandbox/tagged.ts";
import type { EvalPlusTask } from "./evalplus-task.ts";
import { evalPlusGrader } from "./grade-evalplus.ts";

const real = startSandbox({ workers: 1 });
afterAll(async () => (await real).close());

const task = (canonical: string, inputs: readonly Tagged[]): EvalPlusTask => ({
  id: "Mbpp/0",
  dataset: "mbpp",
  entry: "f",
  canonical,
  tolerance: 0,
  base: inputs.slice(0, 1).map((value) => [value]),
  plus: inputs.map((value) => [value]),
});

/** A sandbox in which f(n) gives n, and call `slow` needs the time of `slowRuns` runs before it answers. */
function scripted(slow: number, slowRuns: number): { sandbox: Sandbox; asked: number[] } {
  const asked: number[] = [];
  let left = slowRuns;
  const run = async (program: Program): Promise<Run> => {
    const calls = program.mode === "calls" ? program.calls.map(([value = null]) => value) : [];
    const isCanonical = program.code.startsWith("canonical");
    if (!isCanonical) asked.push(calls.length);
    const stop = isCanonical || left === 0 ? -1 : calls.indexOf(slow);
    if (stop >= 0) left--;
    return {
      outcome: stop >= 0 ? "cpu-limit" : "exited",
      exitCode: stop >= 0 ? null : 0,
      signal: null,
      cpuMs: 100,
      wallMs: 100,
      memoryPeakMiB: 1,
      stdout: new Uint8Array(),
      stderr: "",
      answers: calls.slice(0, stop >= 0 ? stop : undefined).map((value) => ({ value })),
      tier: "A",
    };
  };
  return { sandbox: { tier: "A", workers: 1, run, processId: () => undefined, close: async () => {} }, asked };
}

test("a call that a run ended in is run alone, and the rest goes on behind it", async () => {
  const { sandbox, asked } = scripted(3, 1);
  const { base, plus } = await evalPlusGrader(sandbox).grade(task("canonical", [0, 1, 2, 3, 4, 5]), "…");
  expect({ base, plus, asked }).toEqual({ base: true, plus: true, asked: [1, 6, 1, 2] });
});

test("a call that is too slow alone is a timeout; on an overloaded machine it has a second try", async () => {
  const inputs = task("canonical", [0, 1, 2, 3, 4, 5]);
  const calm = evalPlusGrader(scripted(3, 2).sandbox, { isOverloaded: () => false });
  expect((await calm.grade(inputs, "…")).verdict).toEqual({
    status: "graded",
    score: 0,
    kind: "timeout",
    method: "evalplus base=pass plus=fail",
    detail: "plus input 4 of 6: over the processor time limit",
    tier: "A",
  });
  const { sandbox, asked } = scripted(3, 2);
  expect((await evalPlusGrader(sandbox, { isOverloaded: () => true }).grade(inputs, "…")).plus).toBe(true);
  expect(asked).toEqual([1, 6, 1, 1, 2]);
});

test("a canonical solution that fails is a fault", async () => {
  const grader = evalPlusGrader(await real);
  expect((await grader.grade(task("def f(x):\n    return 1 / x\n", [0]), "…")).verdict).toEqual({
    status: "fault",
    reason: "Mbpp/0: the canonical solution raised ZeroDivisionError on base 1",
  });
});

const plus = async (canonical: string, code: string, input: Tagged = 1) => {
  return (await evalPlusGrader(await real).grade(task(canonical, [input]), code)).plus;
};
const returning = (value: string, before = "") => `${before}\ndef f(x):\n    return ${value}\n`;

test("Counter and its like are the dicts that they equal; other subclasses are nothing", async () => {
  const imports = "from collections import *";
  expect(await plus(returning("[Counter('aab')]", imports), returning("[{'b': 1, 'a': 2}]"))).toBe(true);
  expect(await plus(returning("{1: 2}"), returning("defaultdict(int, {True: 2.0})", imports))).toBe(true);
  expect(await plus(returning("{1: 2}"), returning("Counter('aab')", imports))).toBe(false);
  expect(await plus(returning("1"), returning("I(1)", "class I(int):\n    def __eq__(self, other): return True"))).toBe(
    false,
  );
});

test("large results are compared by digest, as Python would hold them to be equal", async () => {
  const many = "list(range(100_000))";
  expect(await plus(returning(many), returning("[float(n) for n in range(100_000)]"))).toBe(true);
  expect(await plus(returning(many), returning("tuple(range(100_000))"))).toBe(false);
  expect(await plus(returning(many), returning("list(range(99_999)) + [0]"))).toBe(false);
  expect(await plus(returning("7 ** 100_000"), returning("7 ** 100_000 + 0"))).toBe(true);
  expect(await plus(returning("7 ** 100_000"), returning("7 ** 100_000 + 1"))).toBe(false);
  expect(await plus(returning("'ab' * 100_000"), returning("'ab' * 50_000 * 2"))).toBe(true);
  expect(
    await plus(returning("{n: {n} for n in range(50_000)}"), returning("{n: {n} for n in range(49_999, -1, -1)}")),
  ).toBe(true);
  expect(await plus(returning("{str(n) for n in range(50_000)}"), returning("{str(n) for n in range(50_001)}"))).toBe(
    false,
  );
});

test("a program that returns from its own answer function changes only its own answer", async () => {
  const forging = returning("0", "import hashlib\nhashlib.sha256 = lambda *_: None");
  expect(await plus(returning("list(range(100_000))"), forging)).toBe(false);
});
