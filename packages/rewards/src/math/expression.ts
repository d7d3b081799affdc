// What an answer means: the tree that the parser makes of LaTeX or plain text and that every comparison works on.
import type { Rational } from "./rational.ts";

/** Brackets of a sequence: a tuple or interval, a set, or a bare list (no brackets). */
export type Bracket = "(" | "[" | "{" | "" | ")" | "]" | "}";

export type Expression =
  /** `decimal`: written with a decimal point, so possibly rounded. */
  | { readonly kind: "number"; readonly value: Rational; readonly decimal: boolean }
  /** A variable or a constant: `x`, `x_1`, `AB`, `pi`, `e`, `i`, `infinity`, `Reals`, `emptyset`. */
  | { readonly kind: "symbol"; readonly name: string }
  /** Words, in lower case with single spaces. */
  | { readonly kind: "text"; readonly text: string }
  /** An operation or a function: add, multiply, divide, power, negate, root, sin, union, f … */
  | { readonly kind: "call"; readonly name: string; readonly args: readonly Expression[] }
  | {
      readonly kind: "sequence";
      readonly open: Bracket;
      readonly close: Bracket;
      readonly items: readonly Expression[];
    }
  | { readonly kind: "matrix"; readonly rows: readonly (readonly Expression[])[] }
  /** `a < b <= c`: one sign between two neighbours. */
  | { readonly kind: "relation"; readonly items: readonly Expression[]; readonly signs: readonly Sign[] }
  /** A number with a unit: words, `%`, `°` or `$`. */
  | { readonly kind: "quantity"; readonly value: Expression; readonly unit: string }
  /** Digits in a base: `1021_3`. */
  | { readonly kind: "based"; readonly digits: string; readonly base: number };

export type Sign = "=" | "<" | ">" | "<=" | ">=" | "!=" | "in" | "~";

export function number(numerator: bigint, denominator = 1n): Expression {
  return { kind: "number", value: { numerator, denominator }, decimal: false };
}

export function symbol(name: string): Expression {
  return { kind: "symbol", name };
}

export function call(name: string, ...args: readonly Expression[]): Expression {
  return { kind: "call", name, args };
}

/** The names that stand for one number or set wherever they appear. */
export const constants: ReadonlySet<string> = new Set(["pi", "e", "i", "infinity", "Reals", "Integers", "emptyset"]);

/** A text that is equal for equal trees only; the order of sums, products and sets counts. */
export function keyOf(expression: Expression): string {
  switch (expression.kind) {
    case "number":
      return `${expression.value.numerator}/${expression.value.denominator}`;
    case "symbol":
      return expression.name;
    case "text":
      return JSON.stringify(expression.text);
    case "call":
      return `${expression.name}(${expression.args.map(keyOf).join(",")})`;
    case "sequence":
      return `${expression.open || "<"}${expression.items.map(keyOf).join(",")}${expression.close || ">"}`;
    case "matrix":
      return `matrix(${expression.rows.map((row) => row.map(keyOf).join(",")).join(";")})`;
    case "relation":
      return expression.items.map((item, index) => `${keyOf(item)}${expression.signs[index] ?? ""}`).join("");
    case "quantity":
      return `${keyOf(expression.value)}[${expression.unit}]`;
    case "based":
      return `${expression.digits}_${expression.base}`;
  }
}

/** The direct parts of an expression. */
export function partsOf(expression: Expression): readonly Expression[] {
  switch (expression.kind) {
    case "call":
      return expression.args;
    case "sequence":
    case "relation":
      return expression.items;
    case "matrix":
      return expression.rows.flat();
    case "quantity":
      return [expression.value];
    default:
      return [];
  }
}

/** The variables in an expression: symbols that are no constants. */
export function variablesOf(expression: Expression, found: Set<string> = new Set()): Set<string> {
  if (expression.kind === "symbol" && !constants.has(expression.name)) found.add(expression.name);
  for (const part of partsOf(expression)) variablesOf(part, found);
  return found;
}

/** Whether some part of the expression (or the whole) is as asked. */
export function somePart(expression: Expression, is: (part: Expression) => boolean): boolean {
  return is(expression) || partsOf(expression).some((part) => somePart(part, is));
}
