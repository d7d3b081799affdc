import { afterAll, expect, test } from "bun:test";
import { mathGrader } from "./grade-math.ts";
import { mathReward } from "./math-reward.ts";

const grader = mathGrader();
afterAll(grader.close);

const kind = async (answer: string, gold: string) => {
  const verdict = await grader.grade({ response: `so \\boxed{${answer}}`, golds: [gold] });
  return verdict.status === "graded" ? verdict.kind : verdict.status;
};

test("equal answers", async () => {
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
    ["(x+1)^2", "x^2+2x+1"],
    ["\\sqrt{8}", "2\\sqrt2"],
    ["\\frac{1}{1+\\sqrt2}", "\\sqrt2-1"],
    ["2-\\sqrt3", "\\tan 15^\\circ"],
    ["\\sec^2 y", "1+\\tan^2 y"],
    ["2,3", "\\{3, 2\\}"],
    ["x=5", "5"],
    ["x\\in[2,\\infty)", "x \\ge 2"],
    ["(-\\infty,2)\\cup(2,\\infty)", "\\mathbb{R}\\setminus\\{2\\}"],
    ["1\\pm\\sqrt2", "1+\\sqrt2, 1-\\sqrt2"],
    ["10\\text{ cm}", "10"],
    ["50\\%", "50"],
    ["\\frac12", "50\\%"],
    ["\\text{(B)}", "B"],
    ["1{,}234", "1,234"],
    ["3\\frac{1}{2}", "7/2"],
    ["2x - y = 3", "y = 2x - 3"],
    ["0.\\overline{3}", "1/3"],
  ];
  for (const [answer, gold] of pairs)
    expect([answer, gold, await kind(answer, gold)]).toEqual([answer, gold, "correct"]);
});

test("different answers", async () => {
  const pairs: [string, string][] = [
    ["5", "-5"],
    ["0.333333333333333333", "1/3"], // no tolerance
    ["123456789012345678901234567890", "123456789012345678901234567891"],
    ["1/0", "0"],
    ["12", "1,2"],
    ["\\frac{1}{2}", "2"],
    ["x", "y"],
    ["1/2^{98}", "1/2^{99}"],
    ["1/2006!", "1/2004!"],
    ["1.41421356237309504880", "\\sqrt2"],
    ["(1,2)", "[1,2]"],
    ["(2,1)", "(1,2)"],
    ["(1,2)", "1,2"],
    ["x", "\\sqrt{x^2}"],
    ["y = 5", "x = 5"],
    ["10\\text{ cm}", "10\\text{ m}"],
    ["0.5\\%", "50\\%"],
    ["2,1", "A=1, B=2"], // without labels the order says what is what
    ["x > 2", "x \\ge 2"],
    ["3x+4y+14=0", "3x-y+13=0"],
    ["1 + 1/e", "1 - 1/e"],
    ["2022", "\\pm 2022"],
  ];
  for (const [answer, gold] of pairs) expect([answer, gold, await kind(answer, gold)]).toEqual([answer, gold, "wrong"]);
});

test("no box, an empty box, no mathematics, a gold answer in a box, an empty or unreadable gold answer", async () => {
  const grade = (response: string, ...golds: string[]) => grader.grade({ response, golds });
  expect(await grade("the answer is 5", "5")).toMatchObject({ kind: "no-answer", score: 0 });
  expect(await grade("\\boxed{ }", "5")).toMatchObject({ kind: "unparsable-answer", score: 0 });
  expect(await grade("\\boxed{\\leftarrow )}", "5")).toMatchObject({ kind: "unparsable-answer", score: 0 });
  expect(await grade("\\boxed{5}", "hence $\\boxed{5}$")).toMatchObject({ kind: "correct", score: 1 });
  expect(await grade("\\boxed{5}", " ")).toMatchObject({ status: "fault" });
  expect(await grade("\\boxed{5}", "\\frac{")).toMatchObject({ status: "fault" });
  expect(await grade("\\boxed{\\frac{1}}", "\\frac{1}")).toMatchObject({ kind: "correct", method: "string" });
  expect(await grade("\\boxed{5}", "", "5")).toMatchObject({ kind: "correct" });
});

test("boxes on the last line are joined where the gold answer is a list", async () => {
  const response = "first \\boxed{7}\nso \\boxed{2} or \\boxed{3}";
  expect(await grader.grade({ response, golds: ["3, 2"] })).toMatchObject({ kind: "correct" });
  expect(await grader.grade({ response, golds: ["3"] })).toMatchObject({ kind: "correct" });
  expect(await grader.grade({ response, golds: ["7, 3, 2"] })).toMatchObject({ kind: "wrong" });
});

test("the reward reads the prompt's answer and its opened thought", async () => {
  const reward = mathReward({ grader });
  const rollout = { prompt: { id: "p", answer: "5" }, text: "\\boxed{5}", finishReason: "stop", length: 4 } as const;
  expect(await reward(rollout)).toMatchObject({ kind: "correct" });
  expect(await reward({ ...rollout, promptText: "<think>\n" })).toMatchObject({ kind: "no-answer" });
  expect(await reward({ ...rollout, prompt: { id: "p" } })).toEqual({
    status: "fault",
    reason: "prompt p has no answer to compare with",
  });
});
