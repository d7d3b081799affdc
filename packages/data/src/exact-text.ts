// The JSON text of a row's fields as the file has it: JSON.parse makes 1.0 an integer and rounds large integers, and to a
// program that is judged by them these are other arguments.

/**
 * The text of one field's value, or of an object of several fields, in `line`, a JSON object. Undefined where a parsed value
 * says the same: where no number of it is a float or longer than 15 digits.
 */
export function exactText(line: string, field: string | readonly string[]): string | undefined {
  // Most rows hold no such number.
  if (!hasInexact(line)) return undefined;
  const members = memberTexts(line);
  const several = (names: readonly string[]) =>
    `{${names.map((name) => `${JSON.stringify(name)}:${members.get(name) ?? "null"}`).join(",")}}`;
  const text = typeof field === "string" ? members.get(field) : several(field);
  return text !== undefined && hasInexact(text) ? text : undefined;
}

const inexact = /^-?\d.*[.eE]|\d{16}/;

function hasInexact(text: string): boolean {
  for (const { token } of tokensOf(text)) if (inexact.test(token)) return true;
  return false;
}

/** The text of every member of an object; where a name comes twice the later one counts, as in JSON.parse. */
function memberTexts(object: string): Map<string, string> {
  const members = new Map<string, string>();
  let [depth, name, start] = [0, "", 0];
  for (const { token, at } of tokensOf(object)) {
    if (depth === 1 && token === ":") start = at + 1;
    else if (depth === 1 && start === 0 && token === '"') name = stringAt(object, at);
    else if (depth === 1 && start > 0 && (token === "," || token === "}")) {
      members.set(name, object.slice(start, at).trim());
      start = 0;
    }
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
  }
  return members;
}

/** Every token of valid JSON and where it begins; of a string, which may be a hundred megabytes, the opening quote alone. */
function* tokensOf(text: string): Generator<{ token: string; at: number }> {
  const plain = /[{}[\],:"]|[^\s{}[\],:"]+/g;
  for (let found = plain.exec(text); found !== null; found = plain.exec(text)) {
    yield { token: found[0], at: found.index };
    if (found[0] === '"') plain.lastIndex = stringEnd(text, found.index);
  }
}

function stringAt(text: string, start: number): string {
  return String(JSON.parse(text.slice(start, stringEnd(text, start))));
}

/** The place behind the string that begins at `start`. */
function stringEnd(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  while (end >= 0 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
  return end < 0 ? text.length : end + 1;
}

// Whether an odd number of backslashes stands before the quote.
function isEscaped(text: string, quote: number): boolean {
  let at = quote - 1;
  while (text[at] === "\\") at--;
  return (quote - at) % 2 === 0;
}
