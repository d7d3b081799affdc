// The order of items in an epoch: a pure function of seed, place in the run and epoch, so that a run resumes in the middle of one.
import { philox4x32, philoxKey } from "./philox.ts";
import { stream } from "./stream.ts";

const two53 = 2 ** 53;

/** Whose order it is: purposes and stages of a run that share a data set see it in different orders. */
export type ShuffleOwner = {
  /** "shuffle" is RL's, "shuffle-sft" SFT's. */
  readonly purpose?: "shuffle" | "shuffle-sft";
  readonly stage?: number;
};

/**
 * A permutation of 0 … count − 1 (Fisher and Yates, one Philox number per place).
 * Counter: (place, 0, the stream of purpose, stage and epoch, as two words); key: the run's seed.
 */
export function shuffle(
  seed: bigint | number,
  epoch: number,
  count: number,
  { purpose = "shuffle", stage = 0 }: ShuffleOwner = {},
): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  const key = philoxKey(seed);
  const [low, high] = stream(purpose, { stage, step: epoch });
  for (let place = count - 1; place > 0; place--) {
    const [first, second] = philox4x32([place, 0, low, high], key);
    const share = (first * 2 ** 21 + (second >>> 11)) / two53; // 53 random bits in [0, 1)
    const other = Math.floor(share * (place + 1));
    const held = order[place] ?? 0;
    order[place] = order[other] ?? 0;
    order[other] = held;
  }
  return order;
}
