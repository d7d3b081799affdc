import { expect, test } from "bun:test";
import { deflateSync } from "node:zlib";
import { z } from "zod";
import { sharedRows } from "../__fixtures__/shared-data.ts";
import { FormatError } from "./python-json.ts";
import { readProblem } from "./read-problem.ts";

const stdin = (input: string, output: string) => ({ mode: "stdin", tests: [{ input, output }] }) as const;

test("APPS and TACO: streams as text or lines, calls as lists of arguments, text or parsed", () => {
  expect(readProblem({ inputs: [["1", "2"]], outputs: [["3", "4"]] })).toEqual(stdin("1\n2", "3\n4"));
  expect(readProblem({ input_output: '{"inputs": ["1\\n"], "outputs": ["2"], "fn_name": null}' })).toEqual(
    stdin("1\n", "2"),
  );
  expect(readProblem('{"inputs": [[1.0, "a"]], "outputs": [[2]], "fn_name": "f"}')).toEqual({
    mode: "functional",
    entry: "f",
    tests: [{ values: [{ f: "1.0" }, "a"], accepted: [[2], 2], tupleDepth: 2 }],
  });
  const keyed = readProblem({ inputs: [[{ "1": 2 }]], outputs: [{ "3": 4 }], fn_name: "f" });
  expect(keyed.tests[0]).toEqual({
    values: [{ d: [[1, 2]] }],
    accepted: [{ d: [["3", 4]] }, { d: [[3, 4]] }],
    tupleDepth: 2,
  });
});

// The pickle of a short text, as Python's protocol 4 writes it.
function packed(text: string): string {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return deflateSync(Buffer.concat([Buffer.from([0x80, 4, 0x58]), length, bytes, Buffer.from([0x94, 0x2e])])).toString(
    "base64",
  );
}

test("LiveCodeBench: public and private tests, packed or not, one argument a line", () => {
  const test = (input: string, output: string) => ({ input, output, testtype: "functional" });
  const hidden = JSON.stringify([test('{"k": 1.0}', "[2, 3]")]);
  for (const private_test_cases of [hidden, packed(hidden)]) {
    const row = {
      public_test_cases: JSON.stringify([test('[1, 2]\n"x"', "3")]),
      private_test_cases,
      metadata: '{"func_name": "solve"}',
    };
    expect(readProblem(row)).toEqual({
      mode: "functional",
      entry: "solve",
      tests: [
        { values: [[1, 2], "x"], accepted: [3], tupleDepth: 1 },
        { values: [{ d: [["k", { f: "1.0" }]] }], accepted: [[2, 3]], tupleDepth: 1 },
      ],
    });
  }
  expect(readProblem([{ input: "1", output: "2", testtype: "stdin" }])).toEqual(stdin("1", "2"));
  const own = [{ input: "1", output: "2", testtype: "functional", metadata: { func_name: "f" } }];
  expect(readProblem(own)).toMatchObject({ entry: "f", tests: [{ values: [1], accepted: [2] }] });
});

test("code_contests and Codeforces", () => {
  const row = {
    public_tests: { input: ["1"], output: ["2"] },
    private_tests: { input: [], output: [] },
    generated_tests: { input: ["3"], output: ["4"] },
  };
  expect(readProblem(row).tests).toEqual([
    { input: "1", output: "2" },
    { input: "3", output: "4" },
  ]);
  expect(readProblem([{ input: { stdin: "1" }, output: { stdout: "2" } }])).toEqual(stdin("1", "2"));
});

test("APPS: an object whose keys all look like integers is also a dict of integers, each once", () => {
  const [test] = readProblem({
    fn_name: "f",
    inputs: [[1]],
    outputs: [{ "1": 1, "01": 2, "-0": 3, "12345678901234567890": 4 }],
  }).tests;
  expect(test).toMatchObject({
    accepted: [
      {},
      {
        d: [
          [1, 2],
          [0, 3],
          [{ i: "12345678901234567890" }, 4],
        ],
      },
    ],
  });
});

test("integers of any length are read", () => {
  const digits = "9".repeat(1_000_000);
  const [test] = readProblem(`{"fn_name": "f", "inputs": [[${digits}]], "outputs": [{"${digits}": -${digits}}]}`).tests;
  expect(test).toMatchObject({
    values: [{ i: digits }],
    accepted: [{}, { d: [[{ i: digits }, { i: `-${digits}` }]] }],
  });
});

test("what cannot be read says where and what was expected", () => {
  const message = (tests: unknown) => {
    try {
      return String(readProblem(tests));
    } catch (error) {
      return error instanceof FormatError ? error.message : `threw ${error}`;
    }
  };
  expect(message({ inputs: [], outputs: [] })).toBe("no tests; expected at least one");
  expect(message({ inputs: ["1"], outputs: ["1", "2"] })).toBe(
    "inputs and outputs: 1 against 2; expected as many of both",
  );
  expect(message({ cases: 1 })).toContain("tests with the fields cases; expected inputs and outputs");
  expect(message([{ input: "1" }])).toBe('test 1: expected {"input", "output"}');
  expect(message({ inputs: ["1\nx"], outputs: ["1"], fn_name: "f" })).toBe(
    'test 1: character 0: "x", expected a JSON value',
  );
  expect(message({ inputs: [[1]], outputs: [1] })).toContain("test 1: expected text or a list of lines");
  expect(message({ inputs: ["1"], outputs: ["1"], fn_name: "f()" })).toBe("fn_name is not the name of a function");
  expect(message({ public_test_cases: "[]", private_test_cases: "cGxhaW4=" })).toContain("no zlib data");
  expect(message(5)).toBe("tests are neither an object nor a list");
  expect(() => readProblem({ inputs: ["1"], outputs: ["1"] }, { mode: "functional" })).toThrow("fn_name");
});

test("every problem of the public samples is read", () => {
  const codeforces = sharedRows("data/codeforces_408/test.jsonl.gz", z.looseObject({ input_output: z.string() }));
  const contests = sharedRows("data/code_contests_sample/test.jsonl", z.looseObject({ test: z.string() }));
  if (!codeforces || !contests) return;
  const count = (tests: readonly unknown[]) =>
    tests.reduce((sum: number, one) => sum + readProblem(one).tests.length, 0);
  expect(count(codeforces)).toBe(468);
  expect(count(contests.map(({ test }) => test))).toBeGreaterThan(20 * 35);
});
