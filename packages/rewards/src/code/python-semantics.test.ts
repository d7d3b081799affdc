// Equality, decimals, white space, closeness and packed tests against CPython and numpy: every pair of the golden file.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import { z } from "zod";
import { isTagged, type Tagged } from "../sandbox/tagged.ts";
import { allClose } from "./array-close.ts";
import { pickledString, unpackTests } from "./packed-tests.ts";
import { decimalsEqual, parseDecimal } from "./python-decimal.ts";
import { FormatError } from "./python-json.ts";
import { pythonSplit, pythonStrip } from "./python-text.ts";
import { pythonEqual } from "./python-value.ts";

const tagged = z.custom<Tagged>((value) => isTagged(value));
const goldenSchema = z.strictObject({
  values: z.array(tagged),
  equal: z.array(z.tuple([z.number(), z.number()])),
  tokens: z.array(z.string()),
  equalTokens: z.array(z.tuple([z.number(), z.number()])),
  texts: z.array(z.tuple([z.string(), z.string(), z.array(z.string())])),
  closeValues: z.array(tagged),
  close: z.array(z.tuple([z.number(), z.number(), z.number()])),
  packedTexts: z.array(z.string()),
  packed: z.array(z.tuple([z.string(), z.number()])),
  notPacked: z.array(z.string()),
});
const file = join(import.meta.dir, "__fixtures__", "python-semantics.golden.json");
const golden = goldenSchema.parse(JSON.parse(readFileSync(file, "utf8")));

test("values are equal exactly where Python's == says so", () => {
  const equal = golden.values.flatMap((a, i) => golden.values.flatMap((b, j) => (pythonEqual(a, b) ? [[i, j]] : [])));
  expect(equal).toEqual(golden.equal);
});

test("a value of another type equals nothing, not even itself", () => {
  expect(pythonEqual({ o: "S" }, { o: "S" })).toBe(false);
  expect(pythonEqual({ s: [{ o: "S" }] }, { s: [{ o: "S" }] })).toBe(false);
  expect(pythonEqual([{ o: "S" }], [1])).toBe(false);
});

test("a forged set or dict with repeated members equals nothing that has one of them", () => {
  expect(pythonEqual({ s: [2, 2, 2] }, { s: [2, 3, 5] })).toBe(false);
  expect(pythonEqual({ s: [2, 3, 5] }, { fs: [2, 2, 2] })).toBe(false);
  expect(pythonEqual({ fs: [2, { f: "2.0" }, true] }, { s: [2, 3, 1] })).toBe(false);
  expect(pythonEqual({ s: [2, 2, 3] }, { s: [3, 3, 2] })).toBe(false);
  const pairs = [2, 2].map((key): [Tagged, Tagged] => [key, 1]);
  const wanted = { d: [2, 3].map((key): [Tagged, Tagged] => [key, key === 2 ? 1 : 7]) };
  expect(pythonEqual({ d: pairs }, wanted)).toBe(false);
  expect(pythonEqual(wanted, { d: pairs })).toBe(false);
  expect(pythonEqual({ s: [{ fs: [1, 1] }] }, { s: [{ fs: [1, 2] }] })).toBe(false);
});

test("integers of millions of digits are compared in no time, and equal no float", () => {
  const long = "7".repeat(8_000_000);
  expect(pythonEqual({ i: long }, { i: long })).toBe(true);
  expect(pythonEqual({ i: long }, { i: `-${long}` })).toBe(false);
  expect(pythonEqual({ i: long }, { i: `${long.slice(1)}8` })).toBe(false);
  for (const other of [5, { f: "inf" }, { f: "1e+308" }, { c: ["inf", "0.0"] } as const, true, "7"]) {
    expect(pythonEqual({ i: long }, other)).toBe(false);
    expect(pythonEqual(other, { i: `-${long}` })).toBe(false);
  }
  expect(pythonEqual({ s: [{ i: long }, 1] }, { s: [1, { i: long }] })).toBe(true);
  expect(pythonEqual({ s: [{ i: long }, 1] }, { s: [1, { i: `1${long}` }] })).toBe(false);
  expect(allClose([{ i: long }], [{ f: "1.0" }], 1e-6)).toBe(false);
});

test("words are equal decimals exactly where Python's Decimal says so", () => {
  const decimals = golden.tokens.map(parseDecimal);
  const equal = decimals.flatMap((a, i) =>
    decimals.flatMap((b, j) => (a !== undefined && b !== undefined && decimalsEqual(a, b) ? [[i, j]] : [])),
  );
  expect(equal).toEqual(golden.equalTokens);
});

test("a word of a million characters is read in no time", () => {
  expect(parseDecimal(`1e${"9".repeat(1_000_000)}`)).toBeUndefined();
  const long = parseDecimal(`0.${"0".repeat(500_000)}${"7".repeat(500_000)}e1000000`);
  expect(long !== undefined && decimalsEqual(long, long)).toBe(true);
}, 60_000);

test("words of a million characters that are nearly decimals are refused in no time", () => {
  const digits = "1".repeat(1_000_000);
  for (const word of [
    `${digits}x`,
    `${digits}.${digits}x`,
    `.${digits}x`,
    `1e${digits}x`,
    `nan${digits}x`,
    `1${"_".repeat(1e6)}x`,
  ]) {
    expect(parseDecimal(word)).toBeUndefined();
  }
});

test("white space is Python's", () => {
  for (const [text, stripped, split] of golden.texts) {
    expect(pythonStrip(text)).toBe(stripped);
    expect(pythonSplit(text)).toEqual(split);
  }
});

test("arrays are close exactly where numpy's allclose says so", () => {
  const close = golden.closeValues.flatMap((a, i) =>
    golden.closeValues.flatMap((b, j) =>
      [1e-6, 1e-4].flatMap((tolerance) => (allClose(a, b, tolerance) ? [[i, j, tolerance]] : [])),
    ),
  );
  expect(close).toEqual(golden.close);
});

test("arrays whose shapes broadcast to a square, and deep ones, are compared in no time", () => {
  const zero: Tagged = { f: "0.0" };
  const row: Tagged[] = Array.from({ length: 50_000 }, () => zero);
  expect(
    allClose(
      row.map((item) => [item]),
      row,
      1e-6,
    ),
  ).toBe(false);
  expect(allClose([row], row, 1e-6)).toBe(true);
  let deep: Tagged = Array.from({ length: 500_000 }, () => zero);
  for (let depth = 0; depth < 200; depth++) deep = [deep];
  expect(allClose(deep, [zero], 1e-6)).toBe(false);
});

test("packed tests give their text, whatever the pickle's protocol", () => {
  for (const [packed, index] of golden.packed) expect(unpackTests(packed)).toBe(golden.packedTexts[index] ?? "");
  expect(golden.packed.length).toBe(12);
});

test("anything but a packed text is refused, and so is too much of it", () => {
  for (const packed of golden.notPacked) expect(() => unpackTests(packed)).toThrow(FormatError);
  expect(() => unpackTests("bm8gemxpYg==")).toThrow("no zlib data");
  const large = golden.packed.find(([, index]) => index === 1)?.[0] ?? "";
  expect(() => unpackTests(large, 1000)).toThrow("more than 1000 bytes");
  const bomb = deflateSync(new Uint8Array(50_000_000)).toString("base64");
  expect(() => unpackTests(bomb, 1_000_000)).toThrow("more than 1000000 bytes");
  // A pickle that would run a function: the instruction is refused, nothing runs.
  expect(() => pickledString(Buffer.from("cos\nsystem\n(S'true'\ntR."))).toThrow("instruction 99");
  expect(() => pickledString(Buffer.from([0x80, 4, 0x8c, 200, 65]))).toThrow("cut off");
});
