// Every gold answer of public sets equals itself and its rewritings, and nothing that means something else.
import { afterAll, expect, test } from "bun:test";
import { mathGrader } from "../grade-math.ts";
import { perturbed, rewritten } from "./gold-variants.ts";
import { seededRandom } from "./seeded-random.ts";
import { sharedGolds } from "./shared-data.ts";

const grader = mathGrader();
afterAll(grader.close);

for (const path of [
  "data/math_500/test.jsonl",
  "data/math_hendrycks/train.jsonl.gz",
  "data/hmmt_feb_2025/train.jsonl",
  "data/brumo_2025/train.jsonl",
]) {
  test(`gold answers of ${path}`, async () => {
    const golds = sharedGolds(path);
    if (!golds) return;
    const random = seededRandom(7);
    const rows = golds.flatMap((gold) => [
      { golds: [gold], answer: gold, isSame: true },
      ...rewritten(gold).map(({ text }) => ({ golds: [gold], answer: text, isSame: true })),
      ...[1, 2].map(() => ({ golds: [gold], answer: perturbed(gold, random), isSame: false })),
    ]);
    const verdicts = await grader.gradeAll(rows);
    const wrong = rows.filter(({ isSame }, index) => {
      const verdict = verdicts[index];
      return (verdict?.status === "graded" && verdict.score === 1) !== isSame;
    });
    const share = (isSame: boolean) =>
      wrong.filter((row) => row.isSame === isSame).length / rows.filter((row) => row.isSame === isSame).length;
    // At most 0.5% either way; the first few are shown.
    expect([share(true) <= 0.005, share(false) <= 0.005, wrong.slice(0, 5)]).toEqual([true, true, wrong.slice(0, 5)]);
  }, 60_000);
}

test("a seed gives the same perturbations", () => {
  const series = (seed: number) => {
    const random = seededRandom(seed);
    return ["12", "\\frac{1}{2}", "(3,4)", "\\text{odd}"].map((gold) => perturbed(gold, random));
  };
  expect(series(3)).toEqual(series(3));
  expect(series(3)).not.toEqual(series(4));
  expect(rewritten("\\frac{3}{4}").map(({ text }) => text)).toContain("0.75");
});
