// EvalPlus's own reading of the data is the reference: the inputs of all MBPP+ tasks, type by type.
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { sharedText } from "../__fixtures__/shared-data.ts";
import type { Tagged } from "../sandbox/tagged.ts";
import { readEvalPlus } from "./evalplus-task.ts";
import { floatOf } from "./python-value.ts";

/** Printed by __fixtures__/evalplus_inputs.py. */
const digest = "1ba62d8306bb367c8d70aef40046f283ef0ae1e9b2d8b8c98f23466d06167577";

function plain(value: Tagged): unknown {
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "string") return `'${value}`;
  if (typeof value === "number") return `i${value}`;
  if (Array.isArray(value)) return ["l", ...value.map(plain)];
  if ("i" in value) return `i${value.i}`;
  if ("f" in value) return floatBits(value.f);
  if ("t" in value) return ["t", ...value.t.map(plain)];
  if ("s" in value) return ["s", ...value.s.map(plain).sort()];
  if ("c" in value) return ["c", ...value.c.map(floatBits)];
  return "d" in value ? ["d", ...value.d.map(([key, item]) => [plain(key), plain(item)])] : "?";
}

function floatBits(text: string): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(floatOf(text));
  return `f${bytes.toString("hex")}`;
}

test("the inputs of MBPP+ are those that EvalPlus makes of them", () => {
  const text = sharedText("data/mbpp_plus/MbppPlus-v0.1.0.jsonl.gz");
  if (text === undefined) return;
  const hash = createHash("sha256");
  for (const { id, base, plus } of readEvalPlus(text, "mbpp").values()) {
    hash.update(JSON.stringify([id, ...[...base, ...plus].map(plain)]));
  }
  expect(hash.digest("hex")).toBe(digest);
});

test("a row that is no task is refused with its line", () => {
  expect(() => readEvalPlus('\n{"task_id": "Mbpp/2"}', "mbpp")).toThrow("line 2 is no EvalPlus task");
});
