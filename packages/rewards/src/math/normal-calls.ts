// The normal form of operations and functions: powers and roots are opened as far as they are exact, the rest are atoms.

import type { Expression } from "./expression.ts";
import { factorise } from "./factorise.ts";
import {
  add,
  divide,
  multiply,
  NoNormalForm,
  type NormalContext,
  negate,
  normalForm,
  power,
  type Quotient,
  times,
  whole,
} from "./normal-form.ts";
import { BudgetSpent, spend } from "./operation-budget.ts";
import {
  atom,
  constant,
  constantOf,
  greatestCommonDivisor,
  multiplyRational,
  one,
  type Polynomial,
  polynomialKey,
  rational,
  singleTerm,
  termOf,
} from "./polynomial.ts";
import type { Rational } from "./rational.ts";

type Call = Extract<Expression, { kind: "call" }>;

/** The normal form of an operation or function of scalars. */
export function openCall({ name, args }: Call, context: NormalContext): Quotient {
  const [first, second] = args;
  if (!first) throw new NoNormalForm(name);
  if (name === "sum" || name === "prod") return opaque(name, args, context);
  const a = normalForm(first, context);
  if (name === "negate") return negate(a);
  if (!second) return openFunction(name, a, context);
  switch (name) {
    case "add":
      return add(a, normalForm(second, context), context);
    case "multiply":
      return times(a, normalForm(second, context), context);
    case "divide":
    case "ratio":
      return divide(a, normalForm(second, context), context);
    case "power":
      return raise(a, normalForm(second, context), context);
    case "root":
      return raise(a, divide(whole(one), normalForm(second, context), context), context);
    case "log":
      return divide(openFunction("ln", a, context), openFunction("ln", normalForm(second, context), context), context);
    case "binomial":
      return binomial(a, normalForm(second, context), context) ?? opaque(name, args, context);
    case "gcd":
    case "lcm":
      return divisors(name, args, context) ?? opaque(name, args, context);
    default:
      return opaque(name, args, context);
  }
}

// The greatest common divisor or least common multiple of whole numbers.
function divisors(name: "gcd" | "lcm", args: readonly Expression[], context: NormalContext): Quotient | undefined {
  let result: bigint | undefined;
  for (const part of args) {
    const value = constantValue(normalForm(part, context));
    if (value?.denominator !== 1n) return undefined;
    const next = value.numerator < 0n ? -value.numerator : value.numerator;
    if (result === undefined) result = next;
    else {
      const shared = greatestCommonDivisor(result, next);
      result = name === "gcd" ? shared : shared === 0n ? 0n : (result / shared) * next;
    }
  }
  return result === undefined ? undefined : whole(constant(rational(result)));
}

function openFunction(name: string, argument: Quotient, context: NormalContext): Quotient {
  const value = constantValue(argument);
  if (name === "exp") return raise(whole(atom("e")), argument, context);
  if (value && name === "abs")
    return whole(constant(value.numerator < 0n ? rational(-value.numerator, value.denominator) : value));
  if (value && name === "floor") return whole(constant(rational(floorOf(value))));
  if (value && name === "ceil")
    return whole(constant(rational(-floorOf(rational(-value.numerator, value.denominator)))));
  if (value && name === "factorial") return whole(constant(rational(factorial(value, context))));
  context.canonical = false;
  // Odd and even functions: the sign of the argument's first term is taken out.
  const flipped = (oddFunctions.has(name) || evenFunctions.has(name)) && leadsNegative(argument);
  const inner = flipped ? negate(argument) : argument;
  const result = whole(namedAtom(context, `${name}(${quotientKey(inner)})`));
  return flipped && oddFunctions.has(name) ? negate(result) : result;
}

const oddFunctions = new Set(["sin", "tan", "cot", "csc", "arcsin", "arctan", "sinh", "tanh"]);
const evenFunctions = new Set(["cos", "sec", "abs", "cosh"]);

function leadsNegative({ over }: Quotient): boolean {
  const [first] = [...over].sort(([x], [y]) => (x < y ? -1 : 1));
  return first !== undefined && first[1].coefficient.numerator < 0n;
}

// An atom named after what it holds. Names of nested powers double at every level, so their length counts as work.
function namedAtom(context: NormalContext, name: string, exponent: Rational = rational(1n)): Polynomial {
  spend(context.budget, name.length >> 3);
  return atom(name, exponent);
}

function opaque(name: string, args: readonly Expression[], context: NormalContext): Quotient {
  context.canonical = false;
  return whole(namedAtom(context, `${name}(${args.map((part) => quotientKey(normalForm(part, context))).join(";")})`));
}

function quotientKey({ over, under }: Quotient): string {
  const divisor = polynomialKey(under);
  return divisor === polynomialKey(one) ? polynomialKey(over) : `(${polynomialKey(over)})/(${divisor})`;
}

function constantValue({ over, under }: Quotient): Rational | undefined {
  return polynomialKey(under) === polynomialKey(one) ? constantOf(over) : undefined;
}

function floorOf({ numerator, denominator }: Rational): bigint {
  const quotient = numerator / denominator;
  return numerator < 0n && quotient * denominator !== numerator ? quotient - 1n : quotient;
}

const factorialMax = 3000n;

function factorial({ numerator, denominator }: Rational, context: NormalContext): bigint {
  if (denominator !== 1n || numerator < 0n) throw new NoNormalForm("a factorial of no whole number");
  if (numerator > factorialMax) throw new BudgetSpent("a large factorial");
  let product = 1n;
  for (let factor = 2n; factor <= numerator; factor++) product *= factor;
  spend(context.budget, Number(numerator));
  return product;
}

function binomial(above: Quotient, below: Quotient, context: NormalContext): Quotient | undefined {
  const n = constantValue(above);
  const k = constantValue(below);
  if (!n || !k || n.denominator !== 1n || k.denominator !== 1n || n.numerator < 0n) return undefined;
  if (k.numerator < 0n || k.numerator > n.numerator) return whole(constant(rational(0n)));
  if (n.numerator > 1000n) throw new BudgetSpent("a large binomial coefficient");
  let value = 1n;
  for (let index = 1n; index <= k.numerator; index++) value = (value * (n.numerator - k.numerator + index)) / index;
  spend(context.budget, Number(k.numerator));
  return whole(constant(rational(value)));
}

/** base^exponent: whole powers are worked out, roots of numbers go into primes, the rest into atoms. */
function raise(base: Quotient, exponent: Quotient, context: NormalContext): Quotient {
  const value = constantValue(exponent);
  if (value === undefined) return raiseToTerms(base, exponent, context);
  if (value.denominator === 1n) {
    const isSingle = singleTerm(base.over) !== undefined && polynomialKey(base.under) === polynomialKey(one);
    if (!isSingle) return wholePower(base, value.numerator, context);
  }
  return divide(raiseTerms(base.over, value, context), raiseTerms(base.under, value, context), context);
}

function wholePower(base: Quotient, exponent: bigint, context: NormalContext): Quotient {
  const size = exponent < 0n ? -exponent : exponent;
  const result = { over: power(base.over, size, context), under: power(base.under, size, context) };
  return exponent < 0n ? divide(whole(one), result, context) : result;
}

// One term is raised factor by factor; a sum under a root becomes an atom of its own.
function raiseTerms(base: Polynomial, exponent: Rational, context: NormalContext): Quotient {
  if (base.size === 0) {
    if (exponent.numerator <= 0n) throw new NoNormalForm("zero to a power that is not positive");
    return whole(base);
  }
  const term = singleTerm(base);
  if (term === undefined) return rootAtom(base, exponent, context);
  let result = raiseNumber(term.coefficient, exponent, context);
  for (const [name, inner] of term.powers) {
    const isEvenUnderEvenRoot = inner.numerator % 2n === 0n && exponent.denominator % 2n === 0n && !isPositive(name);
    // √(x²) is |x| and not x.
    const factor = isEvenUnderEvenRoot
      ? namedAtom(context, `abs(${name})`, multiplyRational(inner, exponent))
      : atom(name, multiplyRational(inner, exponent));
    if (isEvenUnderEvenRoot || (name === "i" && exponent.denominator !== 1n)) context.canonical = false;
    result = multiply(result, factor, context);
  }
  return whole(result);
}

function isPositive(name: string): boolean {
  return name.startsWith("#") || name === "pi" || name === "e" || name.startsWith("abs(");
}

function rootAtom(base: Polynomial, exponent: Rational, context: NormalContext): Quotient {
  context.canonical = false;
  const root = rational(1n, exponent.denominator);
  const name = `root${exponent.denominator}(${polynomialKey(base)})`;
  spend(context.budget, name.length >> 3);
  context.roots.set(name, base);
  const integer = exponent.numerator / exponent.denominator;
  const rest = exponent.numerator - integer * exponent.denominator;
  const fraction =
    rest === 0n ? one : atom(name, multiplyRational(root, rational(rest < 0n ? rest + exponent.denominator : rest)));
  const wholes = rest < 0n ? integer - 1n : integer;
  if (wholes >= 0n) return whole(multiply(fraction, power(base, wholes, context), context));
  return divide(whole(fraction), whole(power(base, -wholes, context)), context);
}

/** A rational number to a rational power, as primes to proper fractions; a negative one under an even root gives i. */
function raiseNumber(base: Rational, exponent: Rational, context: NormalContext): Polynomial {
  if (exponent.denominator === 1n && fitsPower(base, exponent.numerator))
    return constant(wholeRational(base, exponent.numerator));
  let result: Polynomial = one;
  if (base.numerator < 0n) result = raiseMinusOne(exponent, context);
  const parts: [bigint, Rational][] = [
    [base.numerator < 0n ? -base.numerator : base.numerator, exponent],
    [base.denominator, multiplyRational(exponent, rational(-1n))],
  ];
  for (const [value, power] of parts) {
    const { primes, isComplete } = factorise(value, context.budget);
    if (!isComplete) context.canonical = false;
    for (const [prime, count] of primes) {
      const raised = multiplyRational(power, rational(BigInt(count)));
      if (raised.denominator === 1n && !fitsPower(rational(prime), raised.numerator)) context.canonical = false;
      result = multiply(result, namedAtom(context, `#${prime}`, raised), context);
    }
  }
  return result;
}

function fitsPower({ numerator, denominator }: Rational, exponent: bigint): boolean {
  const size = Math.max(numerator.toString(16).length, denominator.toString(16).length) * 4;
  return (exponent < 0n ? -exponent : exponent) * BigInt(size) <= 20_000n;
}

function wholeRational({ numerator, denominator }: Rational, exponent: bigint): Rational {
  if (exponent >= 0n) return { numerator: numerator ** exponent, denominator: denominator ** exponent };
  return rational(denominator ** -exponent, numerator ** -exponent);
}

// Roots are real where the index is odd (∛-8 = -2), as people write them; √-1 is i.
function raiseMinusOne(exponent: Rational, context: NormalContext): Polynomial {
  if (exponent.denominator % 2n === 1n) return constant(rational(exponent.numerator % 2n === 0n ? 1n : -1n));
  if (exponent.denominator === 2n) return multiply(atom("i", rational(exponent.numerator)), one, context);
  throw new NoNormalForm("a root of a negative number");
}

// a^(p + q) = a^p · a^q, and numbers split into primes, so that 2^(n+1) is 2·2^n and 4^n is (2^n)^2.
function raiseToTerms(base: Quotient, exponent: Quotient, context: NormalContext): Quotient {
  const term = polynomialKey(base.under) === polynomialKey(one) ? singleTerm(base.over) : undefined;
  if (!term || polynomialKey(exponent.under) !== polynomialKey(one)) return opaquePower(base, exponent, context);
  const bases: (readonly [string, Rational])[] = [...term.powers];
  if (term.coefficient.numerator <= 0n) return opaquePower(base, exponent, context);
  for (const [value, sign] of [
    [term.coefficient.numerator, 1n],
    [term.coefficient.denominator, -1n],
  ] as const) {
    for (const [prime, count] of factorise(value, context.budget).primes)
      bases.push([`#${prime}`, rational(sign * BigInt(count))]);
  }
  context.canonical = false;
  let result = one;
  for (const { coefficient, powers } of exponent.over.values()) {
    for (const [name, inner] of bases) {
      const raised = multiplyRational(coefficient, inner);
      const factor =
        powers.length === 0
          ? atom(name, raised)
          : namedAtom(context, `pow(${name};${polynomialKey(termOf(rational(1n), powers))})`, raised);
      result = multiply(result, factor, context);
    }
  }
  return whole(result);
}

function opaquePower(base: Quotient, exponent: Quotient, context: NormalContext): Quotient {
  context.canonical = false;
  return whole(namedAtom(context, `power(${quotientKey(base)};${quotientKey(exponent)})`));
}
