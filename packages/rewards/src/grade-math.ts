// The math verdict: extraction and comparison in one of three modes. The cheap part runs here, in slices that leave the
// event loop free; what needs the symbolic engine goes to worker processes.

import type { AnswerQuestion } from "./math/answer-question.ts";
import { type Decision, decide } from "./math/decide.ts";
import { type AceReasonOptions, aceReasonEqual, aceReasonQuestion } from "./math/mode-acereason.ts";
import { type MathVerifyOptions, mathVerifyEqual, mathVerifyQuestion } from "./math/mode-mathverify.ts";
import { strictEqual, strictQuestion } from "./math/mode-strict.ts";
import { type SymbolicPool, symbolicPool } from "./math/symbolic-pool.ts";
import { fault, type Verdict } from "./verdict.ts";

/** The modes, in the order in which they are offered. */
export const mathModes = ["strict", "mathverify", "acereason"] as const;
export type MathMode = (typeof mathModes)[number];

/** A response with its gold answers (any of them counts), or two bare answers. */
export type MathRow =
  | { readonly response: string; readonly golds: readonly string[]; readonly promptText?: string }
  | { readonly answer: string; readonly golds: readonly string[] };

export type MathOptions = {
  readonly mode?: MathMode;
  readonly mathVerify?: MathVerifyOptions;
  readonly aceReason?: AceReasonOptions;
};

export type MathGrader = {
  /** The verdict on one row. */
  readonly grade: (row: MathRow, options?: MathOptions) => Promise<Verdict>;
  /** The verdicts on many rows, in their order; the rows' comparisons run side by side. */
  readonly gradeAll: (rows: readonly MathRow[], options?: MathOptions) => Promise<readonly Verdict[]>;
  /** Ends the worker processes. */
  readonly close: () => void;
};

// Rows that wait for the engine at the same time; more would only hold memory.
const rowsAtOnce = 256;
/** The event loop gets its turn at least so often. */
const sliceMilliseconds = 8;

/** A grader with its own pool of symbolic workers, which start when the first question needs one. */
export function mathGrader(options: { readonly pool?: SymbolicPool; readonly workers?: number } = {}): MathGrader {
  const pool = options.pool ?? symbolicPool(options.workers === undefined ? {} : { workers: options.workers });
  const turn = turns();
  const grade = async (row: MathRow, how: MathOptions = {}): Promise<Verdict> => {
    await turn();
    const question = questionOf(row, how);
    if ("verdict" in question) return question.verdict;
    return verdictOf(await decide(question.comparison, pool.ask));
  };
  const gradeAll = async (rows: readonly MathRow[], how: MathOptions = {}): Promise<readonly Verdict[]> => {
    const verdicts: Verdict[] = [];
    const waiting = rows.entries();
    const worker = async () => {
      for (const [index, row] of waiting) verdicts[index] = await grade(row, how);
    };
    await Promise.all(Array.from({ length: Math.min(rowsAtOnce, rows.length) }, worker));
    return verdicts;
  };
  return { grade, gradeAll, close: pool.close };
}

// Resolves at once while the slice lasts, else after the event loop's turn, in which timers and input have theirs.
function turns(): () => Promise<void> {
  let sliceEnd = 0;
  let next: Promise<void> | undefined;
  const wait = () =>
    new Promise<void>((resolve) => {
      setTimeout(() => {
        sliceEnd = performance.now() + sliceMilliseconds;
        next = undefined;
        resolve();
      }, 0);
    });
  return async () => {
    while (performance.now() >= sliceEnd) {
      next ??= wait();
      await next;
    }
  };
}

function questionOf(row: MathRow, { mode = "strict", mathVerify, aceReason }: MathOptions): AnswerQuestion {
  switch (mode) {
    case "strict":
      return "response" in row
        ? strictQuestion(row.golds, row.response, row.promptText ?? "")
        : strictEqual(row.golds, row.answer);
    case "mathverify":
      return "response" in row
        ? mathVerifyQuestion(row.golds, row.response, mathVerify)
        : mathVerifyEqual(row.golds, row.answer, mathVerify);
    case "acereason":
      return "response" in row
        ? aceReasonQuestion(row.golds, row.response, aceReason)
        : aceReasonEqual(row.golds, row.answer, aceReason);
  }
}

function verdictOf(decision: Decision): Verdict {
  switch (decision.is) {
    case "equal":
      return { status: "graded", score: 1, kind: "correct", method: decision.method };
    case "different":
      return { status: "graded", score: 0, kind: "wrong", method: decision.method };
    case "timeout":
      return { status: "graded", score: 0, kind: "timeout", method: "symbolic", detail: decision.detail };
    case "fault":
      return fault(decision.reason);
  }
}
