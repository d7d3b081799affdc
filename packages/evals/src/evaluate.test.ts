import { expect, test } from "bun:test";
import { evaluate } from "./evaluate.ts";
import type { GenerateOptions, Generator } from "./generator.ts";
import type { Task } from "./task.ts";

type Problem = { id: string; answer: string };

/** Answers from a script, in order of the prompts; "…" marks a response cut off by the limit. */
function scripted(responses: string[][]): Generator & { calls: GenerateOptions[] } {
  const calls: GenerateOptions[] = [];
  return {
    calls,
    generate: async (_prompts, options) => {
      calls.push(options);
      return responses.map((texts) =>
        texts.map((text) => {
          const finishReason = text.endsWith("…") ? "length" : "stop";
          return { text, tokens: new Uint32Array(text.length), finishReason };
        }),
      );
    },
  };
}

const task: Task<Problem> = {
  name: "sums",
  problems: [
    { id: "a", answer: "1" },
    { id: "b", answer: "22" },
  ],
  promptInput: ({ id }) => `${id}=`,
  judge: async ({ prompt, text }) =>
    text === "?"
      ? { status: "fault", reason: "worker died" }
      : text === prompt.answer
        ? { status: "graded", score: 1, kind: "correct" }
        : { status: "graded", score: 0, kind: "wrong" },
};
const options = { n: 4, maxTokens: 9, temperature: 1, seed: 1 };

test("avg@n, its errors, pass@k, lengths and kinds by hand", async () => {
  const generator = scripted([
    ["1", "1", "1", "2"], // mean 3/4
    ["22", "1", "1", "2…"], // mean 1/4
  ]);
  const result = await evaluate(generator, task, { ...options, passAt: [1, 2, 4] });
  expect(generator.calls).toEqual([{ ...options, purpose: "eval" }]);
  expect(result.mean).toBe(0.5);
  // Problem means 3/4 and 1/4: variance 1/8 over 2 problems is 1/16.
  expect(result.standardError).toBe(0.25);
  // Within each problem: variance 1/4 (3 · (1/4)² + (3/4)² over 3) of 4 responses is 1/16; mean of two over 2 is 1/32.
  expect(result.samplingError).toBeCloseTo(Math.sqrt(1 / 32), 15);
  // pass@2: 1 − C(1, 2)/6 = 1 and 1 − C(3, 2)/6 = 1/2.
  expect(result.passAt).toEqual({ 1: 0.5, 2: 0.75, 4: 1 });
  expect(result.metrics).toEqual({
    "val-core/sums/mean@4": 0.5,
    "val-core/sums/pass@1": 0.5,
    "val-core/sums/pass@2": 0.75,
    "val-core/sums/pass@4": 1,
  });
  expect(result.responseLengthMean).toBe(10 / 8);
  expect(result.truncated).toBe(1 / 8);
  expect(result.kinds).toEqual({ correct: 4, wrong: 4 });
  expect(result.problems[1]).toMatchObject({ id: "b", mean: 0.25, correct: 1, graded: 4 });
  expect(result.problems[1]?.responses[0]).toEqual({ text: "22", length: 2, kind: "correct" });
});

test("correct is what the verdict calls correct, whatever its score", async () => {
  const partial: Task<Problem> = {
    ...task,
    judge: async ({ text }) =>
      text === "half"
        ? { status: "graded", score: 0.5, kind: "correct" }
        : { status: "graded", score: 1, kind: "wrong" },
  };
  const result = await evaluate(
    scripted([
      ["half", "no"],
      ["no", "no"],
    ]),
    partial,
    { ...options, n: 2 },
  );
  expect(result.problems.map(({ correct }) => correct)).toEqual([1, 0]);
  expect(result.passAt).toEqual({ 1: 0.25, 2: 0.5 });
  expect(result.mean).toBe(0.875);
});

test("a fault leaves the mean of its problem and is counted; pass@k is over what was graded", async () => {
  const result = await evaluate(
    scripted([
      ["1", "?"],
      ["22", "22"],
    ]),
    task,
    { ...options, n: 2 },
  );
  expect(result.mean).toBe(1);
  expect(result.faults).toBe(1);
  expect(result.passAt).toEqual({ 1: 1, 2: 1 });
});

test("a problem of which nothing could be graded, or a task without problems, is an error", async () => {
  await expect(evaluate(scripted([["?"], ["22"]]), task, { ...options, n: 1 })).rejects.toThrow(
    "no response to problem a was graded (worker died)",
  );
  await expect(evaluate(scripted([]), { ...task, problems: [] }, options)).rejects.toThrow("task sums has no problems");
  await expect(evaluate(scripted([]), task, { ...options, passAt: [5] })).rejects.toThrow("pass@5 needs");
});
