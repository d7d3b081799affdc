// The mode `acereason`: the AceReason evaluation toolkit, its faults included, so that the paper's figures can be
// compared. All commas vanish, so (1,23) is (12,3); numbers agree within 1e-4, and also where they differ by a factor
// of 100; the thought is searched for boxes too. Not for rewards. Where the toolkit runs model text as Python, this
// mode parses it.
import { fault } from "../verdict.ts";
import { type AnswerQuestion, noAnswer, settled } from "./answer-question.ts";
import { isReal } from "./complex.ts";
import type { Comparison } from "./decide.ts";
import { call, type Expression, variablesOf } from "./expression.ts";
import { valueAt } from "./floating.ts";
import { parseAnswer } from "./parse-list.ts";

export type AceReasonOptions = {
  /** AIME's extra rule: numbers below 1, so also all negative ones, count by two significant digits. */
  readonly roundNumber?: boolean;
};

const charactersMax = 4000;
const relativeTolerance = 1e-4;

/** Whether the answer found in the whole response counts as one of the gold answers. */
export function aceReasonQuestion(
  golds: readonly string[],
  response: string,
  options: AceReasonOptions = {},
): AnswerQuestion {
  const answer = extractAceReason(response);
  return answer === undefined ? noAnswer : aceReasonEqual(golds, answer, options);
}

/** Whether a bare answer counts as one of the gold answers. */
export function aceReasonEqual(
  golds: readonly string[],
  answer: string,
  options: AceReasonOptions = {},
): AnswerQuestion {
  const expected = golds.map(cleanAceReason).filter((gold) => gold !== "");
  if (expected.length === 0) return settled(fault("the gold answer is empty"));
  if (answer.length > charactersMax) {
    return settled({
      status: "graded",
      score: 0,
      kind: "unparsable-answer",
      detail: `over ${charactersMax} characters`,
    });
  }
  const given = cleanAceReason(answer);
  return {
    comparison: (equal) =>
      expected.some(
        (gold) =>
          mathEqual(given, gold, equal) || (options.roundNumber === true && roundNumber(given) === roundNumber(gold)),
      ),
  };
}

/** The last box with at most two levels of braces in it, else the last bold text, display line or "is \(…\)". */
function extractAceReason(response: string): string | undefined {
  const box = lastShallowBox(response);
  if (box !== undefined) return box;
  for (const pattern of [/\*\*(.*?)\*\*/g, /\\\[\n(.*?)\n\\\]/g, /is \\\((.*?)\\\)/g]) {
    const last = [...response.slice(-charactersMax).matchAll(pattern)].at(-1)?.[1];
    if (last !== undefined) return last;
  }
  return undefined;
}

function lastShallowBox(text: string): string | undefined {
  const command = "\\boxed{";
  for (let at = text.lastIndexOf(command), tries = 0; at >= 0 && tries < 50; tries++) {
    const start = at + command.length;
    let depth = 0;
    for (let end = start; end < text.length && depth <= 2; end++) {
      if (text[end] === "{") depth++;
      else if (text[end] === "}" && --depth < 0) return text.slice(start, end);
    }
    if (at === 0) return undefined;
    at = text.lastIndexOf(command, at - 1);
  }
  return undefined;
}

/** The toolkit's cleaning, step by step in its order. */
export function cleanAceReason(answer: string): string {
  const whole = /^\\text\{(.*)\}$/s.exec(answer.trim())?.[1];
  const cleaned = (whole === undefined ? answer : whole.replace(/[(),]/g, ""))
    .replace(/,\\!|\{,\}|\\\$/g, "")
    .replaceAll("dfrac{", "frac{")
    .replaceAll("tfrac{", "frac{")
    .replace(/\^\\circ|\^\{\\circ\}|\\quad/g, "")
    .replace(/\\,\\text\{.*?\}/g, "")
    .replace(/\\text\{.*?\}/g, "")
    .replace(/\s\^\{-\d+\}/g, "")
    .replace(/\\n|\s/g, "")
    .replace(/(?<=\d)\\times10\^\{([+-]?\d+)\}/g, "e$1")
    .replace(/(?<=\d)\\times10\^([+-]?\d+)/g, "e$1")
    .replace(/(?<=\d)\^\{(\d+)\}/g, "^$1")
    .replace(/10\^\{(-?\d+)\}/g, "1e$1")
    .replaceAll(",", "")
    .toLowerCase()
    .replace(/\\$/, "");
  const equals = cleaned.indexOf("=");
  const left = cleaned.slice(0, Math.max(0, equals));
  return equals >= 0 && (/^[a-z]\([a-z]\)$/.test(left) || left.length <= 3) ? cleaned.slice(equals + 1) : cleaned;
}

type Equal = Parameters<Comparison>[0];

// Qwen2.5-Math's math_equal, on cleaned answers.
function mathEqual(given: string, gold: string, equal: Equal): boolean {
  if (given.toLowerCase() === gold.toLowerCase()) return true;
  if (/^[a-e]$/i.test(gold) && choiceLetter(given) === gold.toUpperCase()) return true;
  const [a, b] = [digitsOf(given), digitsOf(gold)];
  if (a !== undefined && b !== undefined) return [b / 100, b, b * 100].some((value) => isClose(a, value));
  if (given === "") return false;
  if (withoutBrackets(given, gold) === withoutBrackets(gold, given)) return true;
  const sides = equationSides(given, gold, equal);
  return sides ?? symbolicEqual(given, gold, equal);
}

function equationSides(given: string, gold: string, equal: Equal): boolean | undefined {
  const [a, b] = [given.split("="), gold.split("=")];
  const [left = "", right = ""] = a;
  const [goldLeft = "", goldRight = ""] = b;
  if (a.length === 2 && b.length === 2) {
    const [x, y] = [readOne(`${left}-(${right})`), readOne(`${goldLeft}-(${goldRight})`)];
    return x && y ? equal(x, y) || equal(call("negate", x), y) : undefined;
  }
  if (a.length === 2 && left.length <= 2 && b.length === 1) return mathEqual(right, gold, equal) || undefined;
  if (b.length === 2 && goldLeft.length <= 2 && a.length === 1) return mathEqual(given, goldRight, equal) || undefined;
  return undefined;
}

function readOne(text: string): Expression | undefined {
  return parseAnswer(text).readings[0];
}

function symbolicEqual(given: string, gold: string, equal: Equal): boolean {
  const [a, b] = [readOne(given), readOne(gold)];
  if (!a || !b) return false;
  if (a.kind === "matrix" && b.kind === "matrix") {
    return a.rows.length === b.rows.length && a.rows.every((row, index) => allEqual(row, b.rows[index] ?? [], equal));
  }
  if (a.kind === "sequence" && b.kind === "sequence") return allEqual(a.items, b.items, equal);
  return equalValues(bareValue(a), bareValue(b), equal);
}

// Equal as expressions, or numbers within the tolerance.
function equalValues(a: Expression, b: Expression, equal: Equal): boolean {
  const [x, y] = [doubleOf(a), doubleOf(b)];
  return x !== undefined && y !== undefined ? isClose(x, y) : equal(a, b);
}

function doubleOf(expression: Expression): number | undefined {
  if (variablesOf(expression).size > 0) return undefined;
  const value = valueAt(expression, new Map(), false, { left: 10_000 });
  return value && isReal(value) ? value.re : undefined;
}

function allEqual(a: readonly Expression[], b: readonly Expression[], equal: Equal): boolean {
  return (
    a.length === b.length && a.every((item, index) => equalValues(bareValue(item), bareValue(b[index] ?? item), equal))
  );
}

function bareValue(expression: Expression): Expression {
  return expression.kind === "quantity" && expression.unit !== "%" ? expression.value : expression;
}

function choiceLetter(text: string): string | undefined {
  return text
    .toUpperCase()
    .match(/\b[A-E]\b/g)
    ?.at(-1);
}

function digitsOf(text: string): number | undefined {
  const percent = /^(.*?)\\?%$/.exec(text);
  const value = toNumber(percent?.[1] ?? text);
  return value === undefined ? undefined : percent ? value / 100 : value;
}

function toNumber(text: string): number | undefined {
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,4})?$/i.test(text) ? Number(text) : undefined;
}

function isClose(a: number, b: number): boolean {
  return a === b || Math.abs(a - b) <= relativeTolerance * Math.max(Math.abs(a), Math.abs(b));
}

// Outer square and round brackets go where the other side does not open with the other kind; braces and round ones always.
function withoutBrackets(text: string, other: string): string {
  const isSquare = text.startsWith("[") && text.endsWith("]") && !other.startsWith("(");
  const isRound = text.startsWith("(") && text.endsWith(")") && !other.startsWith("[");
  const stripped = isSquare || isRound ? text.replace(/^[[\]()]+|[[\]()]+$/g, "") : text;
  return stripped.replace(/[{}()]/g, "");
}

function roundNumber(text: string): string {
  const value = toNumber(text);
  return value !== undefined && value < 1 ? value.toPrecision(2) : text;
}
