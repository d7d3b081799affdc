// The judging suite: tests of Python programs in the sandbox, and math verdicts. No peer: the targets are bounds.
import { perturbed, rewritten } from "../../packages/rewards/src/__fixtures__/gold-variants.ts";
import { seededRandom } from "../../packages/rewards/src/__fixtures__/seeded-random.ts";
import { sharedGoldRows } from "../../packages/rewards/src/__fixtures__/shared-data.ts";
import { type MathRow, mathGrader } from "../../packages/rewards/src/grade-math.ts";
import { startSandbox } from "../../packages/rewards/src/sandbox/sandbox.ts";
import type { Target, Unit } from "../rows.ts";

/** A work that is ready to be measured. */
export type Ready = {
  /** Does the work once and gives how many a second; throws where a result was wrong. */
  readonly measure: () => Promise<number>;
  /** What was found beside the speed. */
  readonly note: () => string;
  readonly close: () => void | Promise<void>;
};

export type JudgingPlan = {
  readonly work: string;
  readonly unit: Unit;
  readonly target: Target;
  /** Starts what the work needs; a text says why it cannot be measured here. */
  readonly prepare: () => Promise<Ready | string>;
};

/** The rows of the suite. */
export const judgingPlans: readonly JudgingPlan[] = [
  {
    work: "Python tests in the sandbox, tier A, warm",
    unit: "tests/s",
    target: { kind: "least", value: 150 },
    prepare: () => prepareTests("A"),
  },
  {
    work: "Python tests in the sandbox, tier B, warm",
    unit: "tests/s",
    target: { kind: "least", value: 150 },
    prepare: () => prepareTests("B"),
  },
  {
    work: "math verdicts, gold answers of MATH train",
    unit: "verdicts/s",
    target: { kind: "least", value: 2000 },
    prepare: prepareMath,
  },
];

const testsAtOnce = 300;

async function prepareTests(tier: "A" | "B"): Promise<Ready | string> {
  try {
    const sandbox = await startSandbox({ tier });
    const runAll = async (count: number) => {
      const runs = Array.from({ length: count }, async (_, index) => {
        const program = "a, b = map(int, input().split())\nprint(a + b)\n";
        const run = await sandbox.run({ mode: "stdin", code: program, stdin: `${index} ${index + 1}\n` });
        const printed = new TextDecoder().decode(run.stdout);
        if (run.outcome === "exited" && printed === `${2 * index + 1}\n`) return;
        throw new Error(`test ${index}: ${run.outcome}, ${run.reason ?? run.stderr}, printed ${printed.trim()}`);
      });
      await Promise.all(runs);
    };
    await runAll(testsAtOnce / 5);
    return {
      measure: () => rateOf(testsAtOnce, () => runAll(testsAtOnce)),
      note: () => `${sandbox.workers} workers, every output compared`,
      close: sandbox.close,
    };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const pairs = 20_000;

/** Seeded pairs, a third each identical, rewritten and perturbed. */
async function prepareMath(): Promise<Ready | string> {
  const golds = sharedGoldRows("data/math_hendrycks/train.jsonl.gz");
  if (golds === undefined) return "the gold answers of MATH are not there (GRADUS_SHARED)";
  const random = seededRandom(20_000);
  const work: { row: MathRow; isSame: boolean }[] = Array.from({ length: pairs }, (_, index) => {
    const gold = golds[Math.floor(random() * golds.length)] ?? "";
    const variants = rewritten(gold);
    const rewriting = variants[Math.floor(random() * variants.length)]?.text ?? gold;
    const answer = [gold, rewriting, perturbed(gold, random)][index % 3] ?? gold;
    return { row: { response: `Hence the answer is $\\boxed{${answer}}$.`, golds: [gold] }, isSame: index % 3 < 2 };
  });
  const grader = mathGrader();
  let wrong = 0;
  return {
    measure: () =>
      rateOf(pairs, async () => {
        const verdicts = await grader.gradeAll(work.map(({ row }) => row));
        wrong = verdicts.filter(
          (verdict, index) => (verdict.status === "graded" && verdict.score === 1) !== work[index]?.isSame,
        ).length;
      }),
    note: () => `${pairs} pairs, ${wrong} verdicts not as the pair was made`,
    close: grader.close,
  };
}

async function rateOf(count: number, work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return count / ((performance.now() - began) / 1000);
}
