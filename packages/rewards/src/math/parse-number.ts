// Reads a number: with thousands separators, mixed with a fraction, of another base, repeating, or with an exponent.
import { type Expression, number } from "./expression.ts";
import { parseRepeating } from "./parse-words.ts";
import { fail, type Scanner, take } from "./scanner.ts";

export function parseNumber(scanner: Scanner): Expression {
  const lettered = take(scanner, /(\d[\dA-Z]*[A-Z][\dA-Z]*)_\s*(?:\{\s*(\d+)\s*\}|(\d+))/y);
  if (lettered) return { kind: "based", digits: lettered[1] ?? "", base: Number(lettered[2] ?? lettered[3]) };
  const mixed = take(scanner, /(\d+)\s+(\d+)\s*\/\s*(\d+)(?![\d.])/y) ?? takeMixedLatex(scanner);
  if (mixed) {
    const [whole = 0n, above = 0n, below = 0n] = mixed.slice(1, 4).map((digits) => BigInt(digits ?? "0"));
    if (below === 0n) fail(scanner, "a denominator that is not 0");
    return number(whole * below + above, below);
  }
  const grouped = scanner.groupsDigits ? take(scanner, /\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?/y) : null;
  const spacedOut = grouped ?? take(scanner, /\d{1,3}(?: \d{3})+(?![\d,])(?:\.\d+)?/y);
  const plain = spacedOut ?? take(scanner, /\d+(?:\.\d*)?|\.\d+/y);
  if (!plain) return fail(scanner, "a number");
  const digits = plain[0].replace(/[, ]/g, "");
  const repeating = parseRepeating(scanner, digits);
  if (repeating) return repeating;
  const base = take(scanner, /_\s*(?:\{\s*(?:\\text\s*\{\s*)?(\d+)\s*\}?\s*\}|(\d+))/y);
  if (base) return { kind: "based", digits: digits.replace(/^0+(?=\d)/, ""), base: Number(base[1] ?? base[2]) };
  const exponent = take(scanner, /[eE]([+-]?\d{1,3})(?![\d.a-zA-Z])/y);
  return decimalNumber(digits, exponent?.[1]);
}

// `3\frac{1}{2}` and `3\frac12` are mixed numbers.
function takeMixedLatex(scanner: Scanner): RegExpExecArray | null {
  return (
    take(scanner, /(\d+)\s*\\frac\s*(?:\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\})/y) ??
    take(scanner, /(\d+)\s*\\frac\s*(\d)\s*(\d)/y)
  );
}

function decimalNumber(digits: string, exponent: string | undefined): Expression {
  const [whole = "", part = ""] = digits.split(".");
  const scale = Number(exponent ?? "0") - part.length;
  const mantissa = BigInt(`${whole}${part}` || "0");
  const value =
    scale >= 0
      ? { numerator: mantissa * 10n ** BigInt(scale), denominator: 1n }
      : { numerator: mantissa, denominator: 10n ** BigInt(-scale) };
  return { kind: "number", value, decimal: digits.includes(".") };
}
