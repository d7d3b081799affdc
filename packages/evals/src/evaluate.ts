// Evaluation: n responses per problem, their mean (avg@n) with its error, pass@k, lengths; metrics under the field's names.
import { detailOf, fault, kindOf, mapAtMost, rewardsAtOnce, type Verdict } from "@gradus/rewards";
import { EvaluationError } from "./evaluation-error.ts";
import type { Generation, Generator, PromptInput } from "./generator.ts";
import { passAtK } from "./pass-at-k.ts";
import type { Task } from "./task.ts";

export type EvaluateOptions = {
  readonly n: number;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed: bigint | number;
  readonly purpose?: string;
  readonly stop?: readonly string[];
  /** The k of pass@k, each at most n; by default 1 and n. */
  readonly passAt?: readonly number[];
};

/** One problem's responses: mean score over those graded, and how many the verdicts call correct. */
export type ProblemResult = {
  readonly id: string;
  readonly mean: number;
  readonly correct: number;
  readonly graded: number;
  readonly responses: readonly JudgedResponse[];
};

/** A response with its verdict's kind ("fault" where there is no grade) and, where the verdict says why, its detail. */
export type JudgedResponse = {
  readonly text: string;
  readonly length: number;
  readonly kind: string;
  readonly detail?: string;
};

export type EvalResult = {
  readonly task: string;
  readonly n: number;
  /** avg@n: the mean over problems of the mean score over their responses. */
  readonly mean: number;
  /** Of the mean, taking the problems as a sample of all such problems. */
  readonly standardError: number;
  /** Of the mean for these very problems: what another n responses would change; falls as 1/√n. */
  readonly samplingError: number;
  readonly passAt: Readonly<Record<number, number>>;
  readonly responseLengthMean: number;
  /** Share of responses cut off by the limit. */
  readonly truncated: number;
  readonly kinds: Readonly<Record<string, number>>;
  readonly faults: number;
  readonly problems: readonly ProblemResult[];
  /** val-core/<task>/{mean@n, pass@k}. */
  readonly metrics: Readonly<Record<string, number>>;
};

/**
 * Evaluates `generator` on a task. A response whose judge faults is left out of its problem's mean and counted;
 * a problem without any graded response is an error, since its mean would be made up.
 */
export async function evaluate<P extends { readonly id: string }>(
  generator: Generator,
  task: Task<P>,
  options: EvaluateOptions,
): Promise<EvalResult> {
  if (task.problems.length === 0) {
    throw new EvaluationError("empty", `task ${task.name} has no problems to evaluate; give it some`);
  }
  const { n, maxTokens, temperature, seed, purpose = "eval", stop } = options;
  const tooLarge = options.passAt?.find((k) => k > n);
  if (tooLarge !== undefined) {
    throw new EvaluationError("bad-option", `passAt: pass@${tooLarge} needs at least as many responses, n is ${n}`);
  }
  const inputs = await Promise.all(task.problems.map(task.promptInput));
  const generations = await generator.generate(inputs, {
    n,
    maxTokens,
    temperature,
    seed,
    purpose,
    ...(stop && { stop }),
  });
  const asked = task.problems.flatMap((prompt, index) => {
    const promptText = textOf(inputs[index]);
    const shown = promptText === undefined ? { prompt } : { prompt, promptText };
    return (generations[index] ?? []).map(({ text, tokens, finishReason }) => {
      return { ...shown, text, finishReason, length: tokens.length };
    });
  });
  const verdicts = await mapAtMost(rewardsAtOnce, asked, (rollout) => task.judge(rollout));
  let start = 0;
  const problems = task.problems.map((problem, index) => {
    const responses = generations[index] ?? [];
    const own = verdicts.slice(start, start + responses.length);
    start += responses.length;
    return resultOf(task.name, problem.id, responses, own);
  });
  return summarize(task.name, problems, generations.flat(), options);
}

const noResponse = fault("the generator gave none");

/** A problem's result with its scores, which the summary needs. */
type ScoredProblem = ProblemResult & { readonly scores: readonly number[] };

function resultOf(
  task: string,
  id: string,
  generations: readonly Generation[],
  verdicts: readonly Verdict[],
): ScoredProblem {
  const graded = verdicts.filter((verdict) => verdict.status === "graded");
  if (graded.length === 0) {
    const [first = noResponse] = verdicts;
    throw new EvaluationError(
      "all-faults",
      `task ${task}: no response to problem ${id} was graded (${detailOf(first)})`,
    );
  }
  const responses = generations.map(({ text, tokens }, index) => {
    const verdict = verdicts[index] ?? noResponse;
    const detail = detailOf(verdict);
    return { text, length: tokens.length, kind: kindOf(verdict), ...(detail !== undefined && { detail }) };
  });
  const scores = graded.map(({ score }) => score);
  const correct = graded.filter(({ kind }) => kind === "correct").length;
  return { id, mean: mean(scores), correct, graded: graded.length, responses, scores };
}

function textOf(input: PromptInput | undefined): string | undefined {
  if (typeof input === "object" && "text" in input) return input.text;
  return typeof input === "string" ? input : undefined;
}

function summarize(
  task: string,
  problems: readonly ScoredProblem[],
  generations: readonly Generation[],
  { n, passAt: asked = [1, n] }: EvaluateOptions,
): EvalResult {
  const means = problems.map((problem) => problem.mean);
  const passAt: Record<number, number> = {};
  const metrics: Record<string, number> = { [`val-core/${task}/mean@${n}`]: mean(means) };
  for (const k of new Set(asked)) {
    const enough = problems.filter(({ graded }) => graded >= k);
    if (enough.length === 0) continue;
    passAt[k] = mean(enough.map(({ graded, correct }) => passAtK(graded, correct, k)));
    metrics[`val-core/${task}/pass@${k}`] = passAt[k];
  }
  const kinds: Record<string, number> = {};
  for (const { kind } of problems.flatMap(({ responses }) => responses)) kinds[kind] = (kinds[kind] ?? 0) + 1;
  const samplingVariance = mean(problems.map(({ scores }) => variance(scores) / scores.length));
  return {
    task,
    n,
    mean: mean(means),
    standardError: Math.sqrt(variance(means) / means.length),
    samplingError: Math.sqrt(samplingVariance / problems.length),
    passAt,
    responseLengthMean: mean(generations.map(({ tokens }) => tokens.length)),
    truncated: generations.filter(({ finishReason }) => finishReason === "length").length / generations.length,
    kinds,
    faults: kinds.fault ?? 0,
    problems: problems.map(({ scores, ...problem }) => problem),
    metrics,
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}

/** Bessel-corrected; 0 for a single value, whose spread is unknown. */
function variance(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const middle = mean(values);
  return values.reduce((total, value) => total + (value - middle) ** 2, 0) / (values.length - 1);
}
