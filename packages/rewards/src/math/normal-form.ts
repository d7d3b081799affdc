// The exact half of symbolic comparison: an expression as a quotient of polynomials, in which equal things look alike.
// Two equal normal forms prove equality; two different ones disprove it where the form is canonical.

import { type Expression, keyOf } from "./expression.ts";
import { openCall } from "./normal-calls.ts";
import { BudgetSpent, type OperationBudget } from "./operation-budget.ts";
import {
  addPolynomials,
  addRational,
  atom,
  bits,
  constant,
  constantOf,
  multiplyRational,
  multiplyRaw,
  one,
  type Polynomial,
  type Powers,
  polynomialKey,
  rational,
  scale,
  singleTerm,
  type Term,
  termOf,
} from "./polynomial.ts";
import type { Rational } from "./rational.ts";

/** A quotient of polynomials; the divisor is 1 or has several terms. */
export type Quotient = { readonly over: Polynomial; readonly under: Polynomial };

/** What is shared while one pair is brought into normal form. */
export type NormalContext = {
  readonly budget: OperationBudget;
  /** The polynomials under roots, by the name of their atom. */
  readonly roots: Map<string, Polynomial>;
  /** False once something was met that can be written in several ways: functions, nested roots, huge powers. */
  canonical: boolean;
};

/** A number has no value (a division by 0), or the expression is no number. */
export class NoNormalForm extends Error {
  override readonly name = "NoNormalForm";
}

// Larger powers of numbers stay powers: 2^2008 is worked out, 9^(9^9) is not.
const bitsMax = 20_000;

export function normalContext(budget: OperationBudget): NormalContext {
  return { budget, roots: new Map(), canonical: true };
}

/** The normal form of a scalar expression. Throws NoNormalForm, or BudgetSpent. */
export function normalForm(expression: Expression, context: NormalContext): Quotient {
  switch (expression.kind) {
    case "number":
      return whole(constant(expression.value));
    case "symbol":
      if (expression.name === "infinity" || expression.name === "...") throw new NoNormalForm(expression.name);
      return whole(atom(expression.name));
    case "call":
      return openCall(expression, context);
    case "quantity":
      return scaleQuotient(normalForm(expression.value, context), unitFactor(expression.unit), context);
    default:
      throw new NoNormalForm(keyOf(expression));
  }
}

// Inside an expression, 30° is an angle and 5% a fraction; other units are not part of the number.
function unitFactor(unit: string): Polynomial {
  if (unit === "°") return scale(atom("pi"), rational(1n, 180n));
  if (unit === "%") return constant(rational(1n, 100n));
  return one;
}

export function whole(over: Polynomial): Quotient {
  return { over, under: one };
}

function scaleQuotient(a: Quotient, factor: Polynomial, context: NormalContext): Quotient {
  return { over: multiply(a.over, factor, context), under: a.under };
}

export function add(a: Quotient, b: Quotient, context: NormalContext): Quotient {
  if (a.under === b.under || polynomialKey(a.under) === polynomialKey(b.under)) {
    return simplest(addPolynomials(a.over, b.over, context.budget), a.under, context);
  }
  const left = multiply(a.over, b.under, context);
  const right = multiply(b.over, a.under, context);
  return simplest(addPolynomials(left, right, context.budget), multiply(a.under, b.under, context), context);
}

export function negate(a: Quotient): Quotient {
  return { over: scale(a.over, rational(-1n)), under: a.under };
}

export function times(a: Quotient, b: Quotient, context: NormalContext): Quotient {
  return simplest(multiply(a.over, b.over, context), multiply(a.under, b.under, context), context);
}

export function divide(a: Quotient, b: Quotient, context: NormalContext): Quotient {
  if (b.over.size === 0) throw new NoNormalForm("a division by zero");
  return simplest(multiply(a.over, b.under, context), multiply(a.under, b.over, context), context);
}

// A divisor of one term is multiplied into the dividend, so that most divisors are 1.
function simplest(over: Polynomial, under: Polynomial, context: NormalContext): Quotient {
  const term = singleTerm(under);
  if (term === undefined) return { over, under };
  const inverse = termOf(
    rational(term.coefficient.denominator, term.coefficient.numerator),
    term.powers.map(([name, exponent]) => [name, multiplyRational(exponent, rational(-1n))] as const),
  );
  return whole(multiply(over, inverse, context));
}

/** The product with the rules of the atoms applied: i² = -1, whole powers of primes and roots worked out. */
export function multiply(a: Polynomial, b: Polynomial, context: NormalContext): Polynomial {
  if (a === one) return b;
  return b === one ? a : reduce(multiplyRaw(a, b, context.budget), context);
}

function reduce(product: Polynomial, context: NormalContext): Polynomial {
  let reduced: Polynomial | undefined;
  for (const [key, term] of product) {
    const open = term.powers.findIndex(([name, exponent]) => isReducible(name, exponent, context));
    if (open < 0) {
      if (reduced) reduced = addPolynomials(reduced, new Map([[key, term]]), context.budget);
      continue;
    }
    if (!reduced) reduced = new Map([...product].slice(0, [...product.keys()].indexOf(key)));
    reduced = addPolynomials(reduced, reduceTerm(term, open, context), context.budget);
  }
  return reduced ?? product;
}

function isReducible(name: string, exponent: Rational, context: NormalContext): boolean {
  if (name === "i") return exponent.denominator === 1n && (exponent.numerator < 0n || exponent.numerator > 1n);
  if (name.startsWith("#")) return !isProperFraction(exponent) && fits(name, exponent);
  return context.roots.has(name) && exponent.numerator >= exponent.denominator;
}

function isProperFraction({ numerator, denominator }: Rational): boolean {
  return numerator > 0n && numerator < denominator;
}

function fits(name: string, { numerator, denominator }: Rational): boolean {
  const integer = numerator / denominator;
  return (integer < 0n ? -integer : integer) * BigInt(bits(BigInt(name.slice(1)))) <= BigInt(bitsMax);
}

function floor({ numerator, denominator }: Rational): bigint {
  const quotient = numerator / denominator;
  return numerator < 0n && quotient * denominator !== numerator ? quotient - 1n : quotient;
}

function reduceTerm(term: Term, open: number, context: NormalContext): Polynomial {
  const [name, exponent] = term.powers[open] ?? ["", rational(0n)];
  const others: Powers = term.powers.filter((_, index) => index !== open);
  const integer = floor(exponent);
  const rest = addRational(exponent, rational(-integer));
  const left: Powers = rest.numerator === 0n ? [] : [[name, rest]];
  if (name === "i") {
    const quarter = ((integer % 4n) + 4n) % 4n;
    const value = quarter >= 2n ? rational(-1n) : rational(1n);
    const factor = termOf(multiplyRational(term.coefficient, value), others);
    return multiply(factor, quarter % 2n === 1n ? atom("i") : one, context);
  }
  const remaining = multiply(
    termOf(term.coefficient, others),
    left.length > 0 ? termOf(rational(1n), left) : one,
    context,
  );
  const root = context.roots.get(name);
  if (root) return multiply(remaining, power(root, integer, context), context);
  const prime = BigInt(name.slice(1));
  const value = integer >= 0n ? rational(prime ** integer) : rational(1n, prime ** -integer);
  return scale(remaining, value);
}

/** A polynomial to a whole power that is not negative. */
export function power(base: Polynomial, exponent: bigint, context: NormalContext): Polynomial {
  if (exponent > 4096n) throw new BudgetSpent("a large power");
  let result = one;
  for (let left = exponent, square = base; left > 0n; left >>= 1n) {
    if (left & 1n) result = multiply(result, square, context);
    if (left > 1n) square = multiply(square, square, context);
  }
  return result;
}

/** Whether two normal forms are the same value; undefined where they differ but may still be equal. */
export function sameNormalForm(a: Quotient, b: Quotient, context: NormalContext): boolean | undefined {
  const left = multiply(a.over, b.under, context);
  const right = multiply(b.over, a.under, context);
  const difference = addPolynomials(left, scale(right, rational(-1n)), context.budget);
  if (difference.size === 0) return true;
  return context.canonical ? false : undefined;
}

/**
 * The constant c with a = c·b, or undefined: equations and inequalities mean the same up to such a factor.
 * Only a rational c is found.
 */
export function proportion(a: Quotient, b: Quotient, context: NormalContext): Rational | undefined {
  const left = multiply(a.over, b.under, context);
  const right = multiply(b.over, a.under, context);
  const [key, first] = left.entries().next().value ?? [];
  const other = key === undefined ? undefined : right.get(key);
  if (!first || !other || left.size !== right.size) return undefined;
  const factor = multiplyRational(
    first.coefficient,
    rational(other.coefficient.denominator, other.coefficient.numerator),
  );
  const difference = addPolynomials(left, scale(right, multiplyRational(factor, rational(-1n))), context.budget);
  return difference.size === 0 ? factor : undefined;
}

/** The exact value of an expression that is a rational number, else undefined. */
export function rationalValue(expression: Expression, budget: OperationBudget): Rational | undefined {
  if (expression.kind === "number") return expression.value;
  try {
    const { over, under } = normalForm(expression, normalContext(budget));
    return polynomialKey(under) === polynomialKey(one) ? constantOf(over) : undefined;
  } catch (error) {
    if (error instanceof NoNormalForm) return undefined;
    throw error;
  }
}
