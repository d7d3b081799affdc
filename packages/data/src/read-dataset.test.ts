import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { type DatasetOptions, parseDataset, readDataset } from "./read-dataset.ts";

const folder = mkdtempSync(join(tmpdir(), "gradus-data-"));
afterAll(() => rmSync(folder, { recursive: true }));

const parse = (rows: readonly object[], need: DatasetOptions["need"] = "answer") =>
  parseDataset(rows.map((row) => JSON.stringify(row)).join("\n"), "some/set.jsonl", { need });

test("fields: MATH, AceReason-Math, numbers as answers, the set's own ids", () => {
  const { prompts, adapter } = parse([{ problem: "1+1?", solution: "It is \\boxed{\\frac{4}{2}}.", level: "Level 1" }]);
  expect(adapter).toEqual({ name: "fields", fields: "problem, solution" });
  expect(prompts[0]).toEqual({
    id: "set-1",
    text: "1+1?",
    answer: "\\frac{4}{2}",
    solution: "It is \\boxed{\\frac{4}{2}}.",
    place: "set.jsonl row 1",
  });
  expect(parse([{ problem: "2?", answer: 2, id: 7 }]).prompts[0]).toMatchObject({ id: "7", answer: "2" });
  expect(parse([{ prompt: "37+5=", answer: "42" }]).adapter.fields).toBe("prompt, answer");
});

test("a row whose own solution leaves the answer empty is left out and named; other holes are refused", () => {
  const good = { problem: "1?", answer: "1", solution: "\\boxed{1}" };
  const { prompts, leftOut } = parse([good, { problem: "2?", answer: "", solution: "so \\boxed{}" }]);
  expect(prompts).toHaveLength(1);
  expect(leftOut).toEqual(["some/set.jsonl row 2: the solution's box is empty"]);
  expect(() => parse([good, { problem: "2?", solution: "so \\boxed{2}" }])).toThrow('row 2: field "answer" is missing');
});

test("GSM8K: the number after #### is the answer, what stands before it the solution", () => {
  const { prompts, adapter } = parse([{ question: "Clips?", answer: "48/2 = 24\n48+24 = 72\n#### 1,072" }]);
  expect(adapter.name).toBe("gsm8k");
  expect(prompts[0]).toMatchObject({ text: "Clips?", answer: "1072", solution: "48/2 = 24\n48+24 = 72" });
});

test("messages: the last assistant message is the solution", () => {
  const messages = [
    { role: "user", content: "1+1?" },
    { role: "assistant", content: "2" },
  ];
  const { prompts, adapter } = parse([{ messages, answer: "2" }]);
  expect(adapter.name).toBe("messages");
  expect(prompts[0]).toMatchObject({ messages: [messages[0]], answer: "2", solution: "2" });
});

test("alpaca: instruction and input are one question", () => {
  const { prompts } = parse([{ instruction: "Add", input: "1, 1", output: "2" }], "solution");
  expect(prompts[0]).toMatchObject({ text: "Add\n\n1, 1", solution: "2" });
});

test("bad rows are named by file, row and field", () => {
  const good = { problem: "1?", answer: "1", solution: "1" };
  expect(() => parse([good, { problem: "2?", answer: " " }])).toThrow(
    'some/set.jsonl row 2: field "answer" is missing or empty; rewards compare with it (read as problem, answer, solution)',
  );
  expect(() => parse([good, { problem: "2?", answer: "2" }], "solution")).toThrow('row 2: field "solution" is missing');
  expect(() => parse([good, { question: "2?", answer: "2" }])).toThrow("row 2: problem:");
  expect(() => parse([{ text: "1?" }])).toThrow("row 1: no question: expected one of messages, problem");
  expect(() => parse([{ problem: "1?", question: "1?", answer: "1" }])).toThrow(
    'both "problem" and "question" could be the question',
  );
  expect(() =>
    parse([
      { ...good, id: "x" },
      { ...good, id: "x" },
    ]),
  ).toThrow('row 2: id "x" is also that of row 1');
  expect(() => parse([{ ...good, solution: ["5"] }])).toThrow("row 1: solution:");
  expect(() => parse([{ problem: " ", answer: "1" }])).toThrow("row 1: the question is missing or empty");
  expect(() => parseDataset('{"problem"', "cut.jsonl", { need: "answer" })).toThrow("cut.jsonl row 1: not JSON");
  expect(() => parse([])).toThrow("some/set.jsonl has no rows");
});

test("plain and gzipped files; blank lines do not shift row numbers; a limit", async () => {
  const text = '{"problem":"1?","answer":"1"}\n\n{"problem":"2?","answer":"2"}\n';
  writeFileSync(join(folder, "a.jsonl"), text);
  writeFileSync(join(folder, "a.jsonl.gz"), gzipSync(text));
  for (const name of ["a.jsonl", "a.jsonl.gz"]) {
    const { prompts } = await readDataset(join(folder, name), { need: "answer" });
    expect(prompts.map(({ id }) => id)).toEqual(["a-1", "a-3"]);
  }
  expect((await readDataset(join(folder, "a.jsonl"), { need: "answer", limit: 1 })).prompts).toHaveLength(1);
});

test("files that cannot be read are named with the remedy", async () => {
  writeFileSync(join(folder, "cut.jsonl.gz"), gzipSync("a".repeat(1000)).subarray(0, 15));
  writeFileSync(join(folder, "set.parquet"), "PAR1");
  const read = (name: string) => readDataset(join(folder, name), { need: "answer" });
  await expect(read("absent.jsonl")).rejects.toThrow("cannot read the data set");
  await expect(read("cut.jsonl.gz")).rejects.toThrow("is damaged");
  await expect(read("set.parquet")).rejects.toThrow("expected a .jsonl or .jsonl.gz file");
});

test("tests of a program are found under any field of their data set's family", () => {
  const tests = { input: ["1\n"], output: ["2\n"] };
  for (const field of ["public_tests", "private_tests", "generated_tests"]) {
    expect(parse([{ problem: "Add one.", [field]: tests }]).prompts[0]?.tests).toEqual({ [field]: tests });
  }
  const packed = { private_test_cases: "eJ…", metadata: '{"func_name":"f"}' };
  expect(parse([{ problem: "Add one.", ...packed }]).prompts[0]?.tests).toEqual(packed);
  expect(() => parse([{ problem: "Add one.", metadata: "{}" }])).toThrow('field "answer" is missing');
});

test("where parsed tests would lose a float or a digit, their text is kept as it is written", () => {
  const line = (tests: string) =>
    `{"tests": 0, "problem": "f", "note": {"tests": 1.5}, "tests" : ${tests} , "id": "x"}`;
  const read = (text: string) => parseDataset(`${text}\n`, "set.jsonl", { need: "answer" }).prompts[0];
  const exact = '{"inputs": [[1.0], [9007199254740993]], "outputs": [[1e2], ["\\"}, 1.0"]], "fn_name": "f"}';
  expect(read(line(exact))).toMatchObject({ testsText: exact, tests: { inputs: [[1], [2 ** 53]] } });
  const same = '{"inputs": ["1.0"], "outputs": ["\\\\", -12]}';
  expect(read(line(same))).toMatchObject({ tests: { inputs: ["1.0"] } });
  expect(read(line(same))?.testsText).toBeUndefined();
  const fields = '{"problem": "f", "public_tests": {"input": [1.0]}, "x": 2.5, "private_tests": {"input": []}}';
  expect(read(fields)?.testsText).toBe('{"public_tests":{"input": [1.0]},"private_tests":{"input": []}}');
  expect(read('{"problem": "f", "x": 2.5, "private_tests": {"input": []}}')?.testsText).toBeUndefined();
});
