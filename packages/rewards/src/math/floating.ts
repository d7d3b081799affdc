// The fast half of numeric comparison: both expressions in doubles with error bounds, at fixed points. It can only show
// that two expressions differ; that they are equal is shown exactly (normal-form.ts) or at 50 digits (symbolic-worker.ts).
import {
  type Complex,
  complex,
  exponential,
  inverse,
  isReal,
  logarithm,
  minus,
  plus,
  product,
  raised,
  size,
} from "./complex.ts";
import { constants, type Expression, somePart, variablesOf } from "./expression.ts";
import { type OperationBudget, spend } from "./operation-budget.ts";

/** Values of variables by name. */
export type Point = ReadonlyMap<string, number>;

/** Thrown where an expression has no value that doubles can hold. */
class NoValue extends Error {
  override readonly name = "NoValue";
}

/** Points for the variables: positive, of mixed sign, and whole; the same for the same names, on every machine. */
export function probePoints(variables: ReadonlySet<string>): readonly Point[] {
  if (variables.size === 0) return [new Map()];
  const names = [...variables].sort();
  const fractional = [0, 1, 2, 3].map((round) => new Map(names.map((name, index) => [name, fractionAt(index, round)])));
  const whole = [0, 1].map((round) => new Map(names.map((name, index) => [name, 3 + ((index * 2 + round * 3) % 7)])));
  return [...fractional, ...whole];
}

// Multiples of the golden ratio, rounded to 1/1024 so that they are exact in doubles and in decimal notation.
function fractionAt(index: number, round: number): number {
  const place = ((index + 1) * 0.6180339887 + (round + 1) * 0.7548776662) % 1;
  const magnitude = Math.round((0.3 + 2.2 * place) * 1024) / 1024;
  const isNegative = round >= 2 && (index + round) % 2 === 0;
  return isNegative ? -magnitude : magnitude;
}

/** Whether values may leave the real line: only where no variable could be the reason. */
export function mayBeComplex(a: Expression, b: Expression): boolean {
  const hasI = (part: Expression) => part.kind === "symbol" && part.name === "i";
  if (somePart(a, hasI) || somePart(b, hasI)) return true;
  return variablesOf(a).size === 0 && variablesOf(b).size === 0;
}

/**
 * "different" where the values differ by more than their rounding errors at some point, "close" where they agree at
 * two points (or at the only one), undefined where there are no values to compare.
 */
export function probe(a: Expression, b: Expression, budget: OperationBudget): "different" | "close" | undefined {
  const points = probePoints(variablesOf(b, variablesOf(a)));
  const complexAllowed = mayBeComplex(a, b);
  let agreed = 0;
  for (const point of points) {
    const left = valueAt(a, point, complexAllowed, budget);
    const right = valueAt(b, point, complexAllowed, budget);
    if (!left || !right) continue;
    const difference = Math.hypot(left.re - right.re, left.im - right.im);
    const tolerance = 64 * (left.error + right.error) + 1e-13 * Math.max(size(left), size(right));
    if (!(difference <= tolerance)) return "different";
    agreed++;
  }
  return agreed >= Math.min(2, points.length) ? "close" : undefined;
}

/** The value of an expression in doubles, or undefined. */
export function valueAt(
  expression: Expression,
  point: Point,
  complexAllowed: boolean,
  budget: OperationBudget,
): Complex | undefined {
  const compute = (part: Expression): Complex => {
    spend(budget, 1);
    const value = partValue(part, point, compute);
    if (!value || !Number.isFinite(value.re) || !Number.isFinite(value.im) || !Number.isFinite(value.error))
      throw new NoValue();
    if (!complexAllowed && !isReal(value)) throw new NoValue();
    return value;
  };
  try {
    return compute(expression);
  } catch (error) {
    if (error instanceof NoValue) return undefined;
    throw error;
  }
}

function partValue(part: Expression, point: Point, compute: (part: Expression) => Complex): Complex | undefined {
  switch (part.kind) {
    case "number":
      return complex(quotient(part.value.numerator, part.value.denominator));
    case "symbol":
      return symbolValue(part.name, point);
    case "quantity":
      return product(compute(part.value), complex(part.unit === "°" ? Math.PI / 180 : part.unit === "%" ? 0.01 : 1));
    case "call":
      return callValue(part.name, part.args, compute);
    default:
      return undefined;
  }
}

// Numbers of any length, to the nearest double or so.
function quotient(numerator: bigint, denominator: bigint): number {
  const direct = Number(numerator) / Number(denominator);
  if (Number.isFinite(direct) && (direct !== 0 || numerator === 0n)) return direct;
  return Number((numerator << 64n) / denominator) / 2 ** 64;
}

function symbolValue(name: string, point: Point): Complex | undefined {
  if (name === "pi") return complex(Math.PI);
  if (name === "e") return complex(Math.E);
  if (name === "i") return complex(0, 1);
  const value = constants.has(name) ? undefined : point.get(name);
  return value === undefined ? undefined : complex(value);
}

function callValue(
  name: string,
  args: readonly Expression[],
  compute: (part: Expression) => Complex,
): Complex | undefined {
  const [first, second] = args;
  if (!first || name === "sum" || name === "prod") return undefined;
  const a = compute(first);
  if (!second) return name === "negate" ? minus(a) : functionValue(name, a);
  const b = compute(second);
  switch (name) {
    case "add":
      return plus(a, b);
    case "multiply":
      return product(a, b);
    case "divide":
    case "ratio": {
      const under = inverse(b);
      return under && product(a, under);
    }
    case "power":
      return power(a, b);
    case "root": {
      const index = inverse(b);
      return index && power(a, index, b.im === 0 && Number.isInteger(b.re) ? b.re : undefined);
    }
    case "log": {
      const [above, below] = [logarithm(a), logarithm(b)];
      const under = below && inverse(below);
      return above && under && product(above, under);
    }
    case "binomial":
      return binomial(a, b);
    case "max":
    case "min": {
      if (args.length !== 2 || !isReal(a) || !isReal(b)) return undefined;
      return a.re > b.re === (name === "max") ? a : b;
    }
    default:
      return undefined;
  }
}

// Odd roots of negative numbers are real, as in the normal form; p/3 is recognised by its nearest small fraction.
function power(base: Complex, exponent: Complex, index?: number): Complex | undefined {
  const root = index ?? oddDenominator(exponent);
  if (root !== undefined && Math.abs(root) % 2 === 1 && isReal(base) && base.re < 0) {
    const value = raised(minus(base), exponent);
    const isOdd = Math.round(exponent.re * root) % 2 !== 0;
    return value && (isOdd ? minus(value) : value);
  }
  return raised(base, exponent);
}

function oddDenominator(exponent: Complex): number | undefined {
  if (exponent.im !== 0 || Number.isInteger(exponent.re)) return undefined;
  return [3, 5, 7, 9].find((below) => Math.abs(exponent.re * below - Math.round(exponent.re * below)) < 1e-12);
}

const realFunctions: ReadonlyMap<string, (x: number) => number> = new Map([
  ["sin", Math.sin],
  ["cos", Math.cos],
  ["tan", Math.tan],
  ["cot", (x) => 1 / Math.tan(x)],
  ["sec", (x) => 1 / Math.cos(x)],
  ["csc", (x) => 1 / Math.sin(x)],
  ["sinh", Math.sinh],
  ["cosh", Math.cosh],
  ["tanh", Math.tanh],
  ["coth", (x) => 1 / Math.tanh(x)],
  ["arcsin", Math.asin],
  ["arccos", Math.acos],
  ["arctan", Math.atan],
  ["arccot", (x) => Math.PI / 2 - Math.atan(x)],
  ["arcsec", (x) => Math.acos(1 / x)],
  ["arccsc", (x) => Math.asin(1 / x)],
  ["arcsinh", Math.asinh],
  ["arccosh", Math.acosh],
  ["arctanh", Math.atanh],
]);

function functionValue(name: string, a: Complex): Complex | undefined {
  if (name === "ln") return logarithm(a);
  if (name === "exp") return exponential(a);
  if (name === "abs") return complex(size(a), 0, a.error);
  if (name === "re") return complex(a.re, 0, a.error);
  if (name === "im") return complex(a.im, 0, a.error);
  if (!isReal(a)) return undefined;
  if (name === "floor" || name === "ceil") {
    const [low, high] = [a.re - a.error - 1e-12, a.re + a.error + 1e-12];
    const [below, above] = name === "floor" ? [Math.floor(low), Math.floor(high)] : [Math.ceil(low), Math.ceil(high)];
    return below === above ? complex(above) : undefined;
  }
  if (name === "factorial") return factorial(a);
  const compute = realFunctions.get(name);
  if (!compute) return undefined;
  const value = compute(a.re);
  // The error of the argument, through the function's slope.
  const step = Math.max(a.error, 1e-7 * Math.max(1, Math.abs(a.re)));
  const slope = Math.abs(compute(a.re + step) - value) / step;
  return complex(value, 0, 1e-15 * Math.max(1, Math.abs(value)) + 2 * slope * (a.error + 2.3e-16 * Math.abs(a.re)));
}

function factorial(a: Complex): Complex | undefined {
  if (!Number.isInteger(a.re) || a.re < 0 || a.re > 170) return undefined;
  let value = 1;
  for (let factor = 2; factor <= a.re; factor++) value *= factor;
  return complex(value, 0, 1e-14 * value);
}

function binomial(a: Complex, b: Complex): Complex | undefined {
  if (!Number.isInteger(a.re) || !Number.isInteger(b.re) || b.re < 0 || b.re > a.re || a.re > 1000) return undefined;
  let value = 1;
  for (let index = 1; index <= b.re; index++) value = (value * (a.re - b.re + index)) / index;
  return complex(value, 0, 1e-13 * value);
}
