// The Reward type, and how one rollout is judged: faults are retried once and never become scores.
import { fault, toVerdict, type Verdict } from "./verdict.ts";

/** What a reward may know of the prompt: any object with an id; the built-in rewards read `answer`. */
export type RewardPrompt = { readonly id: string; readonly answer?: string };

/**
 * One response to grade. `promptText` is the rendered prompt where it was text (not token ids);
 * `length` is the response's in tokens, its end token included.
 */
export type RewardRollout<P extends RewardPrompt = RewardPrompt> = {
  readonly prompt: P;
  readonly promptText?: string;
  readonly text: string;
  readonly finishReason: "stop" | "length" | "abort";
  readonly length: number;
};

/** Any function from a rollout to a score (a finite number) or a verdict, at once or later. */
export type Reward<P extends RewardPrompt = RewardPrompt> = (
  rollout: RewardRollout<P>,
) => number | Verdict | Promise<number | Verdict>;

/** The verdict of `reward` on one rollout. A fault (or a reward that throws) is tried once more and then reported. */
export async function judge<P extends RewardPrompt>(reward: Reward<P>, rollout: RewardRollout<P>): Promise<Verdict> {
  const first = await attempt(reward, rollout);
  return first.status === "fault" ? attempt(reward, rollout) : first;
}

async function attempt<P extends RewardPrompt>(reward: Reward<P>, rollout: RewardRollout<P>): Promise<Verdict> {
  try {
    return toVerdict(await reward(rollout));
  } catch (error) {
    return fault(`the reward threw: ${error instanceof Error ? error.message : String(error)}`);
  }
}
