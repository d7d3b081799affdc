// The run's evaluation: held-back problems, n responses each, before the first phase and after each.
import { evaluate, type Generator, type Task } from "@gradus/evals";
import { judge } from "@gradus/rewards";
import type { EvalResult, EvalSample } from "./events.ts";
import { checkContext, loadPrompts, type RenderedPrompt, stopsOf } from "./load-data.ts";
import { checkJudged } from "./open-reward.ts";
import type { PhaseContext } from "./phases.ts";

/** What an evaluation gives: the result for tables, its errors, and every metric under its name. */
export type Evaluation = {
  readonly result: EvalResult;
  /** Of the value: taking the problems as a sample of all such, and for these very problems. */
  readonly errors: { readonly standardError: number; readonly samplingError: number };
  readonly metrics: Readonly<Record<string, number>>;
};

/**
 * Evaluates the policy as it is. The random streams are those of the purpose `eval`, the same in every evaluation,
 * so that taking one again gives the same figures.
 * @param step steps of the run done.
 */
export type Evaluate = (phase: string, step: number, abandon: AbortSignal) => Promise<Evaluation>;

/** The evaluation of a run, its problems read and checked; null where the run has none. @throws DataError, ConfigError */
export async function loadEvaluation({ run, policy, reward, show }: PhaseContext): Promise<Evaluate | null> {
  if (run.eval === false) return null;
  const { task: name, n, temperature, maxTokens, problems: limit } = run.eval;
  const note = (text: string): void => show({ type: "note", text });
  const problems = await loadPrompts(run.data.eval ?? "", "answer", { frame: run.frame, policy, note, limit });
  checkJudged(problems, run.reward, reward);
  await checkContext("eval.maxTokens", maxTokens, problems, policy);
  const task: Task<RenderedPrompt> = {
    name,
    problems,
    promptInput: ({ rendered }) => rendered,
    judge: (rollout) => judge(reward, rollout),
  };
  const stops = stopsOf(run.frame);
  const options = {
    n,
    maxTokens,
    temperature,
    seed: run.seed,
    purpose: "eval",
    ...(stops.length > 0 && { stop: stops }),
  };
  return async (phase, step, abandon) => {
    const generator: Generator = {
      generate: async (prompts, sampling) => {
        const responses = await policy.generate(prompts, { ...sampling, signal: abandon });
        // Responses that were cut off by the signal must not be graded.
        abandon.throwIfAborted();
        return responses;
      },
    };
    const evaluated = await evaluate(generator, task, options);
    const { mean, standardError, samplingError, responseLengthMean, problems: results, metrics } = evaluated;
    const samples: EvalSample[] = problems.slice(0, 8).map((problem, index) => {
      const answered = results[index]?.responses[0];
      const { rendered, text = rendered.text, answer = "" } = problem;
      return { prompt: text, answer, response: answered?.text ?? "", correct: answered?.kind === "correct" };
    });
    const size = { n: problems.length, length: responseLengthMean };
    const result = { phase, step, task: name, metric: `mean@${n}`, value: mean, ...size, samples };
    return { result, errors: { standardError, samplingError }, metrics };
  };
}
