// pass@k: the chance that at least one of k responses is correct, estimated from n ≥ k responses.

/**
 * The unbiased estimator 1 − C(n − c, k) / C(n, k) for c correct of n responses, as a product of
 * n − c − i over n − i, which neither overflows nor cancels.
 */
export function passAtK(n: number, correct: number, k: number): number {
  if (!(Number.isInteger(k) && k >= 1 && k <= n)) throw new RangeError(`pass@${k} needs 1 to ${n} of ${n} responses`);
  if (n - correct < k) return 1;
  let allWrong = 1;
  for (let i = 0; i < k; i++) allWrong *= (n - correct - i) / (n - i);
  return 1 - allWrong;
}
