// Public graders' own cases: each mode against those whose convention it has. The misses are listed with their reasons.
import { afterAll, expect, test } from "bun:test";
import { z } from "zod";
import { sharedRows } from "./__fixtures__/shared-data.ts";
import { lastBoxed } from "./extract-answer.ts";
import { type MathOptions, type MathRow, mathGrader } from "./grade-math.ts";
import { valueAt } from "./math/floating.ts";
import { cleanAceReason } from "./math/mode-acereason.ts";
import { parseAnswer } from "./math/parse-list.ts";
import { rationalOf } from "./math/scalar-equality.ts";

const grader = mathGrader();
afterAll(grader.close);

const caseSchema = z.looseObject({
  id: z.string(),
  kind: z.string(),
  gold: z.union([z.string(), z.array(z.string()), z.null()]).transform((gold) => [gold ?? ""].flat()),
  pred: z.string().nullable(),
  expected: z.union([z.boolean(), z.string(), z.null()]),
  flags: z.array(z.string()).default([]),
  opts: z.looseObject({
    match_types: z.array(z.enum(["latex", "expr"])).default(["latex", "expr"]),
    precision: z.number().default(6),
    strict: z.boolean().default(true),
    allow_set_relation_comp: z.boolean().default(false),
    mode: z.string().default(""),
    fn: z.string().default(""),
  }),
});
type Case = z.infer<typeof caseSchema>;

async function isCorrect(row: MathRow, options: MathOptions): Promise<boolean> {
  const verdict = await grader.grade(row, options);
  return verdict.status === "graded" && verdict.score === 1;
}

/** The ids whose verdict is not the expected one, false positives apart. */
async function misses(cases: readonly Case[], correct: (row: Case) => Promise<boolean>) {
  const missed: { falsePositives: string[]; falseNegatives: string[] } = { falsePositives: [], falseNegatives: [] };
  for (const row of cases) {
    const verdict = await correct(row);
    if (verdict !== row.expected) (verdict ? missed.falsePositives : missed.falseNegatives).push(row.id);
  }
  return missed;
}

test("Math-Verify's cases in the mode mathverify", async () => {
  const cases = sharedRows("conformance/math_mathverify.jsonl", caseSchema);
  if (!cases) return;
  const missed = await misses(cases, ({ gold, pred, opts }) =>
    isCorrect(
      { answer: pred ?? "", golds: gold },
      {
        mode: "mathverify",
        mathVerify: {
          matchTypes: opts.match_types,
          places: opts.precision,
          namesCount: opts.strict,
          allowSetRelation: opts.allow_set_relation_comp,
        },
      },
    ),
  );
  // mv-0264: 1 - 1/e and 1 + 1/e, which Math-Verify holds to be equal; flagged as its fault.
  expect(missed).toEqual({ falsePositives: [], falseNegatives: ["mv-0264"] });
});

test("NeMo-Skills' cases in the mode strict", async () => {
  const cases = sharedRows("conformance/math_nemo_skills.jsonl", caseSchema);
  if (!cases) return;
  const missed = await misses(cases, ({ gold, pred }) =>
    isCorrect({ answer: pred ?? "", golds: gold }, { mode: "strict" }),
  );
  expect(missed).toEqual({ falsePositives: [], falseNegatives: [] });
});

// Whose convention a case of the RL rewards has: answers without a box are Math-Verify's, the others strict's.
const unboxed = /^(?:math-verify|minerva)/;
const conventionOfNoMode = new Map([
  ["rl-024", "PRM800K refuses reducible fractions"],
  ["rl-043", "DAPO takes a number only behind 'Answer:'; Math-Verify takes any"],
  ["rl-046", "DeepScaleR also ends a thought at '###Response'; here it ends at </think>"],
]);

test("RL rewards' cases whose convention a mode has", async () => {
  const cases = sharedRows("conformance/math_rl_rewards.jsonl", caseSchema);
  if (!cases) return;
  const judged = cases.filter(
    ({ id, kind, expected }) => /equiv|e2e/.test(kind) && expected !== null && !conventionOfNoMode.has(id),
  );
  const missed = await misses(judged, ({ kind, gold, pred, opts }) => {
    const mode = unboxed.test(opts.mode) ? "mathverify" : "strict";
    const mustClose = /requires <\/think>|must follow/.test(opts.mode);
    const row =
      kind === "equiv"
        ? { answer: pred ?? "", golds: gold }
        : { response: pred ?? "", golds: gold, ...(mustClose && { promptText: "<think>\n" }) };
    return isCorrect(row, { mode });
  });
  expect(missed).toEqual({ falsePositives: [], falseNegatives: [] });
  // Their extraction gives the box with its command, or its content.
  for (const { pred, expected } of cases.filter(({ kind }) => kind === "extract")) {
    const wanted = typeof expected === "string" ? (lastBoxed(expected) ?? expected) : undefined;
    expect(lastBoxed(pred ?? "")).toBe(wanted);
  }
});

test("AceReason's cleaning of gold answers", () => {
  const schema = z.looseObject({ id: z.string(), raw: z.string(), acereason_math_answer_cleaning: z.string() });
  const rows = sharedRows("conformance/math_normalize_oracle.jsonl", schema);
  if (!rows) return;
  const wrong = rows.filter(
    ({ raw, acereason_math_answer_cleaning }) => cleanAceReason(raw) !== acereason_math_answer_cleaning,
  );
  expect(wrong.map(({ id }) => id)).toEqual([]);
});

test("the parser's values are those of latex2sympy wherever both have one", () => {
  const schema = z.looseObject({
    latex: z.string(),
    numeric: z.looseObject({ at: z.record(z.string(), z.string()), re: z.number(), im: z.number() }).nullish(),
  });
  const rows = sharedRows("conformance/math_latex2sympy_parse.jsonl", schema);
  if (!rows) return;
  let compared = 0;
  const wrong: string[] = [];
  for (const { latex, numeric } of rows) {
    const reading = parseAnswer(latex).readings[0];
    if (!reading || !numeric) continue;
    const point = new Map(
      Object.entries(numeric.at).map(([name, value]) => [name.replace(/[{}]/g, ""), fraction(value)]),
    );
    const exact = rationalOf(reading);
    const value = exact
      ? { re: Number(exact.numerator) / Number(exact.denominator), im: 0 }
      : valueAt(reading, point, true, { left: 100_000 });
    if (!value) continue;
    compared++;
    const scale = Math.max(1, Math.hypot(numeric.re, numeric.im));
    if (Math.hypot(value.re - numeric.re, value.im - numeric.im) > 1e-9 * scale) wrong.push(latex);
  }
  expect(wrong).toEqual([]);
  expect(compared).toBeGreaterThan(450);
});

function fraction(text: string): number {
  const [above = 0, below = 1] = text.split("/").map(Number);
  return above / below;
}
