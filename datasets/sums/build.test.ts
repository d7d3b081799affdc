import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseDataset } from "../../packages/data/src/read-dataset.ts";
import { buildFiles, manifestOf } from "./build.ts";

const committed = (name: string) => readFileSync(join(import.meta.dir, name), "utf8");
const files = buildFiles();
const promptsOf = (name: string) => {
  const { prompts } = parseDataset(files.get(name) ?? "", name, { need: name === "sft.jsonl" ? "solution" : "answer" });
  return prompts;
};

test("the committed files are what build.ts writes, and the manifest says so", () => {
  for (const [name, text] of files) expect([name, committed(name) === text]).toEqual([name, true]);
  expect(JSON.parse(committed("manifest.json"))).toEqual(manifestOf(files));
});

test("no prompt is in two files or twice in one", () => {
  const all = [...files.keys()].filter((name) => name.endsWith(".jsonl")).flatMap(promptsOf);
  expect(new Set(all.map(({ text }) => text)).size).toBe(all.length);
});

/** Reads `37+5-9` from left to right, modulo 100, as two digits: written apart from the generator. */
function value(expression: string): string {
  let total = 0;
  for (const [, sign, digits] of expression.matchAll(/([+-]?)(\d+)/g)) {
    total = (((total + (sign === "-" ? -1 : 1) * Number(digits)) % 100) + 100) % 100;
  }
  return String(total).padStart(2, "0");
}

test("every answer is right, and so is every step of a worked solution", () => {
  let worked = 0;
  for (const name of ["eval.jsonl", "rl.jsonl", "sft.jsonl"]) {
    for (const { text = "", answer, solution } of promptsOf(name)) {
      expect(value(text.slice(0, -1))).toBe(answer ?? "");
      if (solution === undefined || solution === answer) continue;
      worked++;
      const [work = "", last] = solution.split(" ");
      const steps = work.split(";");
      for (const step of steps) expect(value(step.split("=")[0] ?? "")).toBe(step.split("=")[1] ?? "");
      expect(steps.at(-1)?.split("=")[1]).toBe(answer);
      expect(last).toBe(answer);
    }
  }
  const share = worked / promptsOf("sft.jsonl").length;
  expect(Math.abs(share - 0.5)).toBeLessThan(0.02);
});
