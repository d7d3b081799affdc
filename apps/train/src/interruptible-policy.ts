// A policy that a signal can take out of a long rollout; an update in flight is always let finish.
import type { TrainablePolicy } from "@gradus/rl";
import type { RunPolicy } from "./run-policy.ts";

/** `policy` for the loops, which knows whether it is ahead of the loop's state. */
export type InterruptiblePolicy = TrainablePolicy & {
  /**
   * True from the beginning of an update until its step is counted. In between the weights belong to no state:
   * the step must come to its end, and if it fails there is nothing to save.
   */
  readonly moving: () => boolean;
  /** The loop gave its record: weights and state agree again. */
  readonly counted: () => void;
};

/** After `abandon` no rollout goes on and no update begins: the weights are those of the last whole step. */
export function interruptible(policy: RunPolicy, abandon: AbortSignal): InterruptiblePolicy {
  let moving = false;
  return {
    moving: () => moving,
    counted: () => {
      moving = false;
    },
    rollout: (prompts, options) => policy.rollout(prompts, { ...options, signal: abandon }),
    batch: (input) => policy.batch(input),
    step: async (batch, options) => {
      abandon.throwIfAborted();
      moving = true;
      return policy.step(batch, options);
    },
  };
}

/**
 * The next record of a loop, or the signal's error when the time is up and the step has not moved the policy yet.
 * A loop that was left in the middle of a rollout or a reward never moves the policy again.
 */
export async function nextUnlessAbandoned<T>(
  next: () => Promise<T>,
  policy: InterruptiblePolicy,
  abandon: AbortSignal,
): Promise<T> {
  abandon.throwIfAborted();
  const left = Promise.withResolvers<"abandon">();
  const leave = (): void => left.resolve("abandon");
  abandon.addEventListener("abort", leave, { once: true });
  const step = next();
  try {
    const first = await Promise.race([step, left.promise]);
    if (first === "abandon" && !policy.moving()) {
      // The loop ends with an error of its own when the abandoned rollout does; nobody waits for it any more.
      step.catch(() => {});
      throw abandon.reason;
    }
    const record = await step;
    policy.counted();
    return record;
  } finally {
    abandon.removeEventListener("abort", leave);
  }
}
