// The end of a run: the summary record, and the same as a small table with one problem before and after.
import type { EvalResult, Summary } from "./events.ts";
import { duration, oneLine, percent, short, table } from "./format.ts";

/** The evaluation at the end of each phase, in the order of the phases (those within a phase are left out). */
export function phaseEvals(evals: readonly EvalResult[]): EvalResult[] {
  return [...new Map(evals.map((result) => [result.phase, result])).values()];
}

/** The table that ends a run on a terminal. */
export function summaryText(summary: Summary, evals: readonly EvalResult[]): string {
  const phases = phaseEvals(evals);
  const facts = [
    `${summary.steps} steps`,
    `${short(summary.tokens)} tokens`,
    duration(summary.wall_s),
    `peak memory ${summary.peak_memory_gib.toFixed(2)} GiB`,
    `largest logprob difference ${summary.logprob_abs_diff_max}`,
  ].join(", ");
  const lines = [`run ${summary.run}: ${facts}`];
  if (phases.length > 0) lines.push("", table(phaseRows(phases)));
  const samples = phases.flatMap(({ phase, sample }) => (sample === null ? [] : [{ phase, ...sample }]));
  const [first] = samples;
  if (first !== undefined) {
    lines.push("", `a held-back problem: ${oneLine(first.prompt, 90)}   (answer ${first.answer})`);
    const rows = samples.map(({ phase, response, correct }) => [
      `  ${phase}`,
      correct ? "right" : "wrong",
      oneLine(response, 90),
    ]);
    lines.push(table(rows));
  }
  if (summary.checkpoint !== null) lines.push("", `checkpoint ${summary.checkpoint}`);
  return lines.join("\n");
}

/** Head and one row per phase: accuracy, gain over the phase before, mean response length. */
export function phaseRows(phases: readonly EvalResult[]): string[][] {
  const head = ["phase", phases[0]?.metric ?? "", "gain", "length", "problems", "task"];
  const rows = phases.map(({ phase, value, length, n, task }, index) => {
    const before = phases[index - 1]?.value;
    const gain =
      before === undefined ? "" : `${value >= before ? "+" : "−"}${(100 * Math.abs(value - before)).toFixed(1)}`;
    return [phase, percent(value), gain, length.toFixed(1), `${n}`, task];
  });
  return [head, ...rows];
}
