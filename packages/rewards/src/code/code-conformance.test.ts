// Public graders' programs, run in the real sandbox. The default run takes a sample; GRADUS_TEST_FULL=1 takes everything.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { sharedRows, sharedText } from "../__fixtures__/shared-data.ts";
import { mapAtMost } from "../map-at-most.ts";
import { type Sandbox, startSandbox } from "../sandbox/sandbox.ts";
import { stdoutDifference } from "./compare-stdout.ts";
import { type EvalPlusTask, readEvalPlus } from "./evalplus-task.ts";
import { extractProgram } from "./extract-program.ts";
import { type EvalPlusGrader, evalPlusGrader } from "./grade-evalplus.ts";
import { gradeProgram } from "./grade-program.ts";
import { readProblem } from "./read-problem.ts";

const isFull = Boolean(process.env.GRADUS_TEST_FULL);

// Tasks whose canonical solution alone takes over a second of processor time: for the full run.
const slowTasks = new Set([
  ...[15, 36, 59, 83, 94, 130, 139].map((number) => `HumanEval/${number}`),
  ...[84, 123, 255, 271, 300, 389, 392, 583, 589, 592, 599, 603, 630].map((number) => `Mbpp/${number}`),
]);
const isTaken = (task: string, index: number, every: number) => isFull || (index % every === 0 && !slowTasks.has(task));
const minutes = (count: number) => count * 60_000;

let sandbox: Sandbox;
let grader: EvalPlusGrader;
let tasks: ReadonlyMap<string, EvalPlusTask> | undefined;

beforeAll(async () => {
  sandbox = await startSandbox();
  grader = evalPlusGrader(sandbox);
  const humanEval = sharedText("data/humaneval_plus/HumanEvalPlus.jsonl.gz");
  const mbpp = sharedText("data/mbpp_plus/MbppPlus-v0.1.0.jsonl.gz");
  if (humanEval !== undefined && mbpp !== undefined) {
    tasks = new Map([...readEvalPlus(humanEval, "humaneval"), ...readEvalPlus(mbpp, "mbpp")]);
  }
}, minutes(2));
afterAll(() => sandbox.close());

test("outputs are compared as LiveCodeBench compares them", () => {
  // Where its grader raises, no output is right.
  const lcb = z.union([z.boolean(), z.string().transform(() => false)]);
  const rows = sharedRows(
    "conformance/code_compare_stdout.jsonl",
    z.looseObject({ id: z.string(), pred: z.string(), gold: z.string(), lcb }),
  );
  if (rows === undefined) return;
  expect(rows.length).toBeGreaterThan(0);
  const differing = rows.filter(({ pred, gold, lcb }) => (stdoutDifference(pred, gold) === undefined) !== lcb);
  expect(differing.map(({ id }) => id)).toEqual([]);
});

const programSchema = z.looseObject({
  id: z.string(),
  code: z.string().optional(),
  response: z.string().optional(),
  tests: z.unknown(),
  expected: z.boolean(),
  expected_verdict: z.string().nullish(),
});

async function verdictOf({ code, response, tests }: z.infer<typeof programSchema>) {
  const program = code ?? extractProgram(response ?? "");
  if (program === undefined) return undefined;
  // Bombs burn their whole time; less of it, and once, says the same.
  const options = isFull ? {} : { limits: { cpuMs: 2000, wallMs: 5000 }, isOverloaded: () => false };
  return gradeProgram(readProblem(tests), program, sandbox, options);
}

test(
  "programs that cheat fail, and legal idioms pass",
  async () => {
    const rows = sharedRows("conformance/code_exploits.jsonl", programSchema);
    if (!rows) return;
    const verdicts = await mapAtMost(4, rows, verdictOf);
    const wrong = rows.filter(({ expected }, index) => {
      const verdict = verdicts[index];
      return verdict?.status !== "graded" || (verdict.score === 1) !== expected;
    });
    expect(wrong.map(({ id }) => id)).toEqual([]);
    const flood = rows.findIndex(({ expected_verdict }) => expected_verdict === "OLE");
    expect(verdicts[flood]).toMatchObject({ kind: "error", detail: "test 1 of 2: over the output limit" });
  },
  minutes(5),
);

test(
  "rewards of other graders, in every format",
  async () => {
    const rows = sharedRows("conformance/code_rewards.jsonl", programSchema);
    if (!rows) return;
    for (const row of rows) {
      const verdict = await verdictOf(row);
      expect([row.id, verdict?.status === "graded" && verdict.score === 1]).toEqual([row.id, row.expected]);
    }
  },
  minutes(5),
);

const publishedSchema = z.looseObject({
  id: z.string(),
  task_id: z.string(),
  solution: z.string(),
  expected_base: z.boolean(),
  expected_plus: z.boolean(),
});

// Where today's EvalPlus (0.3.1) also differs from the published verdict, and the one that depends on the machine.
const publishedOtherwise = new Map([
  ["ep-0424", "MBPP/579: EvalPlus now compares sets there; it passes"],
  ["ep-0829", "MBPP/232: EvalPlus now compares sets there; base passes"],
  ["ep-0852", "MBPP/160: one input takes about 1 s, EvalPlus's limit for an input"],
]);

test(
  "published verdicts on models' programs",
  async () => {
    const rows = sharedRows("conformance/code_evalplus_verdicts.jsonl", publishedSchema);
    if (!rows || !tasks) return;
    const sample = rows.filter(({ id, task_id }, index) => !publishedOtherwise.has(id) && isTaken(task_id, index, 8));
    const wrong = await disagreements(sample, (row) => ({
      name: row.id,
      task: row.task_id,
      edit: () => row.solution,
      base: row.expected_base,
      plus: row.expected_plus,
    }));
    expect(wrong).toEqual([]);
  },
  minutes(20),
);

const mutantSchema = z.strictObject({
  task: z.string(),
  edits: z.array(z.tuple([z.number(), z.number(), z.string()])),
  base: z.string(),
  plus: z.string(),
});

// Where EvalPlus 0.3.1 says otherwise, and why: a canonical solution that it fails shows that it is not the program.
const evalPlusOtherwise = new Map([
  [
    '["HumanEval/32"]',
    "its check of find_zero never counts an input as passed, so every program fails on base and plus",
  ],
  ['["Mbpp/255"]', "an answer of 1 GB takes it over its limit of time, by the clock"],
  ['["Mbpp/599"]', "24 s of processor time on plus; its limit is 60 s by the clock"],
  ['["Mbpp/599",[157,1,"(1 - 1)"]]', "the same as the canonical solution"],
]);

test(
  "EvalPlus's verdicts on the canonical solutions and on mutants of them",
  async () => {
    if (!tasks) return;
    const file = join(import.meta.dir, "__fixtures__", "evalplus-verdicts.jsonl");
    const lines = readFileSync(file, "utf8").trimEnd().split("\n");
    const rows = lines.map((line) => mutantSchema.parse(JSON.parse(line)));
    const sample = rows.filter(({ task }, index) => isTaken(task, index, 24));
    const wrong = await disagreements(sample, ({ task, edits, base, plus }) => ({
      name: JSON.stringify([task, ...edits]),
      task,
      edit: (program) =>
        edits.reduce(
          (text, [offset, length, put]) => text.slice(0, offset) + put + text.slice(offset + length),
          program,
        ),
      base: base === "pass",
      plus: plus === "pass",
    }));
    expect(wrong.filter((name) => !evalPlusOtherwise.has(name))).toEqual([]);
  },
  minutes(60),
);

type Case = {
  readonly name: string;
  readonly task: string;
  /** The program to judge, from the canonical one. */
  readonly edit: (canonical: string) => string;
  readonly base: boolean;
  readonly plus: boolean;
};

/** The names of the rows whose base or plus verdict is another one than theirs. */
async function disagreements<T>(rows: readonly T[], caseOf: (row: T) => Case): Promise<string[]> {
  const found = await mapAtMost(2 * sandbox.workers, rows, async (row) => {
    const { name, task: id, edit, ...wanted } = caseOf(row);
    const task = tasks?.get(id);
    if (!task) return [name];
    const { base, plus, verdict } = await grader.grade(task, edit(task.canonical));
    const agrees = base === wanted.base && plus === wanted.plus && verdict.status === "graded";
    return agrees ? [] : [name];
  });
  return found.flat();
}
