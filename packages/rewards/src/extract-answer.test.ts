import { expect, test } from "bun:test";
import { extractAnswer } from "./extract-answer.ts";

const opened = "<|im_start|>assistant\n<think>\n";

test("the last balanced box", () => {
  const cases: [string, string | undefined][] = [
    ["\\boxed{5}", "5"],
    ["first \\boxed{5}, then \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"],
    ["\\fbox{7}", "7"],
    ["\\boxed {8}", "8"],
    ["\\boxed{3} and \\boxed{4", "3"], // the last one is never closed
    ["\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"], // escaped braces are characters
    ["\\boxed{\\boxed{3}}", "3"],
    ["\\boxedx{3}", undefined],
    ["{5}", undefined],
    ["\\boxed 5", undefined],
    ["", undefined],
  ];
  for (const [text, answer] of cases) expect(extractAnswer(text)).toBe(answer);
});

test("only what follows the last </think> is graded", () => {
  expect(extractAnswer("\\boxed{1}</think> so \\boxed{2}", opened)).toBe("2");
  expect(extractAnswer("\\boxed{1}</think> so 2", opened)).toBeUndefined();
  expect(extractAnswer("a</think>\\boxed{1}</think>\\boxed{2}", opened)).toBe("2");
});

test("a thought that the prompt opened and the response never closes has no answer", () => {
  expect(extractAnswer("\\boxed{1}", opened)).toBeUndefined();
  expect(extractAnswer("\\boxed{1}", "no thought")).toBe("1");
  expect(extractAnswer("\\boxed{1}", "<think>done</think>")).toBe("1");
});

test("10^6 nested or unclosed braces cost no more than their length", () => {
  const depth = 1_000_000; // its square would take longer than the test may
  expect(extractAnswer(`${"\\boxed{".repeat(depth)}1${"}".repeat(depth)}`)).toBe("1");
  expect(extractAnswer("\\boxed{".repeat(depth))).toBeUndefined();
}, 60_000);
