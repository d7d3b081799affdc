// Reads a data set (JSONL, also gzipped) into prompts, refusing what training could not use by file, row and field.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { gunzipSync } from "node:zlib";
import { z } from "zod";
import { DataError } from "./data-error.ts";
import type { Prompt } from "./prompt.ts";
import { type AdaptedRow, chooseAdapter, type JudgedBy, judgedBy, type RowAdapter } from "./row-adapters.ts";

/** `need`: what every row must have: "answer" (or tests) for RL and evaluation, "solution" for SFT. */
export type DatasetOptions = { readonly need: "answer" | "solution"; readonly limit?: number };

/**
 * `adapter` says how the rows were read, `leftOut` names rows whose own solution leaves the answer empty (`\boxed{}`):
 * both are for the run's first lines. Any other row without an answer is refused.
 */
export type Dataset = {
  readonly prompts: Prompt[];
  readonly adapter: { readonly name: string; readonly fields: string };
  readonly leftOut: readonly string[];
};

/** The prompts of a `.jsonl` or `.jsonl.gz` file. Throws a DataError that names the file, the row and the remedy. */
export async function readDataset(file: string, options: DatasetOptions): Promise<Dataset> {
  return parseDataset(await readText(file), file, options);
}

/** The prompts of JSONL text; `file` names it in messages, its base name in ids that the rows lack. */
export function parseDataset(text: string, file: string, { need, limit }: DatasetOptions): Dataset {
  const prompts: Prompt[] = [];
  const leftOut: string[] = [];
  const rowOfId = new Map<string, number>();
  let adapter: RowAdapter | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    if (limit !== undefined && prompts.length >= limit) break;
    const row = index + 1;
    const place = `${file} row ${row}`;
    const value = parseRow(line, place);
    adapter ??= choose(value, place);
    const adapted = adapt(adapter, value, place);
    if (adapted.emptyBox && adapted.answer === undefined) {
      leftOut.push(`${place}: the solution's box is empty`);
      continue;
    }
    const prompt = toPrompt({ ...adapted, ...judgedBy(value, line) }, adapter, { file, row, need });
    const before = rowOfId.get(prompt.id);
    if (before !== undefined) {
      throw new DataError("bad-row", `${place}: id "${prompt.id}" is also that of row ${before}; make ids unique`);
    }
    rowOfId.set(prompt.id, row);
    prompts.push(prompt);
  }
  if (!adapter) throw new DataError("empty", `${file} has no rows; expected one JSON object a line`);
  return { prompts, adapter: { name: adapter.name, fields: adapter.fields }, leftOut };
}

async function readText(file: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw new DataError("unreadable", `cannot read the data set ${file}; check the path`, { cause });
  }
  const zipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
  if (!zipped && !/\.jsonl?$/.test(file)) {
    throw new DataError("unreadable", `${file}: expected a .jsonl or .jsonl.gz file; convert it to JSONL`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(zipped ? gunzipSync(bytes) : bytes);
  } catch (cause) {
    throw new DataError("unreadable", `${file} is damaged (cut short, or not UTF-8); fetch it again`, { cause });
  }
}

function parseRow(line: string, place: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new DataError("bad-row", `${place}: not JSON; expected one JSON object a line`, { cause });
  }
}

function choose(value: unknown, place: string): RowAdapter {
  const adapter = chooseAdapter(value);
  if ("problem" in adapter) throw new DataError("bad-row", `${place}: ${adapter.problem}`);
  return adapter;
}

function toPrompt(
  { emptyBox, ...adapted }: AdaptedRow & JudgedBy,
  adapter: RowAdapter,
  { file, row, need }: { file: string; row: number; need: DatasetOptions["need"] },
): Prompt {
  const place = `${file} row ${row}`;
  if (adapted.text === undefined && adapted.messages === undefined) {
    throw new DataError("bad-row", `${place}: the question is missing or empty (read as ${adapter.fields})`);
  }
  if (adapted[need] === undefined && !(need === "answer" && adapted.tests !== undefined)) {
    const remedy = need === "answer" ? "rewards compare with it" : "SFT learns from it";
    throw new DataError(
      "bad-row",
      `${place}: field "${need}" is missing or empty; ${remedy} (read as ${adapter.fields})`,
    );
  }
  const name = basename(file).replace(/\.jsonl?(\.gz)?$/, "");
  return { ...adapted, id: adapted.id ?? `${name}-${row}`, place: `${basename(file)} row ${row}` };
}

function adapt(adapter: RowAdapter, value: unknown, place: string): AdaptedRow {
  try {
    return adapter.adapt(value);
  } catch (cause) {
    if (!(cause instanceof z.ZodError)) throw cause;
    const [issue] = cause.issues;
    const field = issue?.path.join(".") || "the row";
    const hint = `the first row was read as ${adapter.fields}`;
    throw new DataError("bad-row", `${place}: ${field}: ${issue?.message ?? "does not fit"}; ${hint}`, { cause });
  }
}
