// Decimals as Python's `decimal.Decimal(text)` reads them, compared exactly: digits and a power of ten, never a float.

/** The value, in lowest terms: `digits` without zeros at either end ("" is zero). NaNs equal nothing. */
export type Decimal =
  | { readonly is: "finite"; readonly negative: boolean; readonly digits: string; readonly exponent: bigint }
  | { readonly is: "infinite"; readonly negative: boolean }
  | { readonly is: "nan" };

// No two parts of the pattern can take the same digit, so a long word that fails costs its length, not the square of it.
const finite = /^([+-]?)(?:(\d+)(?:\.(\d*))?|\.(\d+))(?:e([+-]?\d+))?$/i;
const infinite = /^([+-]?)inf(?:inity)?$/i;
const nan = /^[+-]?s?nan\d*$/i;

// The bounds of a 64-bit libmpdec; a value outside them is an InvalidOperation, so no decimal.
const adjustedExponentMax = 999_999_999_999_999_999n;
const exponentMin = -1_999_999_999_999_999_997n;

/** The decimal that `token` (without white space) denotes, or undefined where Python raises InvalidOperation. */
export function parseDecimal(token: string): Decimal | undefined {
  const text = asciiDigits(token)?.replaceAll("_", "");
  if (text === undefined) return undefined;
  const match = finite.exec(text);
  if (match) {
    const [, sign = "", whole = "", fraction = "", bare = "", power = "0"] = match;
    const exponent = boundedInteger(power);
    if (exponent === undefined) return undefined;
    return finiteDecimal(sign === "-", whole + fraction + bare, exponent - BigInt(fraction.length + bare.length));
  }
  const unbounded = infinite.exec(text);
  if (unbounded) return { is: "infinite", negative: unbounded[1] === "-" };
  return nan.test(text) ? { is: "nan" } : undefined;
}

// A power of more digits is out of bounds whatever it is, and reading it would take time.
function boundedInteger(text: string): bigint | undefined {
  const [, sign = "", digits = ""] = /^([+-]?)0*(\d*)$/.exec(text) ?? [];
  return digits.length > 30 ? undefined : BigInt(`${sign === "-" ? "-" : ""}${digits || "0"}`);
}

function finiteDecimal(negative: boolean, written: string, exponent: bigint): Decimal | undefined {
  if (exponent < exponentMin || exponent > adjustedExponentMax) return undefined;
  let start = 0;
  while (written[start] === "0") start++;
  let end = written.length;
  while (end > start && written[end - 1] === "0") end--;
  const digits = written.slice(start, end);
  if (exponent + BigInt(Math.max(0, written.length - start - 1)) > adjustedExponentMax) return undefined;
  if (digits === "") return { is: "finite", negative: false, digits, exponent: 0n };
  return { is: "finite", negative, digits, exponent: exponent + BigInt(written.length - end) };
}

/** Python's `==` between decimals: 3.0 = 3, -0 = 0, and no NaN equals anything (a signalling one raises there). */
export function decimalsEqual(a: Decimal, b: Decimal): boolean {
  if (a.is === "finite" && b.is === "finite") {
    return a.negative === b.negative && a.digits === b.digits && a.exponent === b.exponent;
  }
  return a.is === "infinite" && b.is === "infinite" && a.negative === b.negative;
}

/** Decimal digits of any script as 0 to 9, as Python takes them; undefined where anything else lies beyond ASCII. */
function asciiDigits(text: string): string | undefined {
  if (!/[^\0-\x7f]/.test(text)) return text;
  const ascii: string[] = [];
  for (const character of text) {
    const digit = character < "\x80" ? character : asciiDigit(character);
    if (digit === undefined) return undefined;
    ascii.push(digit);
  }
  return ascii.join("");
}

/** Digits that were met, as 0 to 9: there are some 700. */
const metDigits = new Map<string, string>();

function asciiDigit(character: string): string | undefined {
  const met = metDigits.get(character);
  if (met !== undefined || !isDigit(character)) return met;
  // Digits of a script are ten code points in a row; some scripts' rows, five at most, stand side by side.
  const code = character.codePointAt(0) ?? 0;
  let zero = code;
  while (code - zero < 50 && isDigit(String.fromCodePoint(zero - 1))) zero--;
  const digit = String((code - zero) % 10);
  metDigits.set(character, digit);
  return digit;
}

function isDigit(character: string): boolean {
  return /^\p{Nd}$/u.test(character);
}
