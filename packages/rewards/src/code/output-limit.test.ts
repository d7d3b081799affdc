import { expect, test } from "bun:test";
import { limitsMax } from "../sandbox/protocol.ts";
import { defaultLimits } from "../sandbox/sandbox.ts";
import { limitsFor } from "./output-limit.ts";

const mebibyte = 1024 * 1024;
const printing = (output: string) => ({ input: "", output });
const returning = (...accepted: string[]) => ({ values: [], accepted, tupleDepth: 1 }) as const;

test("a small output leaves the limits as they are", () => {
  expect(limitsFor(printing("5"), {})).toEqual({ outputBytes: defaultLimits.outputBytes });
  expect(limitsFor(returning("5"), { cpuMs: 7, outputBytes: 100 })).toEqual({ cpuMs: 7, outputBytes: 100 });
});

test("a large one has twice its bytes, at most what the sandbox can give", () => {
  expect(limitsFor(printing("x".repeat(10 * mebibyte)), {}).outputBytes).toBe(20 * mebibyte);
  expect(limitsFor(printing("ü".repeat(10 * mebibyte)), { outputBytes: 5 }).outputBytes).toBe(40 * mebibyte);
  expect(limitsFor(printing("x".repeat(60 * mebibyte)), {}).outputBytes).toBe(limitsMax.outputBytes);
  expect(limitsFor(printing("xx"), { outputBytes: limitsMax.outputBytes + 5 }).outputBytes).toBe(limitsMax.outputBytes);
});

test("an answer's bytes are those of JSON in ASCII, of the largest that is accepted", () => {
  expect(limitsFor(returning("5", "x".repeat(10 * mebibyte)), {}).outputBytes).toBe(2 * (10 * mebibyte + 2));
  const bytes = limitsFor(returning("ü".repeat(4 * mebibyte)), {}).outputBytes ?? 0;
  expect(bytes).toBeGreaterThanOrEqual(2 * 6 * 4 * mebibyte);
  expect(limitsFor(returning("\u{1f600}".repeat(mebibyte)), {}).outputBytes).toBeGreaterThanOrEqual(2 * 12 * mebibyte);
});
