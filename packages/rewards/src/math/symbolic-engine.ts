// Answers symbolic questions with compute-engine: values at 60 digits, compared to 45. Runs in a worker process that
// may be killed at any moment, and never in the process that trains.
import { ComputeEngine, type ExpressionInput } from "@cortex-js/compute-engine";
import type { SymbolicQuestion } from "./decide.ts";
import type { MathJson } from "./math-json.ts";

const digits = 60;
const agreeingDigits = 45n;
/** Agreement of complex values, which the engine has in doubles only. */
const complexTolerance = 1e-12;

type Value = { readonly mantissa: bigint; readonly exponent: number } | { readonly re: number; readonly im: number };

/** A function that answers questions, with an engine of its own. */
export function symbolicEngine(): (question: SymbolicQuestion) => "equal" | "different" {
  const engine = new ComputeEngine();
  engine.precision = digits;
  const box = (json: MathJson) => engine.box(toMutable(json));
  const evaluate = (json: MathJson) => numberOf(box(json).N().json);
  return ({ values, simplify, complexAllowed }) => {
    if (simplify) {
      const difference = box(["Subtract", ...simplify]).simplify();
      return difference.is(0) ? "equal" : "different";
    }
    let agreed = 0;
    for (const [left, right] of values) {
      const [a, b] = [evaluate(left), evaluate(right)];
      if (!a || !b || (!complexAllowed && ("re" in a || "re" in b))) continue;
      if (!sameValue(a, b)) return "different";
      agreed++;
    }
    return agreed >= Math.min(2, values.length) ? "equal" : "different";
  };
}

function toMutable(json: MathJson): ExpressionInput {
  if (typeof json === "string" || typeof json === "number") return json;
  if ("num" in json) return { num: json.num };
  const [head, ...rest] = json;
  if (typeof head !== "string") throw new Error("MathJSON that is no function");
  return [head, ...rest.map(toMutable)];
}

// A number in MathJSON: a double, decimal digits with an exponent, a fraction, or a complex number.
function numberOf(json: unknown): Value | undefined {
  if (typeof json === "number") return Number.isFinite(json) ? fromDecimal(json.toString()) : undefined;
  if (typeof json === "object" && json !== null && "num" in json && typeof json.num === "string")
    return fromDecimal(json.num);
  if (!Array.isArray(json)) return undefined;
  const [head, first, second]: unknown[] = json;
  const [a, b] = [asDouble(first), asDouble(second)];
  if (head === "Complex" && a !== undefined && b !== undefined) return { re: a, im: b };
  return undefined;
}

function asDouble(json: unknown): number | undefined {
  const value = numberOf(json);
  if (!value || "re" in value) return undefined;
  return Number(`${value.mantissa}e${value.exponent}`);
}

function fromDecimal(text: string): Value | undefined {
  const parts = /^([+-]?)(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d{1,6}))?$/.exec(text);
  if (!parts) return undefined;
  const [, sign = "", whole = "", part = "", exponent = "0"] = parts;
  const magnitude = BigInt(`${whole}${part}`);
  return { mantissa: sign === "-" ? -magnitude : magnitude, exponent: Number(exponent) - part.length };
}

function sameValue(a: Value, b: Value): boolean {
  if ("re" in a || "re" in b) {
    const [x, y] = [toComplex(a), toComplex(b)];
    const scale = Math.max(Math.hypot(x.re, x.im), Math.hypot(y.re, y.im));
    return Math.hypot(x.re - y.re, x.im - y.im) <= complexTolerance * scale;
  }
  const lowest = Math.min(a.exponent, b.exponent);
  if (Math.max(a.exponent, b.exponent) - lowest > 5000) return a.mantissa === 0n && b.mantissa === 0n;
  const left = a.mantissa * 10n ** BigInt(a.exponent - lowest);
  const right = b.mantissa * 10n ** BigInt(b.exponent - lowest);
  const scale = absolute(left) + absolute(right);
  return absolute(left - right) * 10n ** agreeingDigits <= scale;
}

function toComplex(value: Value): { re: number; im: number } {
  return "re" in value ? value : { re: Number(`${value.mantissa}e${value.exponent}`), im: 0 };
}

function absolute(value: bigint): bigint {
  return value < 0n ? -value : value;
}
