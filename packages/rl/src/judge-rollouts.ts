// The reward's turn in a step: asks for the verdicts that count, some at a time, while later rollouts are still sampled.
import { limitAtOnce, rewardsAtOnce, type Verdict } from "@gradus/rewards";
import { isFiltered, type OverlongFiltering } from "./filter.ts";
import type { JudgedRollout } from "./loop-options.ts";
import type { FinishedRollout, PromptInput, RolloutInfo } from "./policy.ts";

export type JudgeOptions<P> = {
  readonly groupSize: number;
  readonly overlongFiltering: OverlongFiltering;
  readonly judge: (rollout: JudgedRollout<P>) => Promise<Verdict>;
  readonly clock: () => number;
};

/** The judging of one step's rollouts. */
export type Judging = {
  /** Takes rollouts as they end; what is not told here is asked about by `verdicts`. Never throws. */
  readonly finished: (rollouts: readonly FinishedRollout[]) => void;
  /** Waits for the batch; when the rollout fails, no further verdict is asked for. */
  readonly sampled: <B>(batch: Promise<B>) => Promise<B>;
  /**
   * One verdict per rollout, in the order of `rollouts`; undefined for truncated ones that overlong filtering takes the
   * reward from, which are not graded. An aborted rollout is unfinished for reasons outside the policy, so it is a fault.
   */
  readonly verdicts: (rollouts: readonly RolloutInfo[]) => Promise<(Verdict | undefined)[]>;
  /** Seconds in which at least one verdict was being made, also those in which others were still sampled. */
  readonly seconds: () => number;
};

/** Starts the judging of a step's rollouts, which answer `prompts` as the policy was given them in `inputs`. */
export function startJudging<P>(
  prompts: readonly P[],
  inputs: readonly PromptInput[],
  { groupSize, overlongFiltering, judge, clock }: JudgeOptions<P>,
): Judging {
  const asked = new Map<number, Promise<Verdict | undefined>>();
  const limited = limitAtOnce(rewardsAtOnce);
  const busy = busySeconds(clock);
  let isStopped = false;

  async function ask({ promptIndex, text, finishReason, length }: FinishedRollout): Promise<Verdict | undefined> {
    const prompt = prompts[promptIndex];
    if (prompt === undefined) throw new Error(`the policy answered prompt ${promptIndex} of ${prompts.length}`);
    if (finishReason === "abort") return { status: "fault", reason: "the rollout was aborted" };
    if (isFiltered(finishReason === "length", overlongFiltering)) return undefined;
    const promptText = textOf(inputs[promptIndex]);
    const rollout = { prompt, ...(promptText !== undefined && { promptText }), text, finishReason, length };
    return limited(() => {
      if (isStopped) return Promise.resolve({ status: "fault", reason: "the step is over" } as const);
      return busy.during(() => judge(rollout));
    });
  }

  function verdictOf(rollout: FinishedRollout): Promise<Verdict | undefined> {
    const place = rollout.promptIndex * groupSize + rollout.rolloutIndex;
    const verdict = asked.get(place) ?? ask(rollout);
    asked.set(place, verdict);
    // Whoever awaits it hears of a failure; until then, or when the rollout fails first, nobody does.
    verdict.catch(() => {});
    return verdict;
  }

  async function stopWhenFailed<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      isStopped = true;
      throw error;
    }
  }

  return {
    finished: (rollouts) => rollouts.forEach(verdictOf),
    sampled: stopWhenFailed,
    verdicts: (rollouts) => stopWhenFailed(Promise.all(rollouts.map(verdictOf))),
    seconds: busy.seconds,
  };
}

/** Counts the time during which at least one of several works is being done. */
function busySeconds(clock: () => number) {
  let [open, since, total] = [0, 0, 0];
  return {
    during: async <T>(work: () => Promise<T>): Promise<T> => {
      if (open++ === 0) since = clock();
      try {
        return await work();
      } finally {
        if (--open === 0) total += clock() - since;
      }
    },
    seconds: () => total,
  };
}

function textOf(input: PromptInput | undefined): string | undefined {
  if (typeof input === "object" && "text" in input) return input.text;
  return typeof input === "string" ? input : undefined;
}
