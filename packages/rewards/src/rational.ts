// Exact numbers for comparing answers: integers, fractions and decimals as a quotient of BigInts, never floats.

export type Rational = { readonly numerator: bigint; readonly denominator: bigint };

// BigInt parsing is quadratic in the digits; no honest answer of a data set comes near this.
const digitsMax = 2000;

const decimal = String.raw`(?:\d+(?:\.\d*)?|\.\d+)`;
const decimalOnly = new RegExp(`^[+-]?${decimal}$`);
const slash = new RegExp(`^([+-]?${decimal})/([+-]?${decimal})$`);
const latex = new RegExp(String.raw`^([+-]?)\\frac(?:\{([+-]?${decimal})\}|(\d))(?:\{([+-]?${decimal})\}|(\d))$`);

/**
 * Reads `-3`, `+0.50`, `.5`, `3/4`, `\frac{3}{4}`, `-\frac34` (white space already removed).
 * Anything else, a zero denominator and numbers over 2,000 characters give undefined.
 */
export function parseRational(text: string): Rational | undefined {
  if (text.length > digitsMax) return undefined;
  if (decimalOnly.test(text)) return parseDecimal(text);
  const quotient = slash.exec(text);
  if (quotient) return divide(parseDecimal(quotient[1] ?? ""), parseDecimal(quotient[2] ?? ""));
  const fraction = latex.exec(text);
  if (!fraction) return undefined;
  const value = divide(parseDecimal(fraction[2] ?? fraction[3] ?? ""), parseDecimal(fraction[4] ?? fraction[5] ?? ""));
  return value && fraction[1] === "-" ? { ...value, numerator: -value.numerator } : value;
}

/** Whether two quotients are the same number. */
export function sameRational(a: Rational, b: Rational): boolean {
  return a.numerator * b.denominator === b.numerator * a.denominator;
}

function parseDecimal(text: string): Rational {
  const unsigned = text.replace(/^[+-]/, "");
  const [whole = "", part = ""] = unsigned.split(".");
  const magnitude = BigInt(`${whole}${part}` || "0");
  return { numerator: text.startsWith("-") ? -magnitude : magnitude, denominator: 10n ** BigInt(part.length) };
}

function divide(a: Rational, b: Rational): Rational | undefined {
  if (b.numerator === 0n) return undefined;
  return { numerator: a.numerator * b.denominator, denominator: a.denominator * b.numerator };
}
