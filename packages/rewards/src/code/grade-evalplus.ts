// The verdict on one program for a task of HumanEval+ or MBPP+: every input's result against the canonical solution's.
import { type Limits, limitsMax, type Program, type Run } from "../sandbox/protocol.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Answer, Tagged } from "../sandbox/tagged.ts";
import { fault, type Verdict } from "../verdict.ts";
import { evalPlusRule } from "./compare-evalplus.ts";
import { answerEntry, withAnswerEntry } from "./evalplus-answer.ts";
import type { EvalPlusTask } from "./evalplus-task.ts";
import { cut, type ProgramOptions, runFairly } from "./grade-program.ts";
import { endResult, isTimeout } from "./judge-test.ts";
import { shortRepr } from "./python-repr.ts";

/** One set of inputs: passed, or what failed first; a program that fails on base is not run on plus. */
export type SetResult = { readonly is: "right" | "wrong" | "error" | "timeout" | "not-run"; readonly detail?: string };

export type EvalPlusVerdict = {
  /** Score 1: base and plus pass. */
  readonly verdict: Verdict;
  /** Absent for a fault. */
  readonly base?: boolean;
  /** Whether base and plus pass. */
  readonly plus?: boolean;
};

export type EvalPlusGrader = {
  readonly grade: (task: EvalPlusTask, code: string) => Promise<EvalPlusVerdict>;
};

export type EvalPlusOptions = Pick<ProgramOptions, "isOverloaded">;

type SetName = "base" | "plus";
type Expected = { readonly answers: readonly Tagged[]; readonly cpuMs: number };

// EvalPlus gives each input 1 s, or four times what the canonical solution took for it, and all of a set at most 60 s.
// The sandbox measures a run, not a call. So a set runs whole with 1 s and four times the canonical time; the call in which
// that ends is run alone, with as much again, and decides whether the rest goes on.
const callMs = 1000;
const canonicalFactor = 4;
const setMsMax = 60_000;
const canonicalLimits: Partial<Limits> = { cpuMs: 120_000, wallMs: 241_000 };

/** A grader whose expected answers come from the canonical solutions, run in the sandbox once a task and kept. */
export function evalPlusGrader(sandbox: Sandbox, options: EvalPlusOptions = {}): EvalPlusGrader {
  const kept = new Map<EvalPlusTask, Map<SetName, Promise<Expected>>>();
  const expectedOf = (task: EvalPlusTask, set: SetName): Promise<Expected> => {
    const sets = kept.get(task) ?? new Map<SetName, Promise<Expected>>();
    kept.set(task, sets);
    const known = sets.get(set);
    if (known) return known;
    const asked = runCanonical(sandbox, task, set);
    sets.set(set, asked);
    // A fault may be gone the next time.
    asked.catch(() => sets.delete(set));
    return asked;
  };
  return { grade: (task, code) => gradeTask({ sandbox, expectedOf, ...options }, task, code) };
}

class EvalPlusFault extends Error {
  override readonly name = "EvalPlusFault";
}

type Grading = EvalPlusOptions & {
  readonly sandbox: Sandbox;
  readonly expectedOf: (task: EvalPlusTask, set: SetName) => Promise<Expected>;
};

async function gradeTask(grading: Grading, task: EvalPlusTask, code: string): Promise<EvalPlusVerdict> {
  const { sandbox } = grading;
  try {
    const program = withAnswerEntry(code, task.entry);
    const base = await gradeSet(grading, task, program, "base");
    const plus: SetResult = base.is === "right" ? await gradeSet(grading, task, program, "plus") : { is: "not-run" };
    const passes = { base: base.is === "right", plus: plus.is === "right" };
    const failed = passes.base ? plus : base;
    const method = `evalplus base=${passes.base ? "pass" : "fail"} plus=${passes.plus ? "pass" : "fail"}`;
    const judged = { status: "graded", score: passes.plus ? 1 : 0, method, tier: sandbox.tier } as const;
    if (failed.is === "right" || failed.is === "not-run") return { ...passes, verdict: { ...judged, kind: "correct" } };
    return { ...passes, verdict: { ...judged, kind: failed.is, detail: cut(failed.detail ?? "") } };
  } catch (error) {
    if (error instanceof EvalPlusFault) return { verdict: fault(`${task.id}: ${error.message}`) };
    throw error;
  }
}

async function runCanonical(sandbox: Sandbox, task: EvalPlusTask, set: SetName): Promise<Expected> {
  const calls = task[set];
  if (calls.length === 0) return { answers: [], cpuMs: 0 };
  const code = withAnswerEntry(task.canonical, task.entry);
  const program = { mode: "calls", code, entry: answerEntry, calls } as const;
  const run = await sandbox.run(program, { ...canonicalLimits, outputBytes: limitsMax.outputBytes });
  const end = endResult(run);
  if (end)
    throw new EvalPlusFault(`the canonical solution on ${set}: ${end.is === "fault" ? end.reason : describe(end)}`);
  const answers = run.answers.map((answer, index) => {
    if ("error" in answer)
      throw new EvalPlusFault(`the canonical solution raised ${answer.error} on ${set} ${index + 1}`);
    return answer.value;
  });
  if (answers.length < calls.length) throw new EvalPlusFault(`the canonical solution ended before its last answer`);
  return { answers, cpuMs: run.cpuMs };
}

function describe(end: { is: string; detail?: string }): string {
  return end.detail ?? end.is;
}

async function gradeSet(grading: Grading, task: EvalPlusTask, code: string, set: SetName): Promise<SetResult> {
  const { sandbox, isOverloaded } = grading;
  const expected = await grading.expectedOf(task, set);
  const calls = task[set];
  const isRight = evalPlusRule(task);
  const canonicalMs = canonicalFactor * expected.cpuMs;
  const totalMsMax = callMs + Math.min(setMsMax, calls.length * callMs + canonicalMs);
  let [done, spentMs] = [0, 0];
  let isAlone = false;
  while (done < calls.length) {
    const cpuMs = Math.ceil(Math.min(callMs + canonicalMs, Math.max(callMs, totalMsMax - spentMs)));
    const asked = calls.slice(done, isAlone ? done + 1 : undefined);
    const limits = { cpuMs, wallMs: 2 * cpuMs + 1000, outputBytes: limitsMax.outputBytes };
    const wanted: Program = { mode: "calls", code, entry: answerEntry, calls: asked };
    const fairly = { limits, ...(isOverloaded && { isOverloaded }) };
    const run = isAlone ? await runFairly(sandbox, wanted, fairly) : await sandbox.run(wanted, limits);
    const place = (index: number) => `${set} input ${index + 1} of ${calls.length}`;
    for (const answer of run.answers) {
      const detail = difference(answer, calls[done] ?? [], expected.answers[done] ?? null, isRight);
      if (detail) return { ...detail, detail: `${place(done)}: ${detail.detail}` };
      done++;
    }
    spentMs += run.cpuMs;
    const end = unfinished(run, asked.length);
    if (end === undefined) isAlone = false;
    else if (end.is !== "timeout" || isAlone || spentMs >= totalMsMax) {
      return { is: end.is, detail: `${place(done)}: ${end.detail}` };
    } else isAlone = true;
  }
  return { is: "right" };
}

type Failure = { readonly is: "wrong" | "error" | "timeout"; readonly detail: string };

// Why a run did not answer every call; undefined when it did.
function unfinished(run: Run, calls: number): Failure | undefined {
  const end = endResult(run);
  if (end?.is === "fault") throw new EvalPlusFault(end.reason);
  if (run.answers.length >= calls && !isTimeout(run)) return end?.is === "right" ? undefined : end;
  return end === undefined || end.is === "right" ? { is: "error", detail: "ended before it gave an answer" } : end;
}

function difference(
  answer: Answer,
  values: readonly Tagged[],
  expected: Tagged,
  isRight: ReturnType<typeof evalPlusRule>,
): Failure | undefined {
  if ("error" in answer) return { is: "error", detail: `${answer.error}: ${answer.message}` };
  if (isRight({ values, expected, result: answer.value })) return undefined;
  return { is: "wrong", detail: `${shortRepr(answer.value)}, expected ${shortRepr(expected)}` };
}
