// Whether we and the peer computed the same thing in the same run. Pure; each throws a line that says what differs.
import type { GrpoJob, Sample } from "./jobs.ts";

type Dtype = "f32" | "bf16" | "q8_0";

/** Largest differences that rounding explains: f32 sums in another order; bf16 has 8 bits, and each side rounds at its own places. */
const tolerances = {
  f32: { loss: 2e-4, gradientNorm: 2e-3, logprob: 2e-3 },
  bf16: { loss: 1e-2, gradientNorm: 5e-2, logprob: 0.15 },
  q8_0: { loss: 1e-2, gradientNorm: 5e-2, logprob: 0.15 },
} as const satisfies Record<Dtype, unknown>;

/** Losses and gradient norms of the same steps from the same weights on the same tokens. */
export function compareTraining(dtype: Dtype, ours: readonly Sample[], peer: readonly Sample[]): string {
  const pairs = ours.slice(0, peer.length).map((sample, index) => [sample, peer[index] ?? {}] as const);
  const loss = largest(pairs.map(([a, b]) => Math.abs((a.loss ?? NaN) - (b.loss ?? NaN))));
  const norm = largest(pairs.map(([a, b]) => Math.abs((a.gradient_norm ?? NaN) / (b.gradient_norm ?? NaN) - 1)));
  const found = `loss differs by ${loss.toExponential(1)}, gradient norm by ${(100 * norm).toFixed(2)}%`;
  const { loss: lossMost, gradientNorm: normMost } = tolerances[dtype];
  // Written so that NaN is refused too.
  if (!(loss <= lossMost && norm <= normMost)) throw new Error(`not the peer's numbers: ${found}`);
  return found;
}

/** Logprobs of sampled tokens against the peer's of the same tokens. */
export function compareLogprobs(dtype: Dtype, ours: readonly number[], peer: readonly number[]): string {
  const theirs = peer.slice(peer.length - ours.length);
  const difference = largest(ours.map((logprob, index) => Math.abs(logprob - (theirs[index] ?? NaN))));
  const found = `logprobs of ${ours.length} sampled tokens differ by ${difference.toExponential(1)}`;
  if (!(difference <= tolerances[dtype].logprob)) throw new Error(`not the peer's numbers: ${found}`);
  return found;
}

/** Lengths of the rollouts that were trained on, and that our trainer saw the very logprobs of the sampler. */
export function compareRollouts(
  { response, exactLength }: Pick<GrpoJob, "response" | "exactLength">,
  ours: readonly Sample[],
  peer: readonly Sample[],
): string {
  const length = (samples: readonly Sample[]) =>
    samples.reduce((sum, sample) => sum + (sample.response_length ?? Number.NaN), 0) / samples.length;
  const [mine, theirs] = [length(ours), length(peer)];
  const difference = largest(ours.map((sample) => sample.logprob_difference ?? Number.NaN));
  const found = `responses of ${mine.toFixed(1)} and ${theirs.toFixed(1)} tokens, our logprob difference ${difference}`;
  const isExact = mine === response && theirs === response;
  // Means of 64 geometric lengths scatter by a tenth.
  const isNear = Math.abs(mine / theirs - 1) <= 0.25;
  if (difference !== 0 || !(exactLength ? isExact : isNear)) throw new Error(`not the same work: ${found}`);
  return found;
}

/** NaN where one of them is NaN, or where there is none. */
function largest(values: readonly number[]): number {
  return values.length === 0 || values.some(Number.isNaN) ? Number.NaN : Math.max(...values);
}
