// The math reward: the boxed answer against the gold answer, compared exactly.
import { extractAnswer, lastBoxed } from "./extract-answer.ts";
import { parseRational, sameRational } from "./rational.ts";
import type { Reward } from "./reward.ts";
import { fault, type Verdict } from "./verdict.ts";

/** A reward of 1 for a boxed answer that equals `prompt.answer`, else 0; a prompt without an answer is a fault. */
export function mathReward(): Reward {
  return ({ prompt, promptText, text }) => {
    if (prompt.answer === undefined) return fault(`prompt ${prompt.id} has no answer to compare with`);
    return gradeMath(text, prompt.answer, promptText);
  };
}

/** The verdict on a response, given the gold answer (which may itself be boxed). */
export function gradeMath(text: string, gold: string, promptText = ""): Verdict {
  const expected = normalizeMath(lastBoxed(gold) ?? gold);
  if (expected === "") return fault("the gold answer is empty");
  const answer = extractAnswer(text, promptText);
  if (answer === undefined) return { status: "graded", score: 0, kind: "no-answer" };
  const given = normalizeMath(answer);
  if (given === "") return { status: "graded", score: 0, kind: "unparsable-answer", detail: "the box is empty" };
  if (given === expected) return { status: "graded", score: 1, kind: "correct", method: "string" };
  const left = parseRational(given);
  const right = parseRational(expected);
  if (!left || !right) return { status: "graded", score: 0, kind: "wrong", method: "string" };
  const correct = sameRational(left, right);
  return { status: "graded", score: correct ? 1 : 0, kind: correct ? "correct" : "wrong", method: "rational" };
}

/** Removes what does not change an answer: dollar signs, \left and \right, spacing commands, white space, a full stop. */
export function normalizeMath(answer: string): string {
  return answer
    .replace(/\\\$|\$/g, "")
    .replace(/\\(?:left|right)(?![a-zA-Z])/g, "")
    .replace(/\\(?:quad|qquad|thinspace|enspace)(?![a-zA-Z])|\\[,;:! ]|~/g, "")
    .replace(/\\[dt]frac(?![a-zA-Z])/g, "\\frac")
    .replace(/\s+/g, "")
    .replace(/\.+$/, "");
}
