// Words among the mathematics, and repeating decimals: the two places where a run of characters is one thing.
import type { Expression } from "./expression.ts";
import { match, type Scanner, take, takeGroupText } from "./scanner.ts";

// Short words that are answers, and so no product of their letters.
const shortWords = new Set(
  "yes no odd even none true false all any one two three four five six ten nor not both".split(" "),
);

/** One or more words (four letters or a known short word, or several words in a row) as text, else undefined. */
export function parseWords(scanner: Scanner): Expression | undefined {
  const words = match(scanner, /[a-zA-Z]+(?:[ '-]+[a-zA-Z]+)*/y)?.[0];
  if (words === undefined) return undefined;
  const run = words.split(/ +(?:and|or)(?![a-zA-Z])/)[0] ?? "";
  const parts = run.split(/[ '-]+/);
  const isWord = (part: string) =>
    shortWords.has(part.toLowerCase()) || (part.length >= 4 && part !== part.toUpperCase());
  const isText = parts.every((part) => isWord(part) || part.length <= 3) && parts.some(isWord);
  const follows = scanner.text.slice(scanner.at + run.length);
  if (!isText || (parts.length === 1 && /^\s*[\^_(=]/.test(follows))) return undefined;
  scanner.at += run.length;
  return { kind: "text", text: run.toLowerCase().replace(/ +/g, " ") };
}

/** `0.1\overline{6}` (the digits before it already read) as the exact fraction, else undefined. */
export function parseRepeating(scanner: Scanner, digits: string): Expression | undefined {
  if (!digits.includes(".") || !take(scanner, /\\(?:overline|bar)(?=\s*\{\s*\d+\s*\})/y)) return undefined;
  const period = takeGroupText(scanner).trim();
  const [whole = "", part = ""] = digits.split(".");
  const scale = 10n ** BigInt(part.length);
  const nines = 10n ** BigInt(period.length) - 1n;
  const numerator = BigInt(`${whole}${part}` || "0") * nines + BigInt(period);
  return { kind: "number", value: { numerator, denominator: scale * nines }, decimal: false };
}
