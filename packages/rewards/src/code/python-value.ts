// Python's `==` over tagged values, decided here so that no expected value ever meets a program.
import type { Tagged } from "../sandbox/tagged.ts";

type Kind = "i" | "f" | "t" | "s" | "fs" | "d" | "c" | "b" | "o" | "list" | "str" | "bool" | "int" | "none";

/** What `type(value)` tells apart: int whatever its size, and every other builtin; "o" is any other type. */
export function kindOf(value: Tagged): Kind {
  if (value === null) return "none";
  if (typeof value === "string") return "str";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return "int";
  if (isItems(value)) return "list";
  if ("i" in value) return "int";
  if ("f" in value) return "f";
  if ("t" in value) return "t";
  if ("s" in value) return "s";
  if ("fs" in value) return "fs";
  if ("d" in value) return "d";
  if ("c" in value) return "c";
  return "b" in value ? "b" : "o";
}

function isItems(value: Tagged): value is readonly Tagged[] {
  return Array.isArray(value);
}

/** The items of a list or tuple, else undefined. */
export function sequenceOf(value: Tagged): readonly Tagged[] | undefined {
  if (isItems(value)) return value;
  return value !== null && typeof value === "object" && "t" in value ? value.t : undefined;
}

/** A number's value: an integer, a float, or a complex of two floats. Booleans are integers. */
export type PythonNumber = bigint | number | readonly [number, number];

// Reading millions of digits takes seconds. Beyond every float an integer's value matters only to another integer's, and
// those are compared as texts.
const digitsReadMax = 1000;
const beyondFloats = 10n ** 1000n;

/** A number's value, or undefined; a longer integer than `digitsReadMax` gives one that no float comes near. */
export function numberOf(value: Tagged): PythonNumber | undefined {
  if (typeof value === "boolean") return value ? 1n : 0n;
  if (typeof value === "number") return BigInt(value);
  if (value === null || typeof value === "string" || isItems(value)) return undefined;
  if ("i" in value) {
    if (value.i.length <= digitsReadMax) return BigInt(value.i);
    return value.i.startsWith("-") ? -beyondFloats : beyondFloats;
  }
  if ("f" in value) return floatOf(value.f);
  return "c" in value ? [floatOf(value.c[0]), floatOf(value.c[1])] : undefined;
}

/** The float that a repr denotes. */
export function floatOf(text: string): number {
  if (text === "inf") return Number.POSITIVE_INFINITY;
  if (text === "-inf") return Number.NEGATIVE_INFINITY;
  return Number(text);
}

/**
 * Whether Python holds two values to be equal: 1 == 1.0 == True, integers against floats exactly, a list never equal to a
 * tuple, a set equal to a frozenset, NaN unequal to itself. A value of another type ("o") equals nothing.
 */
export function pythonEqual(a: Tagged, b: Tagged): boolean {
  if (typeof a === "number" && typeof b === "number") return a === b;
  if (typeof a === "string" || typeof b === "string") return a === b;
  if (a === null || b === null) return a === b;
  if (isItems(a) || isItems(b)) return isItems(a) && isItems(b) && itemsEqual(a, b);
  const [whole, otherWhole] = [integerText(a), integerText(b)];
  if (whole !== undefined && otherWhole !== undefined) return whole === otherWhole;
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined || y !== undefined) return x !== undefined && y !== undefined && numbersEqual(x, y);
  if (typeof a !== "object" || typeof b !== "object") return false;
  if ("t" in a && "t" in b) return itemsEqual(a.t, b.t);
  if ("b" in a && "b" in b) return a.b === b.b;
  if ("d" in a && "d" in b) return dictsEqual(a.d, b.d);
  const [first, second] = [setItems(a), setItems(b)];
  return first !== undefined && second !== undefined && setsEqual(first, second);
}

/** An integer's digits, of which a tagged value has one form only; else undefined. */
function integerText(value: Tagged): string | undefined {
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value === "number") return String(value);
  return value !== null && typeof value === "object" && "i" in value ? value.i : undefined;
}

function itemsEqual(a: readonly Tagged[], b: readonly Tagged[]): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (!pythonEqual(a[at] ?? null, b[at] ?? null)) return false;
  return true;
}

function numbersEqual(x: PythonNumber, y: PythonNumber): boolean {
  if (typeof x === "bigint" && typeof y === "bigint") return x === y;
  if (typeof x === "object" || typeof y === "object") {
    const [re, im] = typeof x === "object" ? x : [x, 0];
    const [otherRe, otherIm] = typeof y === "object" ? y : [y, 0];
    return im === otherIm && numbersEqual(re, otherRe);
  }
  if (typeof x === "number" && typeof y === "number") return x === y;
  const [float, integer] = typeof x === "number" ? [x, y] : [Number(y), x];
  return Number.isInteger(float) && BigInt(float) === integer;
}

/** The items of a set or frozenset, else undefined. */
export function setItems(value: Tagged): readonly Tagged[] | undefined {
  if (value === null || typeof value !== "object" || isItems(value)) return undefined;
  if ("s" in value) return value.s;
  return "fs" in value ? value.fs : undefined;
}

function setsEqual(a: readonly Tagged[], b: readonly Tagged[]): boolean {
  if (a.length !== b.length) return false;
  const [keys, others] = [distinctKeys(a), distinctKeys(b)];
  return keys !== undefined && others !== undefined && [...keys].every((key) => others.has(key));
}

/** The members' keys; undefined where one cannot be looked up or is there twice: a program forged such a set. */
function distinctKeys(members: readonly Tagged[]): ReadonlySet<string> | undefined {
  const keys = new Set<string>();
  for (const member of members) {
    const key = hashKey(member);
    if (key === undefined || keys.has(key)) return undefined;
    keys.add(key);
  }
  return keys;
}

type Pairs = readonly (readonly [Tagged, Tagged])[];

function dictsEqual(a: Pairs, b: Pairs): boolean {
  if (!setsEqual(a.map(firstOf), b.map(firstOf))) return false;
  const values = new Map(b.map(([key, value]) => [hashKey(key), value]));
  return a.every(([key, value]) => {
    const other = values.get(hashKey(key));
    return other !== undefined && pythonEqual(value, other);
  });
}

function firstOf([key]: readonly [Tagged, Tagged]): Tagged {
  return key;
}

/** A text that two hashable values share exactly when they are equal; undefined for values that cannot be looked up. */
export function hashKey(value: Tagged): string | undefined {
  if (value === null) return "none";
  if (typeof value === "string") return `"${JSON.stringify(value)}`;
  const whole = integerText(value);
  if (whole !== undefined) return `n${whole}`;
  const number = numberOf(value);
  if (number !== undefined) return numberKey(number);
  if (typeof value !== "object" || isItems(value)) return undefined;
  if ("b" in value) return `b${value.b}`;
  if ("t" in value) return joinedKeys(value.t, "(", (keys) => keys);
  return "fs" in value ? joinedKeys(value.fs, "{", (keys) => keys.sort()) : undefined;
}

function numberKey(number: PythonNumber): string | undefined {
  if (typeof number === "bigint") return `n${number}`;
  if (typeof number === "object") {
    const [re, im] = number;
    return im === 0 ? numberKey(re) : Number.isNaN(re) || Number.isNaN(im) ? undefined : `c${re},${im}`;
  }
  if (Number.isNaN(number)) return undefined;
  return Number.isInteger(number) ? `n${BigInt(number)}` : `f${number}`;
}

function joinedKeys(items: readonly Tagged[], open: string, order: (keys: string[]) => string[]): string | undefined {
  const keys: string[] = [];
  for (const item of items) {
    const key = hashKey(item);
    if (key === undefined) return undefined;
    keys.push(key);
  }
  return `${open}${order(keys).join(",")})`;
}
