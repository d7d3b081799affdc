import { afterAll, expect, test } from "bun:test";
import { perturbed, rewritten } from "./__fixtures__/gold-variants.ts";
import { seededRandom } from "./__fixtures__/seeded-random.ts";
import { type MathMode, mathGrader, mathModes } from "./grade-math.ts";

const grader = mathGrader();
afterAll(grader.close);

const boxed = (answer: string) => `so \\boxed{${answer}}`;
const pathological: readonly (readonly [name: string, answer: string])[] = [
  ["a tower of powers", "9^{9^{9^{9^9}}}"],
  ["10^5 nested braces", `${"{".repeat(1e5)}5${"}".repeat(1e5)}`],
  ["nested brackets", `${"(".repeat(900)}5${")".repeat(900)}`],
  ["1 MB of text", "1+".repeat(5e5)],
  ["a million digits", "7".repeat(1e6)],
  ["2,000 digits", "7".repeat(1990)],
  ["a large expansion", "(x+y+z+w)^{40}"],
  ["a large power of a sum", "(x+1)^{5000}"],
  ["a large factorial", "((((9!)!)!)!)"],
  ["a large binomial coefficient", "\\binom{10^{9}}{5\\cdot10^{8}}"],
  ["a long sum", "\\sum_{n=1}^{10000000}\\frac1n"],
  ["a root of a large number", `\\sqrt[1000000007]{${"1000000007000000049".repeat(20)}}`],
  ["a tower of exponentials", "e^{e^{e^{e^9}}}"],
  ["nested roots", `${"\\sqrt{2+".repeat(40)}1${"}".repeat(40)}`],
  ["many factors", Array.from({ length: 60 }, (_, index) => `(a_{${index}}+b_{${index}})`).join("")],
  ["many signs", `${"1\\pm ".repeat(300)}1`],
  ["a chain of powers", `${"2^".repeat(500)}2`],
  ["a chain of powers of two primes", `${"15^".repeat(40)}2`],
  ["open text", "\\text{".repeat(300)],
  ["open dollars and brackets", "\\( $ \\[ ".repeat(3000)],
];

for (const mode of mathModes) {
  test(`a pathological answer costs little and holds up no other verdict: ${mode}`, async () => {
    await grader.grade({ response: boxed("2-\\sqrt3"), golds: ["\\tan 15^\\circ"] }); // the workers have started
    const rows = pathological.flatMap(([, answer]) =>
      ["5", "e^{\\pi}", "x^2+1", answer].map((gold) => ({ response: boxed(answer), golds: [gold] })),
    );
    const honest = { response: boxed("\\frac{1}{\\sqrt2}"), golds: ["\\frac{\\sqrt2}{2}"] };
    // An answer that costs as much as it could ends the test by its timeout.
    for (const row of rows) {
      const verdicts = await Promise.all([grader.grade(row, { mode }), grader.grade(honest, { mode })]);
      expect(verdicts[1]).toMatchObject({ kind: "correct" });
      // Only a gold answer that cannot be read is a fault: the budget, not the clock, ends the others.
      const [verdict] = verdicts;
      if (verdict?.status === "fault") expect(verdict.reason).toMatch(/^the gold answer/);
    }
  }, 120_000);
}

test("the event loop stays free while a batch is judged", async () => {
  const rows = Array.from({ length: 3000 }, (_, index) => ({
    answer: `(x+${index})^2`,
    golds: [`x^2+${2 * index}x+${index ** 2}`],
  }));
  let turns = 0;
  let longest = 0;
  let last = performance.now();
  const tick = setInterval(() => {
    turns++;
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  const verdicts = await grader.gradeAll(rows);
  clearInterval(tick);
  expect(verdicts.every((verdict) => verdict.status === "graded" && verdict.score === 1)).toBe(true);
  expect(turns).toBeGreaterThan(5);
});

const someGolds = [
  "\\frac{3}{4}",
  "2\\sqrt{5}",
  "(3,-1)",
  "[2,\\infty)",
  "1,2,10",
  "x^2+4x+1",
  "\\tan 15^\\circ",
  "\\frac{1+\\sqrt{5}}{2}",
  "\\log_2 3 + 1",
  "3 \\sec \\theta",
  "2^{100}-1",
  "e^{\\pi}-1",
];

test("verdicts are the same under fourfold load", async () => {
  const random = seededRandom(11);
  const rows = someGolds.flatMap((gold) => [
    ...rewritten(gold).map(({ text }) => ({ answer: text, golds: [gold] })),
    ...Array.from({ length: 4 }, () => ({ answer: perturbed(gold, random), golds: [gold] })),
    { answer: `(${gold})+0`, golds: [gold] },
    { answer: `\\sin^2(1) + \\cos^2(1) - 1 + ${gold}`, golds: [gold] },
  ]);
  const calm = await grader.gradeAll(rows);
  const [first, ...others] = await Promise.all([1, 2, 3, 4].map(() => grader.gradeAll(rows)));
  expect(first).toEqual(calm);
  for (const other of others) expect(other).toEqual(calm);
}, 60_000);

test("modes keep their conventions apart", async () => {
  const score = async (answer: string, gold: string, mode: MathMode) => {
    const verdict = await grader.grade({ answer, golds: [gold] }, { mode });
    return verdict.status === "graded" ? verdict.score : undefined;
  };
  const scores = async (answer: string, gold: string) =>
    Promise.all(mathModes.map((mode) => score(answer, gold, mode)));
  expect(await scores("10001", "10000")).toEqual([0, 0, 1]); // relative tolerance
  expect(await scores("(12,3)", "(1,23)")).toEqual([0, 0, 1]); // commas vanish
  expect(await scores("50", "0.5")).toEqual([0, 0, 1]); // a factor of 100
  expect(await scores("0.333333", "\\frac13")).toEqual([0, 1, 1]); // six places
  expect(await scores("\\{1,3\\}", "(1,3)")).toEqual([0, 1, 0]); // a set for a pair
  expect(await scores("the answer is $7$", "7")).toEqual([0, 1, 0]); // free text
  expect(await score("-124", "-123", "acereason")).toBe(0);
  const aime = await grader.grade(
    { answer: "-124", golds: ["-123"] },
    { mode: "acereason", aceReason: { roundNumber: true } },
  );
  expect(aime).toMatchObject({ score: 1 });
});
