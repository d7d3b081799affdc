// The Reward type, and how one rollout is judged: faults are retried once and never become scores.
import { fault, toVerdict, type Verdict } from "./verdict.ts";

/**
 * What a reward may know of the prompt: any object with an id. The math and exact rewards read `answer`, the code reward
 * `tests` (as its data set writes them), or rather their JSON text where there is `testsText`, in which a float like 1.0 is
 * not yet an integer; `source` says where the prompt comes from.
 */
export type RewardPrompt = {
  readonly id: string;
  readonly answer?: string;
  readonly source?: string;
  readonly tests?: unknown;
  readonly testsText?: string;
};

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

/** What may stand beside a reward's function; a plain function needs none of it. */
export type RewardParts<P extends RewardPrompt = RewardPrompt> = {
  /** Starts what the reward needs, before the first step; throws where that cannot be had. May be called again. */
  readonly start?: () => Promise<void>;
  /** Why the reward cannot judge responses to this prompt, or undefined. Asked of every prompt before the first step. */
  readonly check?: (prompt: P) => string | undefined;
  /** Ends what the reward started. */
  readonly close?: () => void | Promise<void>;
  /** After so long an answer that is still open is a fault; 10 s. Infinity for rewards that bound their own work. */
  readonly limitSeconds?: number;
};

/** A function from a rollout to a score (a finite number) or a verdict, at once or later. */
export type Reward<P extends RewardPrompt = RewardPrompt> = ((
  rollout: RewardRollout<P>,
) => number | Verdict | Promise<number | Verdict>) &
  RewardParts<P>;

/** Why a reward that compares answers cannot judge a prompt. */
export function lacksAnswer({ answer }: { readonly answer?: string }): string | undefined {
  return answer?.trim() ? undefined : "the prompt has no answer to compare with";
}

/** How long a reward may take where it says nothing of it. */
export const limitSecondsDefault = 10;

/** The verdict of `reward` on one rollout. A fault (or a reward that throws) is tried once more and then reported. */
export async function judge<P extends RewardPrompt>(reward: Reward<P>, rollout: RewardRollout<P>): Promise<Verdict> {
  const first = await attempt(reward, rollout);
  return first.status === "fault" ? attempt(reward, rollout) : first;
}

/** One try, within the reward's limit. A function that never gives the thread back cannot be stopped from here. */
export async function attempt<P extends RewardPrompt>(reward: Reward<P>, rollout: RewardRollout<P>): Promise<Verdict> {
  try {
    const result = reward(rollout);
    if (typeof result !== "object" || !("then" in result)) return toVerdict(result);
    return await within(reward.limitSeconds ?? limitSecondsDefault, result.then(toVerdict));
  } catch (error) {
    return fault(`the reward threw: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function within(seconds: number, verdict: Promise<Verdict>): Promise<Verdict> {
  if (seconds === Number.POSITIVE_INFINITY) return verdict;
  const late = Promise.withResolvers<Verdict>();
  const timer = setTimeout(() => late.resolve(fault(lateReason(seconds))), 1000 * seconds);
  try {
    return await Promise.race([verdict, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Why a verdict that came too late is a fault. */
export function lateReason(seconds: number): string {
  return `the reward took over ${seconds} s; make it faster, or raise its limit`;
}
