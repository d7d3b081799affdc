// Random numbers that are the same in every run, for tests, fuzzing and measurements.

/** Numbers from 0 (included) to 1, the same for the same seed: xorshift over 32 bits. */
export function seededRandom(seed: number): () => number {
  let state = (seed * 2654435761 + 1) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}
