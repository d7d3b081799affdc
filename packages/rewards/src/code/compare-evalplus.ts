// EvalPlus's rule for a call's result: equal, or close where the expected value is of floats; and its special oracles.
import type { Tagged } from "../sandbox/tagged.ts";
import { allClose } from "./array-close.ts";
import type { EvalPlusTask } from "./evalplus-task.ts";
import { floatPower } from "./float-power.ts";
import { hashKey, kindOf, numberOf, pythonEqual, sequenceOf, setItems } from "./python-value.ts";

/** What one call was given, should give and gave. */
export type CallOutcome = {
  readonly values: readonly Tagged[];
  readonly expected: Tagged;
  readonly result: Tagged;
};

/** MBPP+ tasks of which only the absence of None counts, or true and false. */
const notNoneEntries = new Set(["check_str", "text_match_three", "text_starta_endb"]);
/** MBPP+ tasks whose lists count as sets. */
const setEntries = new Set([
  "similar_elements",
  "find_char_long",
  "common_in_nested_lists",
  "extract_singly",
  "larg_nnum",
  "intersection_array",
  "find_dissimilar",
  "Diff",
]);

const floatTolerance = 1e-6;

/**
 * The rule for one set of a task's inputs, to be asked of its calls in order: once a result of floats alone was expected,
 * EvalPlus keeps its tolerance for the calls that follow.
 */
export function evalPlusRule(task: EvalPlusTask): (call: CallOutcome) => boolean {
  let { tolerance } = task;
  return (call) => {
    if (task.dataset === "humaneval" && task.entry === "find_zero") return isNearZero(call, tolerance);
    const { expected, result } = call;
    const isExact = task.dataset === "mbpp" ? isExactForMbpp(task, call) : pythonEqual(result, expected);
    if (tolerance === 0 && isOfFloats(expected)) tolerance = floatTolerance;
    if (isExact || tolerance === 0) return isExact;
    if (typeName(result) !== typeName(expected)) return false;
    if (sequenceOf(result)?.length !== sequenceOf(expected)?.length) return false;
    return allClose(result, expected, tolerance);
  };
}

function isExactForMbpp({ entry, tolerance }: EvalPlusTask, { values, expected, result }: CallOutcome): boolean {
  if (setEntries.has(entry)) return haveSameItems(result, expected);
  if (notNoneEntries.has(entry)) {
    const wanted = expected !== null;
    return typeof result === "boolean" ? result === wanted : wanted === (result !== null);
  }
  if (pythonEqual(result, expected)) return true;
  if (entry === "are_equivalent") return true;
  if (entry === "sum_div") return pythonEqual(result, 0);
  if (entry === "surface_Area") return isNear(result, surfaceArea(values), tolerance);
  return entry === "digit_distance_nums" && pythonEqual(result, digitDistance(values));
}

function typeName(value: Tagged): string {
  return value !== null && typeof value === "object" && "o" in value ? value.o : kindOf(value);
}

function isOfFloats(value: Tagged): boolean {
  const items = sequenceOf(value);
  if (items === undefined) return kindOf(value) === "f";
  return items.length > 0 && items.every((item) => kindOf(item) === "f");
}

function haveSameItems(a: Tagged, b: Tagged): boolean {
  const [first, second] = [itemKeys(a), itemKeys(b)];
  if (!first || !second || first.size !== second.size) return false;
  return [...first].every((key) => second.has(key));
}

// The items of Python's `set(value)`; undefined where that raises.
function itemKeys(value: Tagged): ReadonlySet<string> | undefined {
  const items = typeof value === "string" ? [...value] : (sequenceOf(value) ?? setItems(value) ?? keysOf(value));
  const keys = new Set<string>();
  for (const item of items ?? []) {
    const key = hashKey(item);
    if (key === undefined) return undefined;
    keys.add(key);
  }
  return items === undefined ? undefined : keys;
}

function keysOf(value: Tagged): readonly Tagged[] | undefined {
  return value !== null && typeof value === "object" && "d" in value ? value.d.map(([key]) => key) : undefined;
}

function realOf(value: Tagged): number | undefined {
  const number = numberOf(value);
  return typeof number === "object" ? undefined : number === undefined ? undefined : Number(number);
}

function isNear(value: Tagged, target: number | undefined, tolerance: number): boolean {
  const real = realOf(value);
  return real !== undefined && target !== undefined && Math.abs(real - target) <= tolerance;
}

/** HumanEval/32: the polynomial with these coefficients is nearly zero at the result, whatever the expected zero. */
function isNearZero({ values, result }: CallOutcome, tolerance: number): boolean {
  const [coefficients, x] = [sequenceOf(values[0] ?? null), realOf(result)];
  if (coefficients === undefined || x === undefined) return false;
  let sum = 0;
  for (const [power, coefficient] of coefficients.entries()) {
    const term = floatPower(x, power);
    // Python raises where a finite number's power is too large.
    if (Number.isFinite(x) && !Number.isFinite(term)) return false;
    sum += (realOf(coefficient) ?? Number.NaN) * term;
  }
  return Math.abs(sum) <= tolerance;
}

/** MBPP/581 with the height taken from the base to the apex. */
function surfaceArea(values: readonly Tagged[]): number | undefined {
  const [edge, height] = [realOf(values[0] ?? null), realOf(values[1] ?? null)];
  if (edge === undefined || height === undefined) return undefined;
  const slant = Math.sqrt((edge / 2) ** 2 + height ** 2);
  return roundHalfEven(edge ** 2 + (4 * (edge * slant)) / 2);
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** MBPP/558 with the shorter number padded with zeros; undefined's stand-in null where a digit is none. */
function digitDistance(values: readonly Tagged[]): Tagged {
  const [a, b] = values.map((value) => String(numberOf(value)));
  if (a === undefined || b === undefined || !/^\d+$/.test(a) || !/^\d+$/.test(b)) return { o: "no digits" };
  const length = Math.max(a.length, b.length);
  const [x, y] = [a.padStart(length, "0"), b.padStart(length, "0")];
  let sum = 0;
  for (let at = 0; at < length; at++) sum += Math.abs(Number(x[at]) - Number(y[at]));
  return sum;
}
