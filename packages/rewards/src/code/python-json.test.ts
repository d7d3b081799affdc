import { expect, test } from "bun:test";
import { FormatError, fromJson, parsePythonJson, taggedOf } from "./python-json.ts";

const tagged = (text: string) => JSON.stringify(taggedOf(parsePythonJson(text)));

test("numbers keep what Python would tell apart", () => {
  expect(tagged("[1, 1.0, -0, -0.0, 9007199254740991, 9007199254740992, 1e3, 1E400, -1.5e-7]")).toBe(
    '[1,{"f":"1.0"},0,{"f":"-0.0"},9007199254740991,{"i":"9007199254740992"},{"f":"1000.0"},{"f":"inf"},{"f":"-1.5e-7"}]',
  );
  expect(tagged("[NaN, Infinity, -Infinity, true, null]")).toBe('[{"f":"nan"},{"f":"inf"},{"f":"-inf"},true,null]');
});

test("objects are dicts, in order, the last of equal keys counting", () => {
  expect(tagged(' {"b": [1, {"c": ""}], "a": 2, "b": 3} ')).toBe('{"d":[["b",3],["a",2]]}');
  expect(tagged('"\\"\\\\\\ud800 \\\\"')).toBe('"\\"\\\\\\ud800 \\\\"');
});

test("what Python refuses is refused, with the place", () => {
  for (const text of ["", "[1,]", "{1:2}", "01", "1.", ".5", "+1", "'a'", "[1 2]", '"a', '"\t"', "nul", "[", "1 2"]) {
    expect(() => parsePythonJson(text)).toThrow(FormatError);
  }
  expect(() => parsePythonJson("[1, x]")).toThrow('character 4: "x]", expected a JSON value');
  expect(() => parsePythonJson("[".repeat(100_000))).toThrow("deeper than 200");
});

test("parsed JSON of JavaScript holds integers where it cannot know better", () => {
  expect(JSON.stringify(taggedOf(fromJson({ a: [1, 1.5, 1e20, 1e300, null] })))).toBe(
    '{"d":[["a",[1,{"f":"1.5"},{"i":"100000000000000000000"},{"f":"1e+300"},null]]]}',
  );
});
