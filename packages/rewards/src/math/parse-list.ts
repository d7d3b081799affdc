// Reads a whole answer: items separated by commas, semicolons, "and" and "or"; the entry of the parser.
import { cleanAnswer } from "./clean-answer.ts";
import { call, type Expression, partsOf } from "./expression.ts";
import { workOutMatrices } from "./matrix-arithmetic.ts";
import { wordsOf } from "./parse-atom.ts";
import { expectEnd, parseRelation } from "./parse-expression.ts";
import { peek, type Scanner, scan, take, UnparsableAnswer } from "./scanner.ts";

// Longer answers are not honest; they are compared as they are written.
const charactersMax = 2000;

/** A parsed answer: every way to read it, and its text with white space removed. No reading: the parser does not know it. */
export type ParsedAnswer = { readonly readings: readonly Expression[]; readonly plain: string };

/**
 * Reads an answer. `1,234` has two readings, a number and a list; most answers have one.
 * Text that is no known mathematics has none, and is compared by `plain` alone.
 */
export function parseAnswer(answer: string): ParsedAnswer {
  const text = answer.length > charactersMax ? answer.trim() : cleanAnswer(answer);
  const plain = text.replace(/\s+/g, "");
  if (text === "" || text.length > charactersMax) return { readings: [], plain };
  const readings = [readWhole(text, true)];
  if (/\d,\d{3}(?!\d)/.test(text)) readings.push(readWhole(text, false));
  return { readings: readings.filter((reading) => reading !== undefined), plain };
}

function readWhole(text: string, groupsDigits: boolean): Expression | undefined {
  try {
    const scanner = scan(unwrapText(text), groupsDigits);
    const items = parseItems(scanner).flatMap(bothSigns).map(workOutMatrices);
    expectEnd(scanner);
    const [only] = items;
    if (items.length === 1 && only) return only;
    return { kind: "sequence", open: "", close: "", items };
  } catch (error) {
    if (error instanceof UnparsableAnswer) return undefined;
    throw error;
  }
}

// An answer that is text as a whole is read as what the text says: \text{A, B}, \text{(E)}.
function unwrapText(text: string): string {
  const whole = /^\\(?:text|mathrm)\s*\{([^{}\\]*)\}[.,]?$/.exec(text)?.[1];
  if (whole === undefined) return text.replace(/,$/, "");
  return /,|\band\b/.test(whole) || !/[a-z]{2}/.test(whole) ? whole.trim() : text;
}

/** Items up to a closing bracket or the end. `separator` words need no commas around them. */
export function parseItems(scanner: Scanner): Expression[] {
  const items: Expression[] = [parseItem(scanner)];
  while (takeSeparator(scanner)) {
    if (/[)\]}]/.test(peek(scanner)) || peek(scanner) === "") break;
    items.push(parseItem(scanner));
  }
  return items;
}

function parseItem(scanner: Scanner): Expression {
  const item = parseRelation(scanner);
  return item.kind === "text" ? { kind: "text", text: wordsOf(item.text) } : item;
}

function takeSeparator(scanner: Scanner): boolean {
  const word =
    /\s*(?:\\(?:text|mathrm)\s*\{\s*,?\s*(?:and|or)\s*,?\s*\}|(?:and|or)(?![a-zA-Z])|\\(?:text|mathrm)\s*\{\s*,\s*\}|\\(?:land|lor|vee|wedge)(?![a-zA-Z]))\s*,?/y;
  if (take(scanner, /[,;]/y)) {
    take(scanner, word);
    return true;
  }
  return take(scanner, word) !== null;
}

/** `a \pm b` as both values; anything else as itself. Several signs in one item change together. */
function bothSigns(item: Expression): Expression[] {
  if (item.kind === "sequence" && item.open === "{") return [{ ...item, items: item.items.flatMap(bothSigns) }];
  if (!hasPlusMinus(item)) return [item];
  return [withSign(item, true), withSign(item, false)];
}

function hasPlusMinus(item: Expression): boolean {
  return (item.kind === "call" && item.name === "plusminus") || partsOf(item).some(hasPlusMinus);
}

function withSign(item: Expression, upper: boolean): Expression {
  const inner = (part: Expression) => withSign(part, upper);
  switch (item.kind) {
    case "call": {
      const args = item.args.map(inner);
      const [left, right] = args;
      if (item.name !== "plusminus" || !left || !right) return { ...item, args };
      return call("add", left, upper ? right : call("negate", right));
    }
    case "sequence":
      return { ...item, items: item.items.map(inner) };
    case "relation":
      return { ...item, items: item.items.map(inner) };
    case "matrix":
      return { ...item, rows: item.rows.map((row) => row.map(inner)) };
    case "quantity":
      return { ...item, value: inner(item.value) };
    default:
      return item;
  }
}
