// Evaluation from the SDK: avg@n and pass@k of a policy on prompts, judged by a reward.
import type { Frame } from "@gradus/data";
import { type EvalResult, evaluate as evaluateTask, type Generator } from "@gradus/evals";
import { judge, type Reward } from "@gradus/rewards";
import { z } from "zod";
import { toPublicError } from "./loop-errors.ts";
import { frame, readOptions, seed } from "./options.ts";
import { startReward } from "./start-reward.ts";
import { promptInput, type TaskPrompt, type Templating } from "./task-prompt.ts";

const schema = z.strictObject({
  policy: z.custom<Generator & Templating>(
    (value) => typeof value === "object" && value !== null && "generate" in value,
    "expected a Policy",
  ),
  name: z.string().min(1).default("task"),
  prompts: z.array(z.custom<TaskPrompt>()).min(1, "expected at least one prompt").readonly(),
  reward: z.custom<Reward<TaskPrompt>>((value) => typeof value === "function", "expected a function of a response"),
  n: z.int().min(1).default(8),
  maxTokens: z.int().min(1),
  temperature: z.number().min(0).default(0.6),
  seed: seed.default(0),
  frame: frame.default("raw"),
  stop: z.array(z.string()).readonly().optional(),
  passAt: z.array(z.int().min(1)).readonly().optional(),
});

/** Options of `evaluate`. */
export type EvaluateOptions<P extends TaskPrompt> = {
  readonly policy: Generator & Templating;
  /** The name in metrics: val-core/<name>/mean@n. */
  readonly name?: string;
  readonly prompts: readonly P[];
  readonly reward: Reward<P>;
  /** Responses per prompt; 8. */
  readonly n?: number;
  readonly maxTokens: number;
  /** 0.6, the paper's. */
  readonly temperature?: number;
  readonly seed?: bigint | number;
  readonly frame?: Frame;
  readonly stop?: readonly string[];
  /** The k of pass@k, each at most n; by default 1 and n. */
  readonly passAt?: readonly number[];
};

/**
 * The mean score of n responses per prompt, with its errors, pass@k and lengths.
 *
 * @example
 * const { mean } = await evaluate({ policy, prompts, reward: mathReward(), n: 8, maxTokens: 512 });
 */
export async function evaluate<P extends TaskPrompt>(options: EvaluateOptions<P>): Promise<EvalResult> {
  const {
    policy,
    name,
    prompts,
    reward,
    frame: given,
    stop,
    passAt,
    ...sampling
  } = readOptions(schema, "evaluate", options);
  await startReward("evaluate", reward, prompts);
  const task = {
    name,
    problems: prompts,
    promptInput: (prompt: TaskPrompt) => promptInput(prompt, given, policy),
    judge: (rollout: Parameters<typeof reward>[0]) => judge(reward, rollout),
  };
  try {
    return await evaluateTask(policy, task, { ...sampling, ...(stop && { stop }), ...(passAt && { passAt }) });
  } catch (error) {
    throw toPublicError(error);
  }
}
