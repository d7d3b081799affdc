// Reads relations, sets, sums, products and powers; parse-atom.ts reads what stands between the operators.
import { call, type Expression, number, type Sign } from "./expression.ts";
import { parseAtom, startsAtom, subscripted } from "./parse-atom.ts";
import { accept, fail, match, nested, peek, peekCommand, type Scanner, take, takeGroupText } from "./scanner.ts";
import { attachUnit, takeUnit } from "./units.ts";

const signs: readonly (readonly [RegExp, Sign])[] = [
  [/<=|=<|\\leqslant(?![a-zA-Z])|\\leqq(?![a-zA-Z])|\\leq?(?![a-zA-Z])/y, "<="],
  [/>=|=>|\\geqslant(?![a-zA-Z])|\\geqq(?![a-zA-Z])|\\geq?(?![a-zA-Z])/y, ">="],
  [/!=|\\neq?(?![a-zA-Z])|\\not\s*=/y, "!="],
  [/\\approx(?![a-zA-Z])|\\simeq(?![a-zA-Z])|\\sim(?![a-zA-Z])|~=|\\doteq(?![a-zA-Z])/y, "~"],
  [/==?|\\equiv(?![a-zA-Z])|\\coloneqq(?![a-zA-Z])/y, "="],
  [/<|\\lt(?![a-zA-Z])/y, "<"],
  [/>|\\gt(?![a-zA-Z])/y, ">"],
  [/\\in(?![a-zA-Z])/y, "in"],
];

/** `a`, `a = b`, `a < b <= c`. A leading `\approx` or `=` is dropped. */
export function parseRelation(scanner: Scanner): Expression {
  return nested(scanner, () => {
    takeSign(scanner, new Set<Sign>(["~", "="]));
    const items = [parseSetTerm(scanner)];
    const between: Sign[] = [];
    for (let sign = takeSign(scanner); sign !== undefined; sign = takeSign(scanner)) {
      between.push(sign);
      items.push(parseSetTerm(scanner));
    }
    const [only] = items;
    if (items.length === 1 && only) return only;
    return { kind: "relation", items, signs: between };
  });
}

function takeSign(scanner: Scanner, among?: ReadonlySet<Sign>): Sign | undefined {
  for (const [pattern, sign] of signs) {
    if (among && !among.has(sign)) continue;
    if (take(scanner, pattern)) return sign;
  }
  return undefined;
}

// Unions, intersections, differences of sets, and ratios `a : b`.
function parseSetTerm(scanner: Scanner): Expression {
  let left = parseSum(scanner);
  for (;;) {
    if (accept(scanner, "\\cup")) left = call("union", left, parseSum(scanner));
    else if (accept(scanner, "\\cap")) left = call("intersection", left, parseSum(scanner));
    else if (accept(scanner, "\\setminus") || take(scanner, /\\backslash(?![a-zA-Z])|\\(?=\s*\\\{)/y)) {
      left = call("difference", left, parseSum(scanner));
    } else if (take(scanner, /:(?!=)|\\colon(?![a-zA-Z])/y)) left = call("ratio", left, parseSum(scanner));
    else return left;
  }
}

/** Sums and differences; `\pm` becomes a call that the list later expands into both signs. */
export function parseSum(scanner: Scanner): Expression {
  let left: Expression | undefined;
  for (;;) {
    if (accept(scanner, "\\pm")) left = plusMinus(left, parseProduct(scanner));
    else if (accept(scanner, "\\mp")) left = plusMinus(left, call("negate", parseProduct(scanner)));
    else if (left && accept(scanner, "+")) left = call("add", left, parseProduct(scanner));
    else if (left && take(scanner, /-/y)) left = call("add", left, call("negate", parseProduct(scanner)));
    else if (!left) left = parseProduct(scanner);
    else return left;
  }
}

function plusMinus(left: Expression | undefined, right: Expression): Expression {
  return left ? call("plusminus", left, right) : call("plusminus", number(0n), right);
}

/** Products and quotients from left to right, written or implied, with a unit at the end. */
export function parseProduct(scanner: Scanner): Expression {
  let left = parseSigned(scanner);
  for (;;) {
    if (take(scanner, /\*|\\cdot(?![a-zA-Z])|\\times(?![a-zA-Z])|\\ast(?![a-zA-Z])/y)) {
      left = call("multiply", left, parseSigned(scanner));
    } else if (take(scanner, /\/|\\div(?![a-zA-Z])/y)) left = call("divide", left, parseSigned(scanner));
    else {
      const unit = takeUnit(scanner);
      if (unit !== undefined) left = attachUnit(left, unit);
      else if (startsFactor(scanner, left)) left = call("multiply", left, parsePower(scanner));
      else return left;
    }
  }
}

// Two numbers side by side are no product, and `|` closes inside an absolute value.
function startsFactor(scanner: Scanner, left: Expression): boolean {
  const next = peek(scanner);
  if (next === "" || next === ".") return false;
  if (/\d/.test(next)) return !endsInNumber(left);
  if (next === "|") return scanner.bars === 0;
  return startsAtom(scanner);
}

function endsInNumber(left: Expression): boolean {
  if (left.kind === "call" && (left.name === "multiply" || left.name === "divide" || left.name === "power")) {
    return left.args.slice(1).some(endsInNumber);
  }
  return left.kind !== "symbol" && left.kind !== "call";
}

function parseSigned(scanner: Scanner): Expression {
  return nested(scanner, () => {
    if (take(scanner, /-/y)) {
      const operand = parseSigned(scanner);
      if (operand.kind === "number") {
        return { ...operand, value: { ...operand.value, numerator: -operand.value.numerator } };
      }
      return call("negate", operand);
    }
    if (take(scanner, /\+/y)) return parseSigned(scanner);
    return parsePower(scanner);
  });
}

/** A factor with its factorials, primes, percent signs, degrees and exponent. */
export function parsePower(scanner: Scanner): Expression {
  let base = parseAtom(scanner);
  for (;;) {
    if (take(scanner, /!(?!=)/y)) base = call("factorial", base);
    else if (
      take(
        scanner,
        /\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))(?:\s*(?:\\text|\\mathrm)\s*\{\s*[CF]\s*\})?|\\degree(?![a-zA-Z])/y,
      )
    ) {
      base = attachUnit(base, "°");
    } else if (take(scanner, /\\?%/y)) base = attachUnit(base, "%");
    else if (take(scanner, /\^\s*(?:\{\s*(?:\\prime\s*)+\}|\\prime(?![a-zA-Z]))|'/y)) base = prime(base);
    else if (take(scanner, /\^/y)) {
      const exponent = parseExponent(scanner);
      // x^2_i is x_i squared.
      base = call("power", base.kind === "symbol" ? subscripted(scanner, base.name) : base, exponent);
    } else return base;
  }
}

function prime(base: Expression): Expression {
  return base.kind === "symbol" ? { kind: "symbol", name: `${base.name}'` } : call("prime", base);
}

// LaTeX's exponent is one token; plain text's is a whole number (`2^10`) or a signed factor (`x^-1`).
function parseExponent(scanner: Scanner): Expression {
  return nested(scanner, () => parseExponentInside(scanner));
}

function parseExponentInside(scanner: Scanner): Expression {
  if (match(scanner, /\{\s*\}/y)) {
    takeGroupText(scanner);
    return number(1n);
  }
  const digits = take(scanner, /[+-]?\d+/y);
  if (digits) return tower(scanner, number(BigInt(digits[0])));
  if (take(scanner, /-/y)) return call("negate", parseExponent(scanner));
  return tower(scanner, parseAtom(scanner));
}

// a^b^c is a^(b^c).
function tower(scanner: Scanner, base: Expression): Expression {
  return take(scanner, /\^/y) ? call("power", base, parseExponent(scanner)) : base;
}

/** What a function is applied to: a group, or the product that follows up to a sum, a relation or another function. */
export function parseArgument(scanner: Scanner): Expression {
  // An exponent behind the group is the function's: \cos(x)^2 is (cos x)^2.
  if (/[({]/.test(peek(scanner))) return parseAtom(scanner);
  let left = parseSigned(scanner);
  while (
    startsFactor(scanner, left) &&
    !isFunctionCommand(peekCommand(scanner)) &&
    !match(scanner, /\\(?:text|mathrm)/y)
  ) {
    left = call("multiply", left, parsePower(scanner));
  }
  if (match(scanner, /\/\s*\d/y) && take(scanner, /\//y)) left = call("divide", left, parsePower(scanner));
  return left;
}

/** Functions that LaTeX writes as commands, with the name that the tree has for each. */
export const functionNames: ReadonlyMap<string, string> = new Map(
  "sin cos tan cot sec csc sinh cosh tanh coth exp ln arcsin arccos arctan arccot arcsec arccsc arcsinh arccosh arctanh max min gcd det"
    .split(" ")
    .map((name): [string, string] => [name, name])
    .concat([
      ["lg", "log"],
      ["log", "log"],
      ["arsinh", "arcsinh"],
      ["arcosh", "arccosh"],
      ["artanh", "arctanh"],
      ["tg", "tan"],
      ["ctg", "cot"],
      ["cosec", "csc"],
      ["asin", "arcsin"],
      ["acos", "arccos"],
      ["atan", "arctan"],
      ["lcm", "lcm"],
      ["Re", "re"],
      ["Im", "im"],
      ["abs", "abs"],
      ["floor", "floor"],
      ["ceil", "ceil"],
      ["arg", "arg"],
    ]),
);

export function isFunctionCommand(name: string | undefined): boolean {
  return name !== undefined && functionNames.has(name);
}

/** Throws unless the whole text was read. */
export function expectEnd(scanner: Scanner): void {
  if (peek(scanner) !== "") fail(scanner, "the end");
}
