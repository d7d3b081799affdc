import { expect, test } from "bun:test";
import type { RewardPrompt } from "../reward.ts";
import { problemReader } from "./kept-problems.ts";

/** Prompts whose tests count how often they are read. */
function counting(
  sizes: readonly number[],
  mode: "stdin" | "functional",
): { prompts: RewardPrompt[]; reads: number[] } {
  const reads = sizes.map(() => 0);
  const prompts = sizes.map((size, index) => ({
    id: `${index}`,
    get tests() {
      const text = "x".repeat(size);
      reads[index] = (reads[index] ?? 0) + 1;
      const outputs = mode === "stdin" ? [text] : [[[[text]]]];
      return { inputs: [mode === "stdin" ? "" : [1]], outputs, ...(mode === "functional" && { fn_name: "f" }) };
    },
  }));
  return { prompts, reads };
}

for (const mode of ["stdin", "functional"] as const) {
  test(`${mode}: problems are kept by their size, those last asked for`, () => {
    const { prompts, reads } = counting([60_000, 60_000, 60_000, 10, 300_000], mode);
    // An object of tests is asked for twice a read: whether it is there, and what it holds.
    const asked = () => reads.map((count) => count / 2);
    // A functional test keeps its output twice: as the value and as the list that holds it.
    const problem = problemReader(mode === "stdin" ? 130_000 : 260_000);
    const ask = (...indexes: number[]) => {
      for (const index of indexes) expect(problem(prompts[index] ?? { id: "none" })).toMatchObject({ mode });
    };
    ask(0, 1, 0, 1, 3);
    expect(asked()).toEqual([1, 1, 0, 1, 0]);
    ask(2, 1, 2, 3);
    expect(asked()).toEqual([1, 1, 1, 1, 0]);
    ask(0);
    expect(asked()).toEqual([2, 1, 1, 1, 0]);
    // One that is too large is kept while it is the last one.
    ask(4, 4);
    expect(asked()).toEqual([2, 1, 1, 1, 1]);
    ask(3, 4);
    expect(asked()).toEqual([2, 1, 1, 2, 2]);
    ask(3, 3);
    expect(asked()).toEqual([2, 1, 1, 3, 2]);
  });
}

test("many small problems are kept, which a bound of their number would not", () => {
  const { prompts, reads } = counting(Array(1000).fill(10), "stdin");
  const problem = problemReader();
  for (const prompt of [...prompts, ...prompts]) problem(prompt);
  expect(reads).toEqual(Array(1000).fill(2));
});

test("the text of tests counts, in which a float is not yet an integer", () => {
  const tests = { inputs: [[1]], outputs: [2], fn_name: "f" };
  const testsText = '{"inputs": [[1.0]], "outputs": [2], "fn_name": "f"}';
  const valuesOf = (prompt: RewardPrompt) => {
    const problem = problemReader()(prompt);
    return typeof problem === "object" && problem.mode === "functional" ? problem.tests[0]?.values : problem;
  };
  expect(valuesOf({ id: "a", tests })).toEqual([1]);
  expect(valuesOf({ id: "b", tests, testsText })).toEqual([{ f: "1.0" }]);
});
