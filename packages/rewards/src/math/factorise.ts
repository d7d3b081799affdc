// Prime factors of the numbers under roots, by trial division within the operation budget.
import { type OperationBudget, spend } from "./operation-budget.ts";

const trialMax = 10_000n;

/**
 * The prime factors of a positive whole number. A cofactor without factors up to 10,000 is kept as if it were prime:
 * it is one when below 10^8, else `isComplete` is false (unless it is a perfect square of such a one).
 */
export function factorise(
  value: bigint,
  budget: OperationBudget,
): { primes: Map<bigint, number>; isComplete: boolean } {
  const primes = new Map<bigint, number>();
  let left = value;
  let steps = 0;
  for (let factor = 2n; factor <= trialMax && factor * factor <= left; factor += factor === 2n ? 1n : 2n) {
    steps++;
    while (left % factor === 0n) {
      primes.set(factor, (primes.get(factor) ?? 0) + 1);
      left /= factor;
    }
  }
  spend(budget, 1 + (steps >> 5));
  if (left > 1n) primes.set(left, (primes.get(left) ?? 0) + 1);
  return { primes, isComplete: left < trialMax * trialMax };
}
