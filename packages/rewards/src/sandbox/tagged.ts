// Values of calls and answers as they cross into the sandbox and back: JSON with tags for what JSON lacks.
// An answer may have millions of them, all checked on the caller's thread: by hand, as schemas would take ten times as long.

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

/** Deeper values come as `o`; what claims to be deeper was not written by our Python. */
const depthMax = 250;

const floatPattern = /^(?:nan|-?inf|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/;
// One form for each integer, so that equal ones are equal texts.
const integerPattern = /^(?:0|-?[1-9]\d*)$/;
const hexPattern = /^[0-9a-f]*$/;

/** Whether parsed JSON is a tagged value. Answers come out of the sandbox, so any shape and depth may be met. */
export function isTagged(value: unknown, depth = 0): value is Tagged {
  if (depth > depthMax) return false;
  if (value === null || typeof value === "boolean" || typeof value === "string") return true;
  if (typeof value === "number") return Number.isSafeInteger(value);
  if (Array.isArray(value)) return areTagged(value, depth);
  if (typeof value !== "object") return false;
  const entries = Object.entries(value);
  const [tag, content]: [string?, unknown?] = entries.length === 1 ? (entries[0] ?? []) : [];
  switch (tag) {
    case "f":
      return isFloat(content);
    case "i":
      return typeof content === "string" && integerPattern.test(content);
    case "t":
    case "s":
    case "fs":
      return areTagged(content, depth);
    case "d":
      return Array.isArray(content) && content.every((pair) => areTagged(pair, depth) && pair.length === 2);
    case "c":
      return Array.isArray(content) && content.length === 2 && content.every(isFloat);
    case "b":
      return typeof content === "string" && content.length % 2 === 0 && hexPattern.test(content);
    case "o":
      return typeof content === "string";
    default:
      return false;
  }
}

function areTagged(items: unknown, depth: number): items is readonly Tagged[] {
  return Array.isArray(items) && items.every((item) => isTagged(item, depth + 1));
}

function isFloat(text: unknown): boolean {
  return typeof text === "string" && floatPattern.test(text);
}

/**
 * The first `most` answers, a line each. A line that is no answer is an error of the program: it forged it. More answers
 * than calls were not written by our Python.
 */
export function parseAnswers(bytes: Uint8Array, most = Number.POSITIVE_INFINITY): Answer[] {
  const text = new TextDecoder().decode(bytes);
  const answers: Answer[] = [];
  for (let begin = 0; begin < text.length && answers.length < most; ) {
    const newline = text.indexOf("\n", begin);
    const end = newline < 0 ? text.length : newline;
    answers.push(parseAnswer(text.slice(begin, end)));
    begin = end + 1;
  }
  return answers;
}

function parseAnswer(line: string): Answer {
  const malformed = { error: "MalformedAnswer", message: "the answer is not a tagged value" };
  let answer: unknown;
  try {
    answer = JSON.parse(line);
  } catch {
    return malformed;
  }
  if (typeof answer !== "object" || answer === null) return malformed;
  const fields = Object.keys(answer).length;
  if (fields === 1 && "value" in answer && isTagged(answer.value)) return { value: answer.value };
  if (fields !== 2 || !("error" in answer && "message" in answer)) return malformed;
  const { error, message } = answer;
  return typeof error === "string" && typeof message === "string" ? { error, message } : malformed;
}
