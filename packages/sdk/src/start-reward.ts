// Before the first response: can the reward judge every prompt, and is there what it needs? Better now than after hours.
import type { Reward } from "@gradus/rewards";
import { GradusError } from "./gradus-error.ts";
import { toPublicError } from "./loop-errors.ts";
import type { TaskPrompt } from "./task-prompt.ts";

/** Asks `reward` about every prompt and starts it; it stays open for whoever made it to close, or until the process ends. */
export async function startReward<P extends TaskPrompt>(
  call: string,
  reward: Reward<P>,
  prompts: readonly P[],
): Promise<void> {
  for (const prompt of prompts) {
    const problem = reward.check?.(prompt);
    if (problem === undefined) continue;
    throw new GradusError("bad-input", `${call}: prompt ${prompt.id}: ${problem}`, { value: prompt.id });
  }
  try {
    await reward.start?.();
  } catch (error) {
    throw toPublicError(error);
  }
}
