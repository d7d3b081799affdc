// The one notion of "correct": what a reward says of one rollout, shared by training and evaluation.
import { z } from "zod";

/** A grade of the response, or a fault of ours. A fault is never a score: its rollout leaves the group and is counted. */
export const verdictSchema = z.discriminatedUnion("status", [
  z.strictObject({
    status: z.literal("graded"),
    score: z.number(),
    kind: z.enum(["correct", "wrong", "no-answer", "unparsable-answer", "timeout", "error"]),
    method: z.string().optional(),
    detail: z.string().optional(),
    tier: z.enum(["A", "B"]).optional(),
  }),
  z.strictObject({ status: z.literal("fault"), reason: z.string() }),
]);

export type Verdict = z.infer<typeof verdictSchema>;
export type VerdictKind = Extract<Verdict, { status: "graded" }>["kind"];

/** The kinds in the order in which they are reported. */
export const verdictKinds: readonly VerdictKind[] = [
  "correct",
  "wrong",
  "no-answer",
  "unparsable-answer",
  "timeout",
  "error",
];

/**
 * Turns what a reward returned into a verdict. A number is a score, "correct" when it is above 0.
 * Anything else, and a score that is not finite, is a fault that says what was returned.
 */
export function toVerdict(result: unknown): Verdict {
  if (typeof result === "number") {
    if (!Number.isFinite(result)) return fault(`the reward returned ${result}; expected a finite number`);
    return { status: "graded", score: result, kind: result > 0 ? "correct" : "wrong", method: "number" };
  }
  const parsed = verdictSchema.safeParse(result);
  if (!parsed.success) return fault(`the reward returned ${describe(result)}; expected a number or a verdict`);
  return parsed.data;
}

/** The kind of a verdict in records: the grade's, or "fault". */
export function kindOf(verdict: Verdict): VerdictKind | "fault" {
  return verdict.status === "fault" ? "fault" : verdict.kind;
}

/** Why a verdict is what it is, where it says so. */
export function detailOf(verdict: Verdict): string | undefined {
  return verdict.status === "fault" ? verdict.reason : verdict.detail;
}

/** A fault with its reason. */
export function fault(reason: string): Verdict {
  return { status: "fault", reason };
}

function describe(value: unknown): string {
  if (value === undefined) return "undefined";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
