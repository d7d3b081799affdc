// How many math verdicts a second: 20,000 seeded pairs from the gold answers of MATH train, a third each identical,
// rewritten and perturbed. `bun packages/rewards/src/math-verdicts.bench.ts`; the last line is one JSON object.

import { z } from "zod";
import { perturbed, rewritten, seededRandom } from "./gold-variants.ts";
import { mathGrader } from "./grade-math.ts";
import { sharedRows } from "./shared-data.ts";

const pairs = 20_000;
const repeats = 5;
const rows = sharedRows("data/math_hendrycks/train.jsonl.gz", z.looseObject({ answer: z.string() }));
const golds = (rows ?? []).map(({ answer }) => answer).filter((answer) => answer.trim() !== "");
if (golds.length === 0) process.exit(2);

const random = seededRandom(20_000);
const work = Array.from({ length: pairs }, (_, index) => {
  const gold = golds[Math.floor(random() * golds.length)] ?? "";
  const variants = rewritten(gold);
  const rewriting = variants[Math.floor(random() * variants.length)]?.text ?? gold;
  const answer = [gold, rewriting, perturbed(gold, random)][index % 3] ?? gold;
  return { row: { response: `Hence the answer is $\\boxed{${answer}}$.`, golds: [gold] }, isSame: index % 3 < 2 };
});

const grader = mathGrader();
const rates: number[] = [];
let wrong = 0;
for (let repeat = 0; repeat < repeats; repeat++) {
  const began = performance.now();
  const verdicts = await grader.gradeAll(work.map(({ row }) => row));
  rates.push(pairs / ((performance.now() - began) / 1000));
  wrong = verdicts.filter(
    (verdict, index) => (verdict.status === "graded" && verdict.score === 1) !== work[index]?.isSame,
  ).length;
}
grader.close();
const sorted = [...rates].sort((a, b) => a - b);
const median = sorted[Math.floor(repeats / 2)] ?? 0;
console.log(`${pairs} pairs, ${repeats} times: ${rates.map((rate) => Math.round(rate)).join(", ")} verdicts a second`);
console.log(
  JSON.stringify({ suite: "math-verdicts", pairs, verdictsPerSecond: Math.round(median), wrong, toReach: 2000 }),
);
