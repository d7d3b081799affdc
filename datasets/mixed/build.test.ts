import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseDataset } from "../../packages/data/src/read-dataset.ts";
import { buildFiles, manifestOf } from "./build.ts";
import { mixedRows } from "./mixed.ts";

const committed = (name: string) => readFileSync(join(import.meta.dir, name), "utf8");
const files = buildFiles();

test("the committed files are what build.ts writes, and the manifest says so", () => {
  for (const [name, text] of files) expect([name, committed(name) === text]).toEqual([name, true]);
  expect(JSON.parse(committed("manifest.json"))).toEqual(manifestOf(files));
});

test("every row is read with its source, and with an answer or tests", () => {
  const { prompts } = parseDataset(committed("rows.jsonl"), "rows.jsonl", { need: "answer" });
  expect(prompts.length).toBe(46);
  expect(parseDataset(committed("sft.jsonl"), "sft.jsonl", { need: "solution" }).prompts.length).toBe(24 * 46);
  for (const { source, answer, tests } of prompts) {
    expect([source, answer === undefined, tests === undefined]).toEqual([source, source === "code", source === "math"]);
  }
});

test("no program passes the tests of another", () => {
  const outputs = mixedRows().flatMap(({ tests }) => (tests ? [tests.outputs.join(" ")] : []));
  expect(new Set(outputs).size).toBe(outputs.length);
});
