// Sets of real numbers, however they are written: intervals, unions, inequalities, finite sets, ℝ without points.
import { call, type Expression, number, type Sign, symbol, variablesOf } from "./expression.ts";
import { valueAt } from "./floating.ts";
import { scalarOperationsMax } from "./scalar-equality.ts";

/** One interval of a set, or a point (both ends the same, both closed). */
export type Piece = {
  readonly low: Expression;
  readonly high: Expression;
  readonly lowClosed: boolean;
  readonly highClosed: boolean;
};

const infinity = symbol("infinity");
const minusInfinity = call("negate", infinity);
const everything: Piece = { low: minusInfinity, high: infinity, lowClosed: false, highClosed: false };

/** The pieces of a set of reals, or undefined where the expression is none. `variable` is what an inequality is about. */
export function realSet(expression: Expression): { pieces: readonly Piece[]; variable?: string } | undefined {
  if (expression.kind === "symbol" && expression.name === "Reals") return { pieces: [everything] };
  if (expression.kind === "symbol" && expression.name === "emptyset") return { pieces: [] };
  if (expression.kind === "relation") return fromRelation(expression);
  if (expression.kind === "sequence") return fromSequence(expression);
  if (expression.kind !== "call") return undefined;
  const [left, right] = expression.args.map(realSet);
  if (!left || !right) return undefined;
  if (expression.name === "union") return { pieces: [...left.pieces, ...right.pieces] };
  if (expression.name === "difference") return withoutPoints(left.pieces, right.pieces);
  return undefined;
}

function fromSequence(
  expression: Extract<Expression, { kind: "sequence" }>,
): { pieces: Piece[]; variable?: string } | undefined {
  const { open, close, items } = expression;
  if (open === "{") return { pieces: items.map(point) };
  if (open === "") return fromAlternatives(items);
  const [low, high] = items;
  if (!low || !high || items.length !== 2) return undefined;
  return { pieces: [{ low, high, lowClosed: open === "[", highClosed: close === "]" }] };
}

// `x < 2 or x > 5`: a list of inequalities about one variable.
function fromAlternatives(items: readonly Expression[]): { pieces: Piece[]; variable?: string } | undefined {
  const sets = items.map((item) => (item.kind === "relation" ? fromRelation(item) : undefined));
  const variable = sets[0]?.variable;
  if (variable === undefined || sets.some((set) => set?.variable !== variable)) return undefined;
  return { pieces: sets.flatMap((set) => set?.pieces ?? []), variable };
}

function point(item: Expression): Piece {
  return { low: item, high: item, lowClosed: true, highClosed: true };
}

function fromRelation({
  items,
  signs,
}: Extract<Expression, { kind: "relation" }>): { pieces: Piece[]; variable?: string } | undefined {
  const [first, second, third] = items;
  const [sign, next] = signs;
  if (!first || !second || !sign) return undefined;
  if (third && next && second.kind === "symbol" && items.length === 3)
    return between(first, sign, second.name, next, third);
  if (items.length !== 2) return undefined;
  if (first.kind === "symbol" && variablesOf(second).size === 0) {
    if (sign === "in") {
      const set = realSet(second);
      return set && { pieces: [...set.pieces], variable: first.name };
    }
    return oneSided(first.name, sign, second);
  }
  if (second.kind === "symbol" && variablesOf(first).size === 0) return oneSided(second.name, flipped(sign), first);
  return undefined;
}

/** The sign read from the other side. */
export function flipped(sign: Sign): Sign {
  const turned: Partial<Record<Sign, Sign>> = { "<": ">", ">": "<", "<=": ">=", ">=": "<=" };
  return turned[sign] ?? sign;
}

function oneSided(variable: string, sign: Sign, bound: Expression): { pieces: Piece[]; variable: string } | undefined {
  const below = (highClosed: boolean): Piece => ({ low: minusInfinity, high: bound, lowClosed: false, highClosed });
  const above = (lowClosed: boolean): Piece => ({ low: bound, high: infinity, lowClosed, highClosed: false });
  switch (sign) {
    case "<":
    case "<=":
      return { pieces: [below(sign === "<=")], variable };
    case ">":
    case ">=":
      return { pieces: [above(sign === ">=")], variable };
    case "!=":
      return { pieces: [below(false), above(false)], variable };
    default:
      return undefined;
  }
}

function between(
  first: Expression,
  sign: Sign,
  variable: string,
  next: Sign,
  third: Expression,
): { pieces: Piece[]; variable: string } | undefined {
  const isUp = /^<=?$/.test(sign) && /^<=?$/.test(next);
  const isDown = /^>=?$/.test(sign) && /^>=?$/.test(next);
  if (isUp)
    return { pieces: [{ low: first, high: third, lowClosed: sign === "<=", highClosed: next === "<=" }], variable };
  if (isDown)
    return { pieces: [{ low: third, high: first, lowClosed: next === ">=", highClosed: sign === ">=" }], variable };
  return undefined;
}

// ℝ \ {a, b}: the gaps between the points, in their order.
function withoutPoints(pieces: readonly Piece[], removed: readonly Piece[]): { pieces: Piece[] } | undefined {
  if (pieces.length !== 1 || pieces[0] !== everything) return undefined;
  const points = removed.map(({ low, high }) => (low === high ? { at: low, value: numericValue(low) } : undefined));
  const sorted: { at: Expression; value: number }[] = [];
  for (const found of points) {
    if (found?.value === undefined) return undefined;
    sorted.push({ at: found.at, value: found.value });
  }
  sorted.sort((a, b) => a.value - b.value);
  const ends = [minusInfinity, ...sorted.map(({ at }) => at), infinity];
  return {
    pieces: ends
      .slice(1)
      .map((high, index) => ({ low: ends[index] ?? number(0n), high, lowClosed: false, highClosed: false })),
  };
}

function numericValue(expression: Expression): number | undefined {
  const value = valueAt(expression, new Map(), false, { left: scalarOperationsMax });
  return value?.re;
}
