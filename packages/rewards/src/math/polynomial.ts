// Polynomials with exact rational coefficients over atoms with rational exponents: the arithmetic of normal-form.ts.
// Atoms are variables, the constants pi, e and i, primes under a root, and whatever the normal form cannot open.

import { type OperationBudget, spend } from "./operation-budget.ts";
import type { Rational } from "./rational.ts";

/** One product of atoms to exponents; the atoms in order of their names. */
export type Powers = readonly (readonly [atom: string, exponent: Rational])[];
export type Term = { readonly coefficient: Rational; readonly powers: Powers };
/** Terms by the key of their powers; no coefficient is 0. */
export type Polynomial = ReadonlyMap<string, Term>;

export const zero: Polynomial = new Map();
export const one: Polynomial = constant({ numerator: 1n, denominator: 1n });

/** a/b in lowest terms with a positive denominator. `denominator` must not be 0. */
export function rational(numerator: bigint, denominator = 1n): Rational {
  const divisor = greatestCommonDivisor(
    numerator < 0n ? -numerator : numerator,
    denominator < 0n ? -denominator : denominator,
  );
  const sign = denominator < 0n ? -1n : 1n;
  return { numerator: (sign * numerator) / divisor, denominator: (sign * denominator) / divisor };
}

/** The greatest common divisor of two numbers that are not negative; 1 where both are 0. */
export function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x === 0n ? 1n : x;
}

export function addRational(a: Rational, b: Rational): Rational {
  if (a.denominator === 1n && b.denominator === 1n) return { numerator: a.numerator + b.numerator, denominator: 1n };
  return rational(a.numerator * b.denominator + b.numerator * a.denominator, a.denominator * b.denominator);
}

export function multiplyRational(a: Rational, b: Rational): Rational {
  if (a.denominator === 1n && b.denominator === 1n) return { numerator: a.numerator * b.numerator, denominator: 1n };
  return rational(a.numerator * b.numerator, a.denominator * b.denominator);
}

export function constant(value: Rational): Polynomial {
  if (value.numerator === 0n) return zero;
  const lowest = rational(value.numerator, value.denominator);
  return new Map([["", { coefficient: lowest, powers: [] }]]);
}

export function atom(name: string, exponent: Rational = rational(1n)): Polynomial {
  const powers: Powers = [[name, exponent]];
  return new Map([[powersKey(powers), { coefficient: rational(1n), powers }]]);
}

function powersKey(powers: Powers): string {
  return powers.map(([name, { numerator, denominator }]) => `${name}^${numerator}/${denominator}`).join("*");
}

export function addPolynomials(a: Polynomial, b: Polynomial, budget: OperationBudget): Polynomial {
  spend(budget, a.size + b.size);
  const sum = new Map(a);
  for (const [key, term] of b) addTerm(sum, key, term);
  return sum;
}

function addTerm(sum: Map<string, Term>, key: string, term: Term): void {
  const present = sum.get(key);
  const coefficient = present ? addRational(present.coefficient, term.coefficient) : term.coefficient;
  if (coefficient.numerator === 0n) sum.delete(key);
  else sum.set(key, { coefficient, powers: term.powers });
}

export function scale(a: Polynomial, factor: Rational): Polynomial {
  if (factor.numerator === 0n) return zero;
  const scaled = new Map<string, Term>();
  for (const [key, { coefficient, powers }] of a) {
    scaled.set(key, { coefficient: multiplyRational(coefficient, factor), powers });
  }
  return scaled;
}

/** The product, without the rules of the atoms (i² = -1 and roots): see reducePowers in normal-form.ts. */
export function multiplyRaw(a: Polynomial, b: Polynomial, budget: OperationBudget): Polynomial {
  spend(budget, a.size * b.size);
  const product = new Map<string, Term>();
  for (const left of a.values()) {
    for (const right of b.values()) {
      const powers = joinPowers(left.powers, right.powers);
      const coefficient = multiplyRational(left.coefficient, right.coefficient);
      spend(budget, (powers.length >> 2) + (bits(coefficient.numerator) >> 10));
      addTerm(product, powersKey(powers), { coefficient, powers });
    }
  }
  return product;
}

/** How many bits a whole number has, about. */
export function bits(value: bigint): number {
  return value.toString(16).length * 4;
}

function joinPowers(a: Powers, b: Powers): Powers {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const joined = new Map(a);
  for (const [name, exponent] of b) {
    const present = joined.get(name);
    joined.set(name, present ? addRational(present, exponent) : exponent);
  }
  return [...joined].filter(([, exponent]) => exponent.numerator !== 0n).sort(([x], [y]) => (x < y ? -1 : 1));
}

/** The single term of a polynomial that has one, else undefined. */
export function singleTerm(a: Polynomial): Term | undefined {
  if (a.size !== 1) return undefined;
  const [term] = a.values();
  return term;
}

/** The value of a polynomial without atoms, else undefined. */
export function constantOf(a: Polynomial): Rational | undefined {
  if (a.size === 0) return rational(0n);
  const term = singleTerm(a);
  return term && term.powers.length === 0 ? term.coefficient : undefined;
}

export function termOf(coefficient: Rational, powers: Powers): Polynomial {
  if (coefficient.numerator === 0n) return zero;
  return new Map([[powersKey(powers), { coefficient, powers }]]);
}

/** A text that is equal for equal polynomials only. */
export function polynomialKey(a: Polynomial): string {
  return [...a]
    .map(([key, { coefficient }]) => `${coefficient.numerator}/${coefficient.denominator}*${key}`)
    .sort()
    .join("+");
}
