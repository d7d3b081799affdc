// The math reward: a response's answer against the prompt's, in one of the grading modes.
import { type MathGrader, type MathOptions, mathGrader } from "./grade-math.ts";
import { lacksAnswer, type Reward, type RewardRollout } from "./reward.ts";
import { fault } from "./verdict.ts";

/**
 * A reward of 1 for an answer that equals `prompt.answer`, else 0; a prompt without an answer is a fault. The mode is
 * `strict` unless said otherwise: the last box after the thought. `grader` shares one pool of symbolic workers; without
 * it the reward has its own, which `close` ends.
 */
export function mathReward(options: MathOptions & { readonly grader?: MathGrader } = {}): Reward {
  const { grader: shared, ...how } = options;
  const grader = shared ?? mathGrader();
  const grade = ({ prompt, promptText, text }: RewardRollout) => {
    if (prompt.answer === undefined) return fault(`prompt ${prompt.id} has no answer to compare with`);
    return grader.grade(
      { response: text, golds: [prompt.answer], ...(promptText !== undefined && { promptText }) },
      how,
    );
  };
  return Object.assign(grade, {
    check: lacksAnswer,
    ...(shared === undefined && { close: grader.close }),
    limitSeconds: Number.POSITIVE_INFINITY,
  });
}
