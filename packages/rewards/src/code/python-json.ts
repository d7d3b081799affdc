// JSON as Python's `json` reads it, exactly: integers of any size, floats apart from integers, NaN and Infinity.
import type { Tagged } from "../sandbox/tagged.ts";

/** A parsed value: as Tagged, but objects are Maps. */
export type PythonJson =
  | null
  | boolean
  | string
  | number
  | { readonly i: string }
  | { readonly f: string }
  | readonly PythonJson[]
  | ReadonlyMap<string, PythonJson>;

export class FormatError extends Error {
  override readonly name = "FormatError";
}

/** Deeper values are refused; Python's own reader gives up near its recursion limit. */
const depthMax = 200;

const numberPattern = /(-?(?:0|[1-9]\d*))(\.\d+)?([eE][+-]?\d+)?/y;
const spacePattern = /[ \t\n\r]*/y;
const words = new Map<string, PythonJson>([
  ["null", null],
  ["true", true],
  ["false", false],
  ["NaN", { f: "nan" }],
  ["Infinity", { f: "inf" }],
  ["-Infinity", { f: "-inf" }],
]);
const wordPattern = /null|true|false|NaN|-?Infinity/y;

/** Reads a JSON text. Throws a FormatError that tells the place. */
export function parsePythonJson(text: string): PythonJson {
  const reader = { text, at: 0 };
  const value = readValue(reader, 0);
  skipSpace(reader);
  if (reader.at < text.length) throw unexpected(reader, "the end");
  return value;
}

type Reader = { readonly text: string; at: number };

function readValue(reader: Reader, depth: number): PythonJson {
  if (depth > depthMax) throw new FormatError(`JSON deeper than ${depthMax}`);
  skipSpace(reader);
  const first = reader.text[reader.at];
  if (first === '"') return readString(reader);
  if (first === "[") return readList(reader, depth);
  if (first === "{") return readObject(reader, depth);
  const word = take(reader, wordPattern)?.[0];
  if (word !== undefined) return words.get(word) ?? null;
  return readNumber(reader);
}

function readNumber(reader: Reader): PythonJson {
  const [number, whole = "", fraction, power] = take(reader, numberPattern) ?? [];
  if (number === undefined) throw unexpected(reader, "a JSON value");
  if (fraction !== undefined || power !== undefined) return { f: floatText(Number(number)) };
  const value = Number(whole);
  return Number.isSafeInteger(value) ? value + 0 : { i: whole };
}

function readString(reader: Reader): string {
  const { text } = reader;
  let end = text.indexOf('"', reader.at + 1);
  while (end >= 0 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
  if (end < 0) throw unexpected(reader, "a string that ends");
  const written = text.slice(reader.at, end + 1);
  let value: unknown;
  try {
    value = JSON.parse(written);
  } catch {
    throw unexpected(reader, "a JSON string");
  }
  reader.at = end + 1;
  return String(value);
}

// Whether an odd number of backslashes stands before the quote.
function isEscaped(text: string, quote: number): boolean {
  let at = quote - 1;
  while (text[at] === "\\") at--;
  return (quote - at) % 2 === 0;
}

function readList(reader: Reader, depth: number): PythonJson {
  const items: PythonJson[] = [];
  readMembers(reader, "]", () => items.push(readValue(reader, depth + 1)));
  return items;
}

function readObject(reader: Reader, depth: number): PythonJson {
  const members = new Map<string, PythonJson>();
  readMembers(reader, "}", () => {
    skipSpace(reader);
    if (reader.text[reader.at] !== '"') throw unexpected(reader, "a string as a key");
    const key = readString(reader);
    skipSpace(reader);
    if (reader.text[reader.at] !== ":") throw unexpected(reader, '":"');
    reader.at++;
    members.set(key, readValue(reader, depth + 1));
  });
  return members;
}

function readMembers(reader: Reader, close: "]" | "}", readOne: () => void): void {
  reader.at++;
  skipSpace(reader);
  if (reader.text[reader.at] === close) {
    reader.at++;
    return;
  }
  for (;;) {
    readOne();
    skipSpace(reader);
    const next = reader.text[reader.at];
    if (next !== "," && next !== close) throw unexpected(reader, `"," or "${close}"`);
    reader.at++;
    if (next === close) return;
  }
}

function take(reader: Reader, pattern: RegExp): RegExpExecArray | undefined {
  pattern.lastIndex = reader.at;
  const match = pattern.exec(reader.text);
  if (!match) return undefined;
  reader.at = pattern.lastIndex;
  return match;
}

function skipSpace(reader: Reader): void {
  take(reader, spacePattern);
}

function unexpected({ text, at }: Reader, expected: string): FormatError {
  return new FormatError(`character ${at}: ${JSON.stringify(text.slice(at, at + 20))}, expected ${expected}`);
}

/** A float's text as Python's repr writes it, near enough to be read back as the same float. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const text = Object.is(value, -0) ? "-0" : String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

/** Parsed JSON of JavaScript, in which an integer and a float that is whole are the same: it counts as an integer. */
export function fromJson(value: unknown): PythonJson {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number") return numberFromJson(value);
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value === "object") return new Map(Object.entries(value).map(([key, item]) => [key, fromJson(item)]));
  throw new FormatError(`a value of type ${typeof value}, expected JSON`);
}

function numberFromJson(value: number): PythonJson {
  if (Number.isSafeInteger(value)) return value + 0;
  return Number.isInteger(value) && Math.abs(value) < 1e21 ? { i: String(value) } : { f: floatText(value) };
}

/** The value as it crosses into the sandbox: objects are dicts. */
export function taggedOf(value: PythonJson): Tagged {
  if (isObject(value)) return { d: [...value].map(([key, item]) => [key, taggedOf(item)]) };
  return isList(value) ? value.map(taggedOf) : value;
}

export function isList(value: PythonJson | undefined): value is readonly PythonJson[] {
  return Array.isArray(value);
}

export function isObject(value: PythonJson | undefined): value is ReadonlyMap<string, PythonJson> {
  return value instanceof Map;
}
