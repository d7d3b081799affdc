// Writes an expression as MathJSON, the form that compute-engine takes, at a point where every variable is a number.
import type { Expression } from "./expression.ts";
import type { Point } from "./floating.ts";

export type MathJson = string | number | { readonly num: string } | readonly MathJson[];

const functions: ReadonlyMap<string, string> = new Map([
  ["add", "Add"],
  ["multiply", "Multiply"],
  ["divide", "Divide"],
  ["ratio", "Divide"],
  ["power", "Power"],
  ["root", "Root"],
  ["negate", "Negate"],
  ["log", "Log"],
  ["ln", "Ln"],
  ["exp", "Exp"],
  ["abs", "Abs"],
  ["floor", "Floor"],
  ["ceil", "Ceil"],
  ["factorial", "Factorial"],
  ["binomial", "Binomial"],
  ["sin", "Sin"],
  ["cos", "Cos"],
  ["tan", "Tan"],
  ["cot", "Cot"],
  ["sec", "Sec"],
  ["csc", "Csc"],
  ["sinh", "Sinh"],
  ["cosh", "Cosh"],
  ["tanh", "Tanh"],
  ["coth", "Coth"],
  ["arcsin", "Arcsin"],
  ["arccos", "Arccos"],
  ["arctan", "Arctan"],
  ["arccot", "Arccot"],
  ["arcsec", "Arcsec"],
  ["arccsc", "Arccsc"],
  ["arcsinh", "Arsinh"],
  ["arccosh", "Arcosh"],
  ["arctanh", "Artanh"],
  ["re", "Real"],
  ["im", "Imaginary"],
  ["gcd", "GCD"],
  ["lcm", "LCM"],
  ["max", "Max"],
  ["min", "Min"],
]);

const symbols: ReadonlyMap<string, string> = new Map([
  ["pi", "Pi"],
  ["e", "ExponentialE"],
  ["i", "ImaginaryUnit"],
]);

/** The expression as MathJSON, its variables replaced; undefined where compute-engine has no word for a part. */
export function toMathJson(expression: Expression, point: Point | undefined): MathJson | undefined {
  switch (expression.kind) {
    case "number": {
      const { numerator, denominator } = expression.value;
      return denominator === 1n ? integer(numerator) : ["Rational", integer(numerator), integer(denominator)];
    }
    case "symbol": {
      const known = symbols.get(expression.name);
      if (known !== undefined) return known;
      if (point === undefined) return /^[a-zA-Z]$/.test(expression.name) ? `v_${expression.name}` : undefined;
      const value = point.get(expression.name);
      return value === undefined ? undefined : ["Rational", integer(BigInt(Math.round(value * 1024))), 1024];
    }
    case "quantity": {
      const value = toMathJson(expression.value, point);
      if (value === undefined) return undefined;
      if (expression.unit === "°") return ["Divide", ["Multiply", value, "Pi"], 180];
      return expression.unit === "%" ? ["Divide", value, 100] : value;
    }
    case "call": {
      const name = functions.get(expression.name);
      if (name === undefined) return undefined;
      const args = expression.args.map((part) => toMathJson(part, point));
      return args.every((part) => part !== undefined) ? [name, ...args] : undefined;
    }
    default:
      return undefined;
  }
}

function integer(value: bigint): MathJson {
  return { num: value.toString() };
}
