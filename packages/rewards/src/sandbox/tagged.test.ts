import { expect, test } from "bun:test";
import { isTagged, parseAnswers } from "./tagged.ts";

const malformed = { error: "MalformedAnswer", message: "the answer is not a tagged value" };
const answersOf = (text: string) => parseAnswers(new TextEncoder().encode(text));

test("answers are read a line each, in order", () => {
  expect(answersOf('{"value":1}\n{"error":"KeyError","message":"\'a\'"}\n{"value":{"f":"nan"}}\n')).toEqual([
    { value: 1 },
    { error: "KeyError", message: "'a'" },
    { value: { f: "nan" } },
  ]);
  expect(answersOf("")).toEqual([]);
});

test("every tag is known", () => {
  const values = [
    null,
    true,
    "a\ud800",
    -3,
    { i: "-123456789012345678901234567890" },
    ...["1.0", "-0.0", "1e-07", "1.7976931348623157e+308", "inf", "-inf", "nan"].map((f) => ({ f })),
    [1, [2]],
    { t: [1, { s: [] }] },
    { fs: [1] },
    { d: [["a", { d: [] }]] },
    { c: ["1.0", "-inf"] },
    { b: "00ff" },
    { o: "list" },
  ];
  for (const value of values) expect([value, isTagged(value)]).toEqual([value, true]);
});

test("what our Python cannot have written is an error of the program, never a value", () => {
  const forged = [
    "not json",
    "1",
    "null",
    '{"value":1.5}',
    '{"value":9007199254740993}',
    '{"value":{}}',
    '{"value":{"f":"hello"}}',
    '{"value":{"f":1}}',
    '{"value":{"t":1}}',
    '{"value":{"d":[[1]]}}',
    '{"value":{"d":[[1,2,3]]}}',
    '{"value":{"b":"0"}}',
    '{"value":{"i":"1e9"}}',
    '{"value":{"i":"007"}}',
    '{"value":{"i":"-0"}}',
    '{"value":{"c":["1.0"]}}',
    '{"value":{"c":["1.0","x"]}}',
    '{"value":{"b":"0g"}}',
    '{"value":{"o":1}}',
    '{"value":{"f":"1.5","f2":"1.5"}}',
    '{"value":{"f":"1.5\\n"}}',
    '{"error":"x","message":1}',
    '{"error":"x","text":"y"}',
    '[{"value":1}]',
    '{"value":{"t":[1],"s":[1]}}',
    '{"value":{"__proto__":[1]}}',
    '{"value":1,"verdict":"correct"}',
    '{"error":"x"}',
    `{"value":${"[".repeat(300)}${"]".repeat(300)}}`,
    `{"value":${"[".repeat(1e6)}${"]".repeat(1e6)}}`,
  ];
  for (const line of forged) expect([line.slice(0, 40), answersOf(line)]).toEqual([line.slice(0, 40), [malformed]]);
});

test("large answers are checked in no time", () => {
  const leaves: readonly unknown[] = [
    { f: "-1.5e-07" },
    { o: "" },
    { c: ["1.0", "nan"] },
    { i: "12345678901234567890" },
    { b: "" },
  ];
  for (const leaf of leaves) expect(isTagged(Array.from({ length: 1_000_000 }, () => leaf))).toBe(true);
  for (const hostile of [{ b: "00".repeat(4_000_000) }, { i: "9".repeat(8_000_000) }, { f: "9".repeat(8_000_000) }]) {
    expect(isTagged(hostile)).toBe(true);
  }
  const digits = "9".repeat(2_000_000);
  for (const f of [`${digits}x`, `${digits}.${digits}x`, `1.0e${digits}x`]) expect(isTagged({ f })).toBe(false);
  expect(isTagged({ b: `${"00".repeat(4_000_000)}0x` })).toBe(false);
});

test("only as many answers are read as were asked for", () => {
  const lines = new TextEncoder().encode('{"value":1}\n'.repeat(2_000_000));
  expect(parseAnswers(lines, 2)).toEqual([{ value: 1 }, { value: 1 }]);
  expect(parseAnswers(lines.subarray(0, 12), 2)).toEqual([{ value: 1 }]);
  expect(answersOf('\n{"value":1}')).toEqual([malformed, { value: 1 }]);
});
