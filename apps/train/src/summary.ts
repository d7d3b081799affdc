// The end of a run: the summary record, and the same as a small table with one problem before and after.
import type { EvalResult, EvalSample, Summary } from "./events.ts";
import { duration, oneLine, percent, short, table } from "./format.ts";

/** The evaluation at the end of each phase, in the order of the phases (those within a phase are left out). */
export function phaseEvals(evals: readonly EvalResult[]): EvalResult[] {
  return [...new Map(evals.map((result) => [result.phase, result])).values()];
}

/** One problem through all phases, and how it was chosen. */
export type SampleStory = {
  readonly heading: string;
  readonly problem: EvalSample;
  readonly told: readonly (EvalSample & { phase: string })[];
};

/**
 * Of the few problems that are kept, one that the run learnt last, so that the change can be seen; else the first.
 * Null where there was no evaluation.
 */
export function sampleStory(phases: readonly EvalResult[]): SampleStory | null {
  const last = phases.at(-1);
  if (last === undefined) return null;
  const wrongBefore = (index: number): number =>
    last.samples[index]?.correct ? phases.filter(({ samples }) => samples[index]?.correct === false).length : -1;
  const indices = last.samples.map((_, index) => index);
  const chosen = indices.reduce((best, index) => (wrongBefore(index) > wrongBefore(best) ? index : best), 0);
  const told = phases.flatMap(({ phase, samples }) => {
    const sample = samples[chosen];
    return sample === undefined ? [] : [{ phase, ...sample }];
  });
  const [problem] = told;
  if (problem === undefined) return null;
  const learnt = wrongBefore(chosen) > 0;
  const heading = learnt
    ? `the held-back problem that was learnt last, of the first ${indices.length}`
    : "the first held-back problem";
  return { heading, problem, told };
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
  const story = sampleStory(phases);
  if (story !== null) {
    const { heading, problem } = story;
    lines.push("", `${heading}: ${oneLine(problem.prompt, 90)}   (answer ${problem.answer})`);
    lines.push(
      table(
        story.told.map((told) => [`  ${told.phase}`, told.correct ? "right" : "wrong", oneLine(told.response, 90)]),
      ),
    );
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
