// A policy that a signal can take out of a long rollout; an update in flight is always let finish.
import type { TrainablePolicy } from "@gradus/rl";
import type { RunPolicy } from "./run-policy.ts";

/** `policy` for the loops, and whether the step at hand has begun to move it: such a step must come to its end. */
export type InterruptiblePolicy = TrainablePolicy & { readonly moving: () => boolean };

/** After `abandon` no rollout goes on and no update begins: the weights are those of the last whole step. */
export function interruptible(policy: RunPolicy, abandon: AbortSignal): InterruptiblePolicy {
  // Stays true from the update to the next step's beginning: until then the loop has not counted the step.
  let moving = false;
  return {
    moving: () => moving,
    rollout: (prompts, options) => {
      moving = false;
      return policy.rollout(prompts, { ...options, signal: abandon });
    },
    batch: (input) => {
      moving = false;
      return policy.batch(input);
    },
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
    if (first !== "abandon") return first;
  } finally {
    abandon.removeEventListener("abort", leave);
  }
  if (policy.moving()) return step;
  // The loop ends with an error of its own when the abandoned rollout does; nobody waits for it any more.
  step.catch(() => {});
  throw abandon.reason;
}
