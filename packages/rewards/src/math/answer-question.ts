// What every mode makes of a row: either a verdict at once, or a comparison that decide.ts carries out.
import type { Verdict } from "../verdict.ts";
import type { Comparison } from "./decide.ts";

/** A verdict that needs no comparison, or the comparison that gives it. */
export type AnswerQuestion = { readonly verdict: Verdict } | { readonly comparison: Comparison };

/** A verdict at once. */
export function settled(verdict: Verdict): AnswerQuestion {
  return { verdict };
}

export const noAnswer: AnswerQuestion = settled({ status: "graded", score: 0, kind: "no-answer" });

/** An answer that is written like the gold answer is correct, whatever it means. */
export const sameText: AnswerQuestion = settled({ status: "graded", score: 1, kind: "correct", method: "string" });

export function unparsable(detail: string): AnswerQuestion {
  return settled({ status: "graded", score: 0, kind: "unparsable-answer", detail });
}
