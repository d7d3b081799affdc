// The typed comparison of the mode `strict`: what kind of thing the gold answer is decides how it is compared. It errs
// towards "different": brackets count, units must not contradict, decimals are exact.
import { call, type Expression, keyOf, somePart, variablesOf } from "./expression.ts";
import { distinct, matchesAll } from "./matching.ts";
import { flipped, type Piece, realSet } from "./real-sets.ts";
import { proportionOf, rationalOf } from "./scalar-equality.ts";

/** Whether two scalars are equal. Comparisons only ever ask, and more "yes" never turns a "yes" into a "no". */
export type ScalarEqual = (a: Expression, b: Expression) => boolean;

// Matching is quadratic; no honest list is longer.
const itemsMax = 100;

/** Whether two answers mean the same. */
export function equalStrictly(gold: Expression, given: Expression, equal: ScalarEqual): boolean {
  if (keyOf(gold) === keyOf(given)) return true;
  if (isTilde(gold) || isTilde(given))
    return equalStrictly(withoutApproximation(gold), withoutApproximation(given), equal);
  if (gold.kind === "relation" || given.kind === "relation") return equalRelations(gold, given, equal);
  if (gold.kind === "quantity" || given.kind === "quantity") return equalQuantities(gold, given, equal);
  if (gold.kind === "sequence" && given.kind === "sequence") return equalSequences(gold, given, equal);
  if (isSet(gold) && isSet(given)) return equalSets(gold, given, equal);
  if (gold.kind === "matrix" && given.kind === "matrix") {
    return equalRows(gold.rows, given.rows, (a, b) => equalInOrder(a, b, equal));
  }
  if (gold.kind === "based" || given.kind === "based") return equalBased(gold, given);
  if (gold.kind === "text" || given.kind === "text")
    return spelled(gold) !== undefined && spelled(gold) === spelled(given);
  return equal(gold, given);
}

// `a ≈ b` is about a.
function isTilde(expression: Expression): boolean {
  return expression.kind === "relation" && expression.signs.includes("~");
}

/** The expression up to the first "approximately equal". */
export function withoutApproximation(expression: Expression): Expression {
  if (expression.kind !== "relation") return expression;
  const end = expression.signs.indexOf("~");
  if (end < 0) return expression;
  const items = expression.items.slice(0, end + 1);
  const [only] = items;
  return items.length === 1 && only ? only : { ...expression, items, signs: expression.signs.slice(0, end) };
}

/** What a variable is said to be: the label and the value of `x = 5`, `f(x) = …`, `(p, q) = (3, 2)`, `x \in S`. */
export function assignment(expression: Expression): { label: Expression; value: Expression } | undefined {
  if (expression.kind !== "relation" || !expression.signs.every((sign) => sign === "=" || sign === "in"))
    return undefined;
  const [label] = expression.items;
  const value = expression.items.at(-1);
  return label && value && isLabel(label) ? { label, value } : undefined;
}

function isLabel(expression: Expression): boolean {
  if (expression.kind === "symbol" || expression.kind === "text") return true;
  if (expression.kind === "sequence") return expression.items.every(isLabel);
  if (expression.kind !== "call") return false;
  // f(x), P(x) read as a product, V_1 : V_2.
  if (/^[a-zA-Z]$/.test(expression.name) || expression.name === "ratio") return expression.args.every(isLabel);
  const [left, right] = expression.args;
  return (
    expression.name === "multiply" &&
    left?.kind === "symbol" &&
    /^[A-Za-z]$/.test(left.name) &&
    right?.kind === "symbol"
  );
}

function equalRelations(gold: Expression, given: Expression, equal: ScalarEqual): boolean {
  const [goldSet, givenSet] = [realSet(gold), realSet(given)];
  if (goldSet && givenSet) {
    const isSameVariable =
      goldSet.variable === undefined || givenSet.variable === undefined || goldSet.variable === givenSet.variable;
    return isSameVariable && equalPieces(goldSet.pieces, givenSet.pieces, equal);
  }
  const [goldValue, givenValue] = [assignment(gold), assignment(given)];
  if (gold.kind === "relation" && given.kind === "relation") {
    if (goldValue && givenValue && keyOf(goldValue.label) === keyOf(givenValue.label)) {
      return equalStrictly(goldValue.value, givenValue.value, equal);
    }
    return equalEquations(gold, given, equal);
  }
  if (given.kind === "relation") return equalsChain(gold, given, equal);
  return goldValue !== undefined && equalStrictly(goldValue.value, given, equal);
}

// `x = 5`, or a calculation `2 + 3 = 5` without variables, against a bare gold answer.
function equalsChain(gold: Expression, given: Extract<Expression, { kind: "relation" }>, equal: ScalarEqual): boolean {
  const assigned = assignment(given);
  if (assigned) return equalStrictly(gold, assigned.value, equal);
  const last = given.items.at(-1);
  if (!last || !given.signs.every((sign) => sign === "=") || variablesOf(given).size > 0) return false;
  return given.items.slice(1).every((item) => equal(given.items[0] ?? item, item)) && equalStrictly(gold, last, equal);
}

/** Equations and inequalities with all terms on one side, up to a factor: positive, or negative with the sign turned. */
export function equalEquations(gold: Expression, given: Expression, equal: ScalarEqual): boolean {
  if (gold.kind !== "relation" || given.kind !== "relation" || gold.signs.length !== given.signs.length) return false;
  const [goldLeft, goldRight] = gold.items;
  const [givenLeft, givenRight] = given.items;
  const [sign] = gold.signs;
  const [givenSign] = given.signs;
  if (gold.signs.length > 1 || !goldLeft || !goldRight || !givenLeft || !givenRight || !sign || !givenSign) {
    return sameSigns(gold.signs, given.signs) && equalInOrder(gold.items, given.items, equal);
  }
  if (sign === givenSign && equalInOrder(gold.items, given.items, equal)) return true;
  const factor = proportionOf(difference(givenLeft, givenRight), difference(goldLeft, goldRight));
  if (!factor) return false;
  return givenSign === (factor.numerator < 0n ? flipped(sign) : sign);
}

function difference(a: Expression, b: Expression): Expression {
  return call("add", a, call("negate", b));
}

function sameSigns(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((sign, index) => sign === b[index]);
}

// A missing unit is no contradiction; two units must be the same, but 50% is also 1/2 and 180° also π.
function equalQuantities(gold: Expression, given: Expression, equal: ScalarEqual): boolean {
  const [goldUnit, givenUnit] = [unitOf(gold), unitOf(given)];
  if (goldUnit !== undefined && givenUnit !== undefined && goldUnit !== givenUnit) return false;
  if (equalStrictly(bareValue(gold), bareValue(given), equal)) return true;
  const isNumber = (unit: string | undefined) => unit === "%" || unit === "°";
  return goldUnit !== givenUnit && (isNumber(goldUnit) || isNumber(givenUnit)) && equal(gold, given);
}

function unitOf(expression: Expression): string | undefined {
  return expression.kind === "quantity" ? expression.unit : undefined;
}

function bareValue(expression: Expression): Expression {
  return expression.kind === "quantity" ? expression.value : expression;
}

type Sequence = Extract<Expression, { kind: "sequence" }>;

function equalSequences(gold: Sequence, given: Sequence, equal: ScalarEqual): boolean {
  if (gold.items.length > itemsMax || given.items.length > itemsMax) return false;
  const isUnordered = (sequence: Sequence) => sequence.open === "" || sequence.open === "{";
  if (isUnordered(gold) && isUnordered(given)) return equalLists(gold.items, given.items, equal);
  if (gold.open !== given.open || gold.close !== given.close) return false;
  return equalInOrder(gold.items, given.items, equal);
}

// The order of a list does not count, unless labels on one side alone say what is what: AB = 9, CD = 4 against 9, 4.
function equalLists(gold: readonly Expression[], given: readonly Expression[], equal: ScalarEqual): boolean {
  const [goldLabels, givenLabels] = [gold.every((item) => assignment(item)), given.every((item) => assignment(item))];
  if (goldLabels !== givenLabels && variety(goldLabels ? gold : given) > 1) return equalInOrder(gold, given, equal);
  return matchesAll(distinct(gold, keyOf), distinct(given, keyOf), (a, b) => equalStrictly(a, b, equal));
}

function variety(items: readonly Expression[]): number {
  return new Set(items.map((item) => keyOf(assignment(item)?.label ?? item))).size;
}

function equalInOrder(a: readonly Expression[], b: readonly Expression[], equal: ScalarEqual): boolean {
  return equalRows(a, b, (x, y) => equalStrictly(x, y, equal));
}

function equalRows<T>(a: readonly T[], b: readonly T[], equal: (a: T, b: T) => boolean): boolean {
  return (
    a.length === b.length && a.every((item, index) => b.slice(index, index + 1).some((other) => equal(item, other)))
  );
}

function isSet(expression: Expression): boolean {
  if (expression.kind === "symbol") return expression.name === "Reals" || expression.name === "emptyset";
  if (expression.kind === "sequence") return true;
  return expression.kind === "call" && /^(?:union|intersection|difference)$/.test(expression.name);
}

function equalSets(gold: Expression, given: Expression, equal: ScalarEqual): boolean {
  const [goldSet, givenSet] = [realSet(gold), realSet(given)];
  if (goldSet && givenSet) return equalPieces(goldSet.pieces, givenSet.pieces, equal);
  if (gold.kind !== "call" || given.kind !== "call" || gold.name !== given.name) return false;
  return equalInOrder(gold.args, given.args, equal);
}

/** Whether two sets have the same intervals and points, in any order. */
export function equalPieces(gold: readonly Piece[], given: readonly Piece[], equal: ScalarEqual): boolean {
  if (gold.length > itemsMax || given.length > itemsMax) return false;
  const key = (piece: Piece) => `${piece.lowClosed}${keyOf(piece.low)},${keyOf(piece.high)}${piece.highClosed}`;
  return matchesAll(
    distinct(gold, key),
    distinct(given, key),
    (a, b) =>
      a.lowClosed === b.lowClosed &&
      a.highClosed === b.highClosed &&
      equalStrictly(a.low, b.low, equal) &&
      equalStrictly(a.high, b.high, equal),
  );
}

// The same digits in the same base; a base that is not written is taken to be the one asked for.
function equalBased(gold: Expression, given: Expression): boolean {
  if (gold.kind === "based" && given.kind === "based") return gold.base === given.base && gold.digits === given.digits;
  const [based, plain] = gold.kind === "based" ? [gold, given] : [given, gold];
  if (based.kind !== "based") return false;
  if (plain.kind === "symbol") return plain.name === based.digits;
  const value = plain.kind === "number" ? rationalOf(plain) : undefined;
  return value !== undefined && value.denominator === 1n && value.numerator.toString() === based.digits;
}

/** The letters of words, of a symbol or of a product of symbols, in lower case; undefined for anything else. */
export function spelled(expression: Expression): string | undefined {
  if (expression.kind === "text") return expression.text.replace(/[^\p{L}\p{N}]/gu, "").toLowerCase();
  if (expression.kind === "symbol") return expression.name.toLowerCase();
  if (expression.kind !== "call" || expression.name !== "multiply") return undefined;
  if (somePart(expression, ({ kind }) => kind !== "symbol" && kind !== "call" && kind !== "text")) return undefined;
  const parts = expression.args.map(spelled);
  return parts.every((part) => part !== undefined) ? parts.join("") : undefined;
}
