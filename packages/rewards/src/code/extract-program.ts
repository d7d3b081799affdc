// Finds the program in a response: the first step of every verdict on code.
import { gradedPart } from "../extract-answer.ts";

/** Tags of a fence that mean Python. */
const pythonTags = ["python", "python3", "py"];

type Block = { readonly tag: string; readonly content: string };

/**
 * The last fenced block in Python (or in one of `languages`, compared without case) after the last `</think>`; where none
 * has such a tag, the last block without a tag; else undefined. A block that is never closed is none.
 */
export function extractProgram(
  text: string,
  promptText = "",
  languages: readonly string[] = pythonTags,
): string | undefined {
  const graded = gradedPart(text, promptText);
  if (graded === undefined) return undefined;
  const wanted = new Set(languages.map(languageOf));
  const blocks = fencedBlocks(graded, wanted);
  const block = blocks.findLast(({ tag }) => wanted.has(languageOf(tag))) ?? blocks.findLast(({ tag }) => tag === "");
  return block?.content;
}

/** The language of a tag: that of python:main.py, {.python} and python3.11 is Python's. */
function languageOf(tag: string): string {
  return (/^\{?\.?([^:{}.,]*)/.exec(tag)?.[1] ?? "").toLowerCase();
}

const fenceStart = /^( {0,3})(`{3,})[ \t]*([^\s`]*)/;

/** The parts of a line of a fence, behind which no further backtick may stand; undefined for any other line. */
function fenceOf(line: string): { indent: string; fence: string; tag: string } | undefined {
  const [start, indent = "", fence = "", tag = ""] = fenceStart.exec(line) ?? [];
  // Not a part of the pattern: it would be tried anew from every character of a long line.
  return start === undefined || line.includes("`", start.length) ? undefined : { indent, fence, tag };
}

/** The closed blocks between lines of three or more backticks, as Markdown has them, save that prose may follow the last. */
function fencedBlocks(text: string, languages: ReadonlySet<string>): readonly Block[] {
  const blocks: Block[] = [];
  let open: { tag: string; fence: number; indent: number; lines: string[] } | undefined;
  for (const given of text.split("\n")) {
    const line = given.endsWith("\r") ? given.slice(0, -1) : given;
    const { indent = "", fence = "", tag = "" } = fenceOf(line) ?? {};
    if (open === undefined) {
      if (fence !== "") open = { tag, fence: fence.length, indent: indent.length, lines: [] };
    } else if (fence !== "" && languages.has(languageOf(tag))) {
      // A model that begins its program anew without closing the first block: the new one counts.
      open = { tag, fence: fence.length, indent: indent.length, lines: [] };
    } else if (fence.length >= open.fence) {
      blocks.push({ tag: open.tag, content: open.lines.join("\n") });
      open = undefined;
    } else open.lines.push(withoutIndent(line, open.indent));
  }
  return blocks;
}

// The fence's own indentation (a block within a list) is no part of its lines.
function withoutIndent(line: string, indent: number): string {
  const spaces = /^ */.exec(line)?.[0].length ?? 0;
  return line.slice(Math.min(indent, spaces));
}
