// Values of calls and answers as they cross into the sandbox and back: JSON with tags for what JSON lacks.
import { z } from "zod";

/**
 * null, booleans, strings, integers below 2^53 and lists as JSON; else one tag: `i` a large integer, `f` a float (its
 * repr), `t` tuple, `s` set, `fs` frozenset, `d` dict as pairs, `c` complex, `b` bytes in hex, `o` the type's name of
 * anything else.
 */
export type Tagged = null | boolean | string | number | readonly Tagged[] | TaggedObject;
export type TaggedObject =
  | { readonly i: string }
  | { readonly f: string }
  | { readonly t: readonly Tagged[] }
  | { readonly s: readonly Tagged[] }
  | { readonly fs: readonly Tagged[] }
  | { readonly d: readonly (readonly [Tagged, Tagged])[] }
  | { readonly c: readonly [string, string] }
  | { readonly b: string }
  | { readonly o: string };

/** What one call gave: a value, or the exception that it raised. */
export type Answer = { readonly value: Tagged } | { readonly error: string; readonly message: string };

/** Deeper values come as `o`; what claims to be deeper was not written by our driver. */
const depthMax = 250;

const float = z.string().regex(/^(nan|-?inf|-?\d+(\.\d+)?(e[+-]?\d+)?)$/);
const integer = z.string().regex(/^-?\d+$/);
const taggedObject = z.union([
  z.strictObject({ i: integer }),
  z.strictObject({ f: float }),
  z.strictObject({ c: z.tuple([float, float]) }),
  z.strictObject({ b: z.string().regex(/^([0-9a-f]{2})*$/) }),
  z.strictObject({ o: z.string() }),
]);

/** Whether parsed JSON is a tagged value. Answers come out of the sandbox, so any shape and depth may be met. */
export function isTagged(value: unknown, depth = 0): value is Tagged {
  if (depth > depthMax) return false;
  if (value === null || typeof value === "boolean" || typeof value === "string") return true;
  if (typeof value === "number") return Number.isSafeInteger(value);
  const areTagged = (items: unknown): boolean =>
    Array.isArray(items) && items.every((item) => isTagged(item, depth + 1));
  if (Array.isArray(value)) return areTagged(value);
  if (typeof value !== "object") return false;
  const entries = Object.entries(value);
  const [tag, items] = entries.length === 1 ? (entries[0] ?? []) : [];
  if (tag === "t" || tag === "s" || tag === "fs") return areTagged(items);
  if (tag === "d") return Array.isArray(items) && items.every((pair) => areTagged(pair) && pair.length === 2);
  return taggedObject.safeParse(value).success;
}

const errorSchema = z.strictObject({ error: z.string(), message: z.string() });

/** The answers that were read, a line each. A line that is no answer is an error of the program: it forged it. */
export function parseAnswers(bytes: Uint8Array): Answer[] {
  const text = new TextDecoder().decode(bytes);
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines.map(parseAnswer);
}

function parseAnswer(line: string): Answer {
  const malformed = { error: "MalformedAnswer", message: "the answer is not a tagged value" };
  let answer: unknown;
  try {
    answer = JSON.parse(line);
  } catch {
    return malformed;
  }
  const error = errorSchema.safeParse(answer);
  if (error.success) return error.data;
  if (typeof answer !== "object" || answer === null || Object.keys(answer).length !== 1) return malformed;
  return "value" in answer && isTagged(answer.value) ? { value: answer.value } : malformed;
}
