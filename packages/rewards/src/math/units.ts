// Units behind a number: which words are units, one spelling for each, and how they hang on the value.
import type { Expression } from "./expression.ts";
import { match, type Scanner, take, takeGroupText } from "./scanner.ts";

// Every spelling of a unit that answers use, first the one that stands for it.
const spellings: readonly (readonly string[])[] = [
  ["cm", "centimeter", "centimetre"],
  ["mm", "millimeter", "millimetre"],
  ["km", "kilometer", "kilometre"],
  ["m", "meter", "metre"],
  ["in", "inch", "inches"],
  ["ft", "foot", "feet"],
  ["yd", "yard"],
  ["mi", "mile"],
  ["kg", "kilogram"],
  ["g", "gram"],
  ["lb", "lbs", "pound"],
  ["oz", "ounce"],
  ["s", "sec", "second"],
  ["min", "minute"],
  ["h", "hr", "hrs", "hour"],
  ["day"],
  ["week"],
  ["month"],
  ["year", "yr", "yrs"],
  ["l", "liter", "litre"],
  ["ml", "milliliter"],
  ["gal", "gallon"],
  ["mph", "miles per hour", "mi/h", "mi/hr"],
  ["km/h", "kmh", "kilometers per hour", "km/hr"],
  ["°", "degree", "degrees", "deg"],
  ["%", "percent", "percentage", "pct", "per cent"],
  ["$", "dollar", "dollars", "usd"],
  ["¢", "cent", "cents"],
  ["unit", "units"],
  ["rad", "radian"],
];

const canonical: ReadonlyMap<string, string> = new Map(
  spellings.flatMap(([name = "", ...others]) =>
    [name, ...others].flatMap((spelling): [string, string][] => [
      [spelling, name],
      [`${spelling}s`, name],
    ]),
  ),
);

/** Whether a bare word behind a number is a unit; letters that are as likely variables are not. */
function isBareUnit(word: string): boolean {
  return word.length > 1 && canonical.has(word.toLowerCase());
}

/** One spelling for a unit: `square inches`, `in^2` and `in.^2` are the same. */
export function canonicalUnit(text: string): string {
  const words = text
    .toLowerCase()
    .replace(/[{}().,\\~]/g, " ")
    .trim()
    .replace(/\s+/g, " ");
  const known = canonical.get(words);
  if (known !== undefined) return known;
  const power = /^(?:(square|sq|cubic|cu) (.+)|(.+?) ?\^ ?([23])|(.+?) (squared|cubed))$/.exec(words);
  if (!power) return words.replace(/(?<=[a-z]{2})s$/, "");
  const base = power[2] ?? power[3] ?? power[5] ?? "";
  const isSquare = power[1]?.startsWith("sq") || power[4] === "2" || power[6] === "squared";
  return `${canonicalUnit(base)}^${isSquare ? 2 : 3}`;
}

/** Takes the unit that stands here, or undefined: `\text{ cm}^2`, `cm`, `square feet`, `\mathrm{m}`. */
export function takeUnit(scanner: Scanner): string | undefined {
  const group = match(scanner, /\\(text|mathrm)\s*\{/y);
  if (group) {
    const before = scanner.at;
    scanner.at += group[0].length - 1;
    const content = takeGroupText(scanner).trim();
    const isWord =
      /^[^\d\\]*[a-zA-Z%][^\\]*$/.test(content) && !/^(?:and|or|if|for|where|when|with|e|i|,)\b/.test(content);
    const isLabel = /^\(?[A-Z]\)?$/.test(content);
    if (isWord && !isLabel && !(group[1] === "mathrm" && /^(?:e|i|sin|cos|tan|log|ln|[A-Z]+)$/.test(content))) {
      return canonicalUnit(`${content}${takeUnitPower(scanner)}`);
    }
    scanner.at = before;
    return undefined;
  }
  const before = scanner.at;
  const words = take(scanner, /[a-zA-Z]+(?:[ /]+[a-zA-Z]+)*/y);
  if (words) {
    const parts = words[0].split(/[ /]+/);
    if (canonical.has(words[0].toLowerCase()) || parts.every((part) => isBareUnit(part) || isMeasure(part))) {
      if (parts.some((part) => part.length > 1)) return canonicalUnit(`${words[0]}${takeUnitPower(scanner)}`);
    }
  }
  scanner.at = before;
  return undefined;
}

function isMeasure(word: string): boolean {
  return /^(?:square|sq|cubic|cu|per|squared|cubed|of)$/i.test(word);
}

function takeUnitPower(scanner: Scanner): string {
  const power = take(scanner, /\^\s*\{?\s*([23])\s*\}?/y);
  return power?.[1] ? `^${power[1]}` : "";
}

/** A value with a unit; further units are joined to the first. */
export function attachUnit(value: Expression, unit: string): Expression {
  if (value.kind === "quantity") return { ...value, unit: canonicalUnit(`${value.unit} ${unit}`) };
  return { kind: "quantity", value, unit };
}
