// report.md: what a person reads of a run afterwards, its table, curves and samples.
import type { StepMetricsRow } from "@gradus/store";
import type { EvalResult, MemoryPlan, Summary } from "./events.ts";
import { duration, short, sparkline } from "./format.ts";
import { memoryLine } from "./memory-line.ts";
import { phaseEvals, phaseRows, sampleStory } from "./summary.ts";

const curves: readonly (readonly [label: string, name: string])[] = [
  ["loss", "train/loss"],
  ["reward (mean)", "critic/score/mean"],
  ["entropy at T", "actor/entropy"],
  ["entropy at 1", "actor/entropy_raw"],
  ["response length", "response_length/mean"],
  ["truncated share", "response_length/clip_ratio"],
  ["faults", "reward/fault"],
  ["gradient norm", "actor/grad_norm"],
  ["groups of mixed reward", "batch/pct_mixed"],
];

/**
 * The text of report.md.
 * @param memory what the phases took, by name, as far as this process ran them.
 */
export function reportText(
  summary: Summary,
  evals: readonly EvalResult[],
  steps: readonly StepMetricsRow[],
  memory: ReadonlyMap<string, MemoryPlan>,
): string {
  const phases = phaseEvals(evals);
  const parts = [
    `# Run ${summary.run}`,
    `${summary.steps} steps, ${short(summary.tokens)} tokens, ${duration(summary.wall_s)}, peak memory ${summary.peak_memory_gib.toFixed(2)} GiB, largest logprob difference between sampler and trainer ${summary.logprob_abs_diff_max}. Last checkpoint: \`${summary.checkpoint ?? "none"}\`.`,
  ];
  if (phases.length > 0) parts.push("## Evaluations", markdownTable(phaseRows(phases)));
  const names = [...new Set(steps.map(({ phase }) => phase))];
  if (names.length > 0) parts.push("## Curves", ...names.map((phase) => phaseCurves(phase, steps)));
  if (memory.size > 0)
    parts.push("## Memory", [...memory].map(([phase, plan]) => `- \`${phase}\`: ${memoryLine(plan)}`).join("\n"));
  const story = sampleStory(phases);
  if (story !== null) {
    const { heading, problem } = story;
    parts.push("## One problem", `This is ${heading}.`, fenced(problem.prompt), `Answer: \`${problem.answer}\``);
    for (const { phase, response, correct } of story.told)
      parts.push(`After \`${phase}\` (${correct ? "right" : "wrong"}):`, fenced(response));
  }
  return `${parts.join("\n\n")}\n`;
}

function phaseCurves(phase: string, steps: readonly StepMetricsRow[]): string {
  const own = steps.filter((step) => step.phase === phase);
  const rows = curves.flatMap(([label, name]) => {
    const values = own.flatMap(({ metrics }) => metrics[name] ?? []);
    const [first, last] = [values[0], values.at(-1)];
    // A row of zeros says nothing; a single fault does.
    if (name === "reward/fault" && values.every((faults) => faults === 0)) return [];
    return first === undefined || last === undefined ? [] : [[label, short(first), short(last), sparkline(values, 48)]];
  });
  return `### ${phase} (${own.length} steps)\n\n${markdownTable([["metric", "first", "last", "curve"], ...rows])}`;
}

function markdownTable(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  return [head, head.map(() => "---"), ...body].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

// A fence longer than any run of backticks inside keeps a response from ending it.
function fenced(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}text\n${text}\n${fence}`;
}
