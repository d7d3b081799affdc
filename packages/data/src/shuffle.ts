// The order of items in an epoch: a pure function of seed, stage and epoch, so that a run resumes in the middle of one.
import { philox4x32, philoxKey } from "./philox.ts";

/** The stream of purpose "shuffle": its letters and a zero byte as a little-endian 64-bit number, low word and high word. */
export const shuffleStream = [0x66756873, 0x00656c66] as const;

const two53 = 2 ** 53;

/**
 * A permutation of 0 … count − 1 (Fisher and Yates, one Philox number per place).
 * Counter: (place, epoch, low word of the stream XOR stage, high word); key: the run's seed.
 */
export function shuffle(seed: bigint | number, epoch: number, count: number, stage = 0): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  const key = philoxKey(seed);
  for (let place = count - 1; place > 0; place--) {
    const [first, second] = philox4x32([place, epoch, (shuffleStream[0] ^ stage) >>> 0, shuffleStream[1]], key);
    const share = (first * 2 ** 21 + (second >>> 11)) / two53; // 53 random bits in [0, 1)
    const other = Math.floor(share * (place + 1));
    const held = order[place] ?? 0;
    order[place] = order[other] ?? 0;
    order[other] = held;
  }
  return order;
}
