// The reward of tasks whose response ends in its answer, such as the tiny recipe's sums.
import { lacksAnswer, type Reward, type RewardRollout } from "./reward.ts";
import { fault, type Verdict } from "./verdict.ts";

/** A reward of 1 when the last white-space separated word of the response equals `prompt.answer`, else 0. */
export function exactReward(): Reward {
  const grade = ({ prompt, text }: RewardRollout): Verdict => {
    const gold = prompt.answer?.trim();
    if (!gold) return fault(`prompt ${prompt.id} has no answer to compare with`);
    const answer = text.trim().split(/\s+/).at(-1);
    if (!answer) return { status: "graded", score: 0, kind: "no-answer" };
    const correct = answer === gold;
    return { status: "graded", score: correct ? 1 : 0, kind: correct ? "correct" : "wrong", method: "last-word" };
  };
  return Object.assign(grade, { check: lacksAnswer });
}
