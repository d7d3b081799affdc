// LiveCodeBench's rule for what a program printed: equal lines, or lines whose words are equal decimals.
import { decimalsEqual, parseDecimal } from "./python-decimal.ts";
import { pythonSplit, pythonStrip } from "./python-text.ts";

/**
 * How the printed text differs from the expected one, or undefined where it is right: both stripped, as many lines, and
 * each pair of stripped lines equal, or equal word by word as exact decimals (3.0 = 3, 1e3 = 1000; YES is not Yes).
 */
export function stdoutDifference(printed: string, expected: string): string | undefined {
  const lines = strippedLines(printed);
  const wanted = strippedLines(expected);
  if (lines.length !== wanted.length) return `${lines.length} lines, expected ${wanted.length}`;
  for (const [index, line] of lines.entries()) {
    const want = wanted[index] ?? "";
    if (line !== want && !areEqualDecimals(line, want)) {
      return `line ${index + 1}: ${quoted(line)}, expected ${quoted(want)}`;
    }
  }
  return undefined;
}

function strippedLines(text: string): string[] {
  return pythonStrip(text).split("\n").map(pythonStrip);
}

function areEqualDecimals(line: string, wantedLine: string): boolean {
  const words = pythonSplit(line);
  const wantedWords = pythonSplit(wantedLine);
  if (words.length !== wantedWords.length) return false;
  // The wanted word first: where it is no decimal, what the program printed need not be read.
  return wantedWords.every((want, index) => {
    const wanted = parseDecimal(want);
    const printed = wanted && parseDecimal(words[index] ?? "");
    return wanted !== undefined && printed !== undefined && decimalsEqual(printed, wanted);
  });
}

const quotedMax = 60;

function quoted(text: string): string {
  return JSON.stringify(text.length > quotedMax ? `${text.slice(0, quotedMax)}…` : text);
}
