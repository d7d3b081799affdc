import { expect, test } from "bun:test";
import { gradeMath, mathReward } from "./math-reward.ts";

const kind = (answer: string, gold: string) => {
  const verdict = gradeMath(`so \\boxed{${answer}}`, gold);
  return verdict.status === "graded" ? verdict.kind : verdict.status;
};

test("equal answers", () => {
  const pairs: [string, string][] = [
    ["5", "5"],
    ["5.", "5"],
    ["$5$", "5"],
    [" 05 ", "5"],
    ["5.00", "5"],
    ["+5", "5"],
    ["0.5", "\\frac{1}{2}"],
    [".5", "1/2"],
    ["\\dfrac{2}{4}", "\\frac{1}{2}"],
    ["\\frac12", "\\tfrac{1}{2}"],
    ["-\\frac{1}{2}", "\\frac{-1}{2}"],
    ["-3/4", "-0.75"],
    ["\\left( 1,\\, 2 \\right)", "(1,2)"],
    ["x + 1", "x+1"],
    ["123456789012345678901234567890", "123456789012345678901234567890.0"],
  ];
  for (const [answer, gold] of pairs) expect([answer, gold, kind(answer, gold)]).toEqual([answer, gold, "correct"]);
});

test("different answers", () => {
  const pairs: [string, string][] = [
    ["5", "-5"],
    ["0.333333333333333333", "1/3"], // no tolerance
    ["123456789012345678901234567890", "123456789012345678901234567891"],
    ["1/0", "0"],
    ["12", "1,2"],
    ["\\frac{1}{2}", "2"],
    ["x", "y"],
    ["\\leftarrow", "arrow"],
  ];
  for (const [answer, gold] of pairs) expect([answer, gold, kind(answer, gold)]).toEqual([answer, gold, "wrong"]);
});

test("no box, an empty box, a gold answer in a box, an empty gold answer", () => {
  expect(gradeMath("the answer is 5", "5")).toMatchObject({ kind: "no-answer", score: 0 });
  expect(gradeMath("\\boxed{ }", "5")).toMatchObject({ kind: "unparsable-answer", score: 0 });
  expect(gradeMath("\\boxed{5}", "hence $\\boxed{5}$")).toMatchObject({ kind: "correct", score: 1 });
  expect(gradeMath("\\boxed{5}", " ")).toMatchObject({ status: "fault" });
});

test("the reward reads the prompt's answer and its opened thought", () => {
  const reward = mathReward();
  const rollout = { prompt: { id: "p", answer: "5" }, text: "\\boxed{5}", finishReason: "stop", length: 4 } as const;
  expect(reward(rollout)).toMatchObject({ kind: "correct" });
  expect(reward({ ...rollout, promptText: "<think>\n" })).toMatchObject({ kind: "no-answer" });
  expect(reward({ ...rollout, prompt: { id: "p" } })).toEqual({
    status: "fault",
    reason: "prompt p has no answer to compare with",
  });
});

test("a megabyte of digits or commands is graded at once", () => {
  const started = performance.now();
  expect(kind("9".repeat(1_000_000), "1")).toBe("wrong");
  expect(kind("\\left".repeat(200_000), "1")).toBe("unparsable-answer");
  expect(performance.now() - started).toBeLessThan(2000);
});
