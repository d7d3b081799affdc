// Reads what stands between operators: numbers, letters and words, commands with their arguments, groups and matrices.
import { type Bracket, call, type Expression, number, symbol } from "./expression.ts";
import { functionNames, parseArgument, parsePower, parseRelation, parseSum } from "./parse-expression.ts";
import { parseItems } from "./parse-list.ts";
import { parseNumber } from "./parse-number.ts";
import { parseWords } from "./parse-words.ts";
import {
  accept,
  expect,
  fail,
  match,
  nested,
  peek,
  peekCommand,
  type Scanner,
  take,
  takeGroupText,
} from "./scanner.ts";

const greek = new Set(
  `alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau
  upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar`.split(/\s+/),
);

const constantCommands: ReadonlyMap<string, Expression> = new Map([
  ["pi", symbol("pi")],
  ["infty", symbol("infinity")],
  ["infin", symbol("infinity")],
  ["imath", symbol("i")],
  ["emptyset", symbol("emptyset")],
  ["varnothing", symbol("emptyset")],
  ["dots", symbol("...")],
  ["ldots", symbol("...")],
  ["cdots", symbol("...")],
  ["dotsc", symbol("...")],
  ["dotsm", symbol("...")],
  ["triangle", symbol("triangle")],
  ["angle", symbol("angle")],
]);

const argumentCommands = new Set(["frac", "sqrt", "binom", "boxed", "fbox", "overline", "bar", "vec", "hat", "mathbb"]);
const openers = new Set([
  "lfloor",
  "lceil",
  "llcorner",
  "ulcorner",
  "lvert",
  "vert",
  "lVert",
  "langle",
  "begin",
  "sum",
  "prod",
  "int",
]);

/** Whether a factor may begin here, so that a product is implied. */
export function startsAtom(scanner: Scanner): boolean {
  const next = peek(scanner);
  if (/[a-zA-Z\d({]/.test(next)) return !match(scanner, /(?:and|or)(?![a-zA-Z])/y);
  if (next !== "\\") return false;
  const command = peekCommand(scanner);
  if (command === undefined) return false;
  if (command === "text" || command === "mathrm") return !match(scanner, /\\text\s*\{\s*,?\s*(?:and|or|,)/y);
  return (
    greek.has(command) ||
    constantCommands.has(command) ||
    functionNames.has(command) ||
    argumentCommands.has(command) ||
    (openers.has(command) && !(command === "vert" && scanner.bars > 0))
  );
}

export function parseAtom(scanner: Scanner): Expression {
  return nested(scanner, () => {
    const next = peek(scanner);
    if (/[\d.]/.test(next)) return parseNumber(scanner);
    if (/[a-zA-Z]/.test(next)) return parseLetters(scanner);
    if (next === "\\") return parseCommand(scanner);
    if (next === "(" || next === "[") return parseBracket(scanner, next);
    if (accept(scanner, "{")) return parseGroup(scanner);
    if (accept(scanner, "|")) return parseBars(scanner, "|");
    return fail(scanner, "a number, a letter or a group");
  });
}

const plainNames: ReadonlyMap<string, Expression> = new Map([
  ["pi", symbol("pi")],
  ["infinity", symbol("infinity")],
  ["infty", symbol("infinity")],
  ["inf", symbol("infinity")],
  ["oo", symbol("infinity")],
]);

// A run of letters: a function, a constant, words, a name in capitals, or a product of one-letter variables.
function parseLetters(scanner: Scanner): Expression {
  const run = match(scanner, /[a-zA-Z]+/y)?.[0] ?? "";
  const plain = plainNames.get(run);
  const isFunction = run === "sqrt" || run === "frac" || (functionNames.has(run) && run !== "Re" && run !== "Im");
  if (plain === undefined && !isFunction) {
    const words = parseWords(scanner);
    if (words) return words;
  }
  scanner.at += run.length;
  if (plain) return plain;
  if (run === "sqrt") return call("root", parseArgumentOrGroup(scanner), number(2n));
  if (isFunction) return parseFunction(scanner, functionNames.get(run) ?? run);
  if (run.length > 1 && run === run.toUpperCase()) return subscripted(scanner, run);
  const letters = [...run];
  const last = letters.pop() ?? "";
  const factors = [...letters.map(symbol), unknownFunction(scanner, last) ?? subscripted(scanner, last)];
  return factors.reduce((left, right) => call("multiply", left, right));
}

// f(x): the letters that name functions, applied to a group.
function unknownFunction(scanner: Scanner, letter: string): Expression | undefined {
  if (!/[fghFG]/.test(letter) || peek(scanner) !== "(") return undefined;
  return call(letter, parseBracket(scanner, "("));
}

/** A symbol with the subscript that follows: `x_1`, `x_{12}`, `x_\text{max}`. */
export function subscripted(scanner: Scanner, name: string): Expression {
  if (!take(scanner, /_/y)) return symbol(name);
  const index = peek(scanner) === "{" ? takeGroupText(scanner) : (take(scanner, /\\[a-zA-Z]+|\S/y)?.[0] ?? "");
  return symbol(`${name}_${index.replace(/\\(?:text|mathrm)\s*|[\s{}]/g, "")}`);
}

function parseCommand(scanner: Scanner): Expression {
  if (accept(scanner, "\\{")) return parseSet(scanner);
  if (accept(scanner, "\\|")) return parseBars(scanner, "\\|");
  const command = take(scanner, /\\([a-zA-Z]+)/y)?.[1];
  if (command === undefined) return fail(scanner, "a command");
  const constant = constantCommands.get(command);
  if (constant) return constant;
  if (greek.has(command)) return subscripted(scanner, command);
  const name = functionNames.get(command);
  if (name !== undefined) return parseFunction(scanner, name);
  return parseArgumentCommand(scanner, command);
}

function parseArgumentCommand(scanner: Scanner, command: string): Expression {
  switch (command) {
    case "frac":
      return call("divide", parseMandatory(scanner), parseMandatory(scanner));
    case "choose":
    case "binom":
      return call("binomial", parseMandatory(scanner), parseMandatory(scanner));
    case "sqrt":
      return parseRoot(scanner);
    case "boxed":
    case "fbox":
      return parseMandatory(scanner);
    case "text":
    case "mathrm":
      return parseFontGroup(scanner);
    case "mathbb":
      return parseNumberSet(scanner);
    case "overline":
    case "bar":
    case "vec":
    case "hat":
      return subscripted(scanner, `${command}(${takeArgumentText(scanner)})`);
    case "dollar":
      return { kind: "quantity", value: parsePower(scanner), unit: "$" };
    case "lfloor":
      return closed(scanner, "floor", "\\rfloor");
    case "lceil":
      return closed(scanner, "ceil", "\\rceil");
    case "llcorner":
      return closed(scanner, "floor", "\\lrcorner");
    case "ulcorner":
      return closed(scanner, "ceil", "\\urcorner");
    case "lvert":
      return closed(scanner, "abs", "\\rvert");
    case "vert":
      return parseBars(scanner, "\\vert");
    case "lVert":
      return closed(scanner, "norm", "\\rVert");
    case "langle":
      return { kind: "sequence", open: "(", close: ")", items: closeWith(scanner, parseItems(scanner), "\\rangle") };
    case "begin":
      return parseMatrix(scanner);
    case "sum":
    case "prod":
      return parseSeries(scanner, command);
    default:
      return fail(scanner, `a known command, not \\${command}`);
  }
}

/** One LaTeX argument: a group, a digit, a letter or a command. */
export function parseMandatory(scanner: Scanner): Expression {
  const digit = take(scanner, /\d/y);
  if (digit) return number(BigInt(digit[0]));
  const letter = take(scanner, /[a-zA-Z]/y);
  if (letter) return symbol(letter[0]);
  return parseAtom(scanner);
}

function parseArgumentOrGroup(scanner: Scanner): Expression {
  return peek(scanner) === "(" || peek(scanner) === "{" ? parseAtom(scanner) : parseMandatory(scanner);
}

function parseRoot(scanner: Scanner): Expression {
  let index: Expression = number(2n);
  if (accept(scanner, "[")) {
    index = parseSum(scanner);
    expect(scanner, "]");
  }
  // `\sqrt19` is LaTeX for √1·9, but whoever writes it means √19.
  const digits = take(scanner, /\d+/y);
  return call("root", digits ? number(BigInt(digits[0])) : parseMandatory(scanner), index);
}

// \sin x, \sin^2 x, \sin^{-1} x, \log_2 x.
function parseFunction(scanner: Scanner, name: string): Expression {
  const base = name === "log" && take(scanner, /_/y) ? parseMandatory(scanner) : undefined;
  const power = take(scanner, /\^/y) ? parseMandatory(scanner) : undefined;
  const operand = parseArgument(scanner);
  if (name === "log") return raised(call("log", operand, base ?? number(10n)), power);
  const isInverse = power?.kind === "number" && power.value.numerator === -1n && power.value.denominator === 1n;
  if (isInverse && /^(?:sin|cos|tan|cot|sec|csc|sinh|cosh|tanh)$/.test(name)) return call(`arc${name}`, operand);
  const args = operand.kind === "sequence" && /^(?:max|min|gcd|lcm)$/.test(name) ? operand.items : [operand];
  return raised(call(name, ...args), power);
}

function raised(base: Expression, power: Expression | undefined): Expression {
  return power ? call("power", base, power) : base;
}

// \text and \mathrm: a letter is a symbol, words are text, anything else is parsed as it stands.
function parseFontGroup(scanner: Scanner): Expression {
  if (peek(scanner) !== "{") return parseMandatory(scanner);
  const content = takeGroupText(scanner).trim();
  const letter = /^\(?\s*([A-Za-z])\s*\)?\.?$/.exec(content)?.[1];
  if (letter) return unknownFunction(scanner, letter) ?? subscripted(scanner, letter);
  if (functionNames.has(content)) return parseFunction(scanner, functionNames.get(content) ?? content);
  if (/^[A-Z]+$/.test(content)) return symbol(content);
  if (/[a-zA-Z]/.test(content)) return { kind: "text", text: wordsOf(content) };
  if (content === "") return fail(scanner, "text");
  const inner: Scanner = { ...scanner, text: content, at: 0 };
  const parsed = parseRelation(inner);
  return peek(inner) === "" ? parsed : { kind: "text", text: wordsOf(content) };
}

/** Words as they are compared: lower case, single spaces, no punctuation at the ends. */
export function wordsOf(text: string): string {
  return text
    .toLowerCase()
    .replace(/[\s~]+/g, " ")
    .replace(/^[\s.,:;"'`]+|[\s.,:;"'`]+$/g, "");
}

const numberSets: ReadonlyMap<string, string> = new Map([
  ["R", "Reals"],
  ["Z", "Integers"],
  ["N", "Naturals"],
  ["Q", "Rationals"],
  ["C", "Complexes"],
]);

function parseNumberSet(scanner: Scanner): Expression {
  const letter = takeArgumentText(scanner).trim();
  return symbol(numberSets.get(letter) ?? `mathbb(${letter})`);
}

function takeArgumentText(scanner: Scanner): string {
  if (peek(scanner) === "{") return takeGroupText(scanner).replace(/\s/g, "");
  return take(scanner, /\\[a-zA-Z]+|\S/y)?.[0] ?? fail(scanner, "an argument");
}

// (a, b) is a sequence; (a) only groups.
function parseBracket(scanner: Scanner, open: "(" | "["): Expression {
  scanner.at++;
  const items = parseInside(scanner, false);
  const close = take(scanner, /[)\]]/y)?.[0] ?? fail(scanner, ")");
  const [only] = items;
  if (items.length === 1 && only && (open === "(") === (close === ")")) return only;
  return { kind: "sequence", open, close: close === ")" ? ")" : "]", items };
}

// What a bracket holds: `|` outside does not close inside, and in `(1,234)` the comma separates.
function parseInside(scanner: Scanner, groupsDigits: boolean): Expression[] {
  const { bars, groupsDigits: outside } = scanner;
  scanner.bars = 0;
  scanner.groupsDigits = groupsDigits;
  const items = parseItems(scanner);
  scanner.bars = bars;
  scanner.groupsDigits = outside;
  return items;
}

function parseSet(scanner: Scanner): Expression {
  if (accept(scanner, "\\}")) return symbol("emptyset");
  const items = parseInside(scanner, false);
  expect(scanner, "\\}");
  return { kind: "sequence", open: "{", close: "}", items };
}

// A LaTeX group: transparent, but for `{n \choose k}` and a list in it.
function parseGroup(scanner: Scanner): Expression {
  const items = parseInside(scanner, scanner.groupsDigits);
  const [only] = items;
  if (only && accept(scanner, "\\choose")) {
    const below = parseSum(scanner);
    expect(scanner, "}");
    return call("binomial", only, below);
  }
  expect(scanner, "}");
  if (items.length === 1 && only) return only;
  const none: Bracket = "";
  return { kind: "sequence", open: none, close: none, items };
}

function parseBars(scanner: Scanner, close: string): Expression {
  scanner.bars++;
  const operand = parseSum(scanner);
  scanner.bars--;
  expect(scanner, close);
  return call("abs", operand);
}

function closed(scanner: Scanner, name: string, close: string): Expression {
  const operand = parseSum(scanner);
  expect(scanner, close);
  return call(name, operand);
}

function closeWith(scanner: Scanner, items: readonly Expression[], close: string): readonly Expression[] {
  expect(scanner, close);
  return items;
}

function parseMatrix(scanner: Scanner): Expression {
  const environment = takeGroupText(scanner);
  if (!/^(?:[pbvBV]?matrix|smallmatrix|array)$/.test(environment)) fail(scanner, "a matrix");
  if (environment === "array" && peek(scanner) === "{") takeGroupText(scanner);
  const rows: Expression[][] = [[]];
  for (;;) {
    if (accept(scanner, "\\hline")) continue;
    if (accept(scanner, "\\end")) break;
    if (accept(scanner, "\\\\")) rows.push([]);
    else if (!accept(scanner, "&")) rows.at(-1)?.push(parseRelation(scanner));
  }
  takeGroupText(scanner);
  const filled = rows.filter((row) => row.length > 0);
  if (filled.length === 0) fail(scanner, "a row");
  const matrix: Expression = { kind: "matrix", rows: filled };
  return environment === "vmatrix" ? call("det", matrix) : matrix;
}

// \sum_{k=a}^{b} body: the variable, the bounds and the body.
function parseSeries(scanner: Scanner, name: "sum" | "prod"): Expression {
  const before = accept(scanner, "^") ? parseMandatory(scanner) : undefined;
  expect(scanner, "_");
  expect(scanner, "{");
  const variable = take(scanner, /[a-zA-Z]/y)?.[0] ?? fail(scanner, "the index");
  expect(scanner, "=");
  const from = parseSum(scanner);
  expect(scanner, "}");
  if (!before) expect(scanner, "^");
  return call(name, symbol(variable), from, before ?? parseMandatory(scanner), parseArgument(scanner));
}
