// The comparison of the mode `mathverify`: Math-Verify's conventions. Decimals are rounded, a unit never counts, tuples,
// lists and sets meet each other, and the form of the gold answer says how much of the given one is looked at.
import {
  assignment,
  equalEquations,
  equalPieces,
  type ScalarEqual,
  spelled,
  withoutApproximation,
} from "./compare-strict.ts";
import { call, constants, type Expression, keyOf, number, variablesOf } from "./expression.ts";
import { valueAt } from "./floating.ts";
import { distinct, matchesAll } from "./matching.ts";
import { realSet } from "./real-sets.ts";
import { rationalOf } from "./scalar-equality.ts";

export type MathVerifyRules = {
  /** Decimal places to which a decimal and its counterpart are rounded. */
  readonly places: number;
  /** Whether a given relation may be the set that it describes; a gold relation always may. */
  readonly allowSetRelation: boolean;
  /** Whether the names of variables count. */
  readonly namesCount: boolean;
};

export const mathVerifyRules: MathVerifyRules = { places: 6, allowSetRelation: false, namesCount: true };

const itemsMax = 100;

/** Whether the given answer counts as the gold one; not symmetric. */
export function equalLoosely(gold: Expression, given: Expression, rules: MathVerifyRules, equal: ScalarEqual): boolean {
  const renamed = rules.namesCount ? given : rename(given, gold);
  const loose: ScalarEqual = (a, b) => equalScalars(a, b, rules.places, equal);
  return compare(bare(gold), bare(renamed), rules, loose);
}

// Units and bases go, a percent sign divides by 100, names lose their case, ≈ ends the answer, `x ∈ S` is S.
function bare(expression: Expression): Expression {
  switch (expression.kind) {
    case "symbol":
      return constants.has(expression.name) ? expression : { ...expression, name: expression.name.toLowerCase() };
    case "based":
      return /^\d+$/.test(expression.digits) ? number(BigInt(expression.digits)) : expression;
    case "quantity":
      return expression.unit === "%" ? call("divide", bare(expression.value), number(100n)) : bare(expression.value);
    case "call":
      return { ...expression, args: expression.args.map(bare) };
    case "sequence":
      return { ...expression, items: expression.items.map(bare) };
    case "matrix":
      return { ...expression, rows: expression.rows.map((row) => row.map(bare)) };
    case "relation": {
      const exact = withoutApproximation(expression);
      if (exact.kind !== "relation") return bare(exact);
      const set = exact.signs[0] === "in" ? exact.items[1] : undefined;
      return set ? bare(set) : { ...exact, items: exact.items.map(bare) };
    }
    default:
      return expression;
  }
}

function rename(given: Expression, gold: Expression): Expression {
  const [from, to] = [[...variablesOf(given)].sort(), [...variablesOf(gold)].sort()];
  if (from.length !== to.length) return given;
  const names = new Map(from.map((name, index) => [name, to[index] ?? name]));
  const change = (part: Expression): Expression => {
    switch (part.kind) {
      case "symbol":
        return { ...part, name: names.get(part.name) ?? part.name };
      case "call":
        return { ...part, args: part.args.map(change) };
      case "sequence":
      case "relation":
        return { ...part, items: part.items.map(change) };
      default:
        return part;
    }
  };
  return change(given);
}

function isEquation(expression: Expression): expression is Extract<Expression, { kind: "relation" }> {
  return expression.kind === "relation" && expression.signs.every((sign) => sign === "=");
}

function compare(gold: Expression, given: Expression, rules: MathVerifyRules, equal: ScalarEqual): boolean {
  if (isEquation(given) && !isEquation(gold)) return compare(gold, given.items.at(-1) ?? given, rules, equal);
  if (!isEquation(given)) {
    const assigned = isEquation(gold) ? assignment(gold) : undefined;
    if (assigned) return compare(assigned.value, given, rules, equal);
  }
  if (keyOf(gold) === keyOf(given)) return true;
  if (gold.kind === "relation" && given.kind === "relation") return compareRelations(gold, given, rules, equal);
  if (gold.kind === "relation" || given.kind === "relation") {
    if (given.kind === "relation" && !rules.allowSetRelation) return false;
    const [a, b] = [realSet(gold), realSet(given)];
    return (
      a !== undefined &&
      b !== undefined &&
      isSetLike(gold.kind === "relation" ? given : gold) &&
      equalPieces(a.pieces, b.pieces, equal)
    );
  }
  if (isSetLike(gold) || isSetLike(given)) return compareSets(gold, given, rules, equal);
  if (gold.kind === "matrix" && given.kind === "matrix") {
    const isSameShape = gold.rows.length === given.rows.length;
    return isSameShape && gold.rows.every((row, index) => inOrder(row, given.rows[index] ?? [], rules, equal));
  }
  if (isNamed(gold) || isNamed(given)) return sameName(gold, given);
  return equal(gold, given);
}

function compareRelations(
  gold: Extract<Expression, { kind: "relation" }>,
  given: Extract<Expression, { kind: "relation" }>,
  rules: MathVerifyRules,
  equal: ScalarEqual,
): boolean {
  const [a, b] = [realSet(gold), realSet(given)];
  if (a && b && a.variable === b.variable && equalPieces(a.pieces, b.pieces, equal)) return true;
  const [goldValue, givenValue] = [assignment(gold), assignment(given)];
  if (goldValue && givenValue && keyOf(goldValue.label) === keyOf(givenValue.label)) {
    return compare(goldValue.value, givenValue.value, rules, equal);
  }
  const [x, y] = [shortened(gold), shortened(given)];
  return equalEquations(x, y, equal);
}

// An assignment's chain `x = a = b` is x = b.
function shortened(relation: Extract<Expression, { kind: "relation" }>): Expression {
  const assigned = isEquation(relation) ? assignment(relation) : undefined;
  return assigned ? { kind: "relation", items: [assigned.label, assigned.value], signs: ["="] } : relation;
}

function isSetLike(expression: Expression): boolean {
  if (expression.kind === "sequence") return true;
  if (expression.kind === "symbol") return expression.name === "Reals" || expression.name === "emptyset";
  return expression.kind === "call" && /^(?:union|intersection|difference)$/.test(expression.name);
}

type Collection = { readonly items: readonly Expression[]; readonly isOrdered: boolean; readonly closed: boolean };

// A scalar is the set of itself. `closed`: square brackets at an end, so an interval that is no pair.
function collection(expression: Expression): Collection | undefined {
  if (expression.kind !== "sequence")
    return isSetLike(expression) ? undefined : { items: [expression], isOrdered: false, closed: false };
  const isOrdered = expression.open === "(" || expression.open === "[";
  // Mixed brackets make an interval of two items and nothing of more.
  if (isOrdered && expression.items.length !== 2 && (expression.open === "(") !== (expression.close === ")"))
    return undefined;
  const closed = isOrdered && expression.items.length === 2 && (expression.open === "[" || expression.close === "]");
  return { items: expression.items, isOrdered, closed };
}

function compareSets(gold: Expression, given: Expression, rules: MathVerifyRules, equal: ScalarEqual): boolean {
  const [a, b] = [collection(gold), collection(given)];
  if (!a || !b || a.closed || b.closed) {
    const [x, y] = [realSet(gold), realSet(given)];
    return x !== undefined && y !== undefined && equalPieces(x.pieces, y.pieces, equal);
  }
  if (a.items.length > itemsMax || b.items.length > itemsMax) return false;
  if (a.isOrdered) return inOrder(a.items, b.isOrdered ? b.items : distinct(b.items, keyOf), rules, equal);
  return matchesAll(distinct(a.items, keyOf), distinct(b.items, keyOf), (x, y) => compare(x, y, rules, equal));
}

function inOrder(
  a: readonly Expression[],
  b: readonly Expression[],
  rules: MathVerifyRules,
  equal: ScalarEqual,
): boolean {
  return a.length === b.length && a.every((item, index) => compare(item, b[index] ?? item, rules, equal));
}

function isNamed(expression: Expression): boolean {
  return expression.kind === "text" || (expression.kind === "symbol" && !constants.has(expression.name));
}

// Names match in any case, and as products of their letters; e is e in any font and case.
function sameName(gold: Expression, given: Expression): boolean {
  const name = spelled(gold);
  return name !== undefined && name === spelled(given);
}

function equalScalars(a: Expression, b: Expression, places: number, equal: ScalarEqual): boolean {
  if (isDecimal(a) || isDecimal(b)) {
    const [x, y] = [roundedTo(a, places), roundedTo(b, places)];
    return x !== undefined && x === y;
  }
  return equal(a, b);
}

// A number with a decimal point, or one with a percent sign: the only ones that are compared rounded.
function isDecimal(expression: Expression): boolean {
  if (expression.kind === "number") return expression.decimal;
  if (expression.kind !== "call" || expression.name !== "divide") return false;
  const [above, below] = expression.args;
  return above?.kind === "number" && above.decimal && below?.kind === "number" && below.value.numerator === 100n;
}

function roundedTo(expression: Expression, places: number): bigint | undefined {
  const exact = rationalOf(expression);
  const scale = 10n ** BigInt(places);
  if (exact) return roundHalfEven(exact.numerator * scale, exact.denominator);
  if (variablesOf(expression).size > 0) return undefined;
  const value = valueAt(expression, new Map(), false, { left: 10_000 });
  if (!value || Math.abs(value.re) > 1e15 / Number(scale)) return undefined;
  return BigInt(Math.round(value.re * Number(scale)));
}

function roundHalfEven(numerator: bigint, denominator: bigint): bigint {
  const [above, below] = denominator < 0n ? [-numerator, -denominator] : [numerator, denominator];
  const low = above >= 0n ? above / below : -((-above + below - 1n) / below);
  const twice = 2n * (above - low * below);
  if (twice !== below) return twice > below ? low + 1n : low;
  return low % 2n === 0n ? low : low + 1n;
}
