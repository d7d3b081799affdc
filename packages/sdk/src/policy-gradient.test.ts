// The whole way of a policy gradient against PyTorch: rl's weights, through the engine's loss, backward and AdamW.
import { expect, test } from "bun:test";
import { join } from "node:path";
import {
  filterGroups,
  groupRollouts,
  type LossAggMode,
  type RolloutInfo,
  rolloutAdvantages,
  rolloutWeights,
} from "@gradus/rl";
import golden from "../../rl/src/__fixtures__/policy-gradient.golden.json" with { type: "json" };
import { Policy } from "./policy.ts";

const folder = join(import.meta.dir, "../../..", golden.model);
const settings = { advantageStd: "sample", overlongFiltering: "exclude", dropZeroVariance: true } as const;
const modes: readonly LossAggMode[] = [
  "group-token-mean",
  "token-mean",
  "seq-mean-token-mean",
  "seq-mean-token-sum-norm",
];

const sequences = golden.rollouts.map(({ prompt, response }) => Uint32Array.of(...prompt, ...response));
const rollouts = golden.rollouts.map(({ prompt, response, truncated }, index): RolloutInfo => {
  const place = { promptIndex: Math.floor(index / golden.groupSize), rolloutIndex: index % golden.groupSize };
  const lengths = { promptLength: prompt.length, length: response.length };
  return { ...place, ...lengths, text: "", finishReason: truncated ? "length" : "stop", entropy: 0, entropyRaw: 0 };
});

/** The sequences packed, loss on the responses, and one weight per token with loss. */
function trainingInput(lossAggMode: LossAggMode) {
  const verdicts = golden.rollouts.map(({ score, truncated }) =>
    truncated ? undefined : ({ status: "graded", score, kind: "correct" } as const),
  );
  const { groups } = filterGroups(groupRollouts(rollouts, verdicts), settings);
  const advantages = rolloutAdvantages(groups, rollouts.length, settings.advantageStd);
  const weights = rolloutWeights(groups, advantages, { lossAggMode, maxResponseLength: golden.maxResponseLength });
  const cuSeqlens = new Uint32Array(sequences.length + 1);
  for (const [index, { length }] of sequences.entries()) cuSeqlens[index + 1] = (cuSeqlens[index] ?? 0) + length;
  const lossMask = golden.rollouts.flatMap(({ prompt, response }) => [
    ...prompt.map(() => 0),
    ...response.map(() => 1),
  ]);
  return {
    packed: {
      tokens: Uint32Array.from(sequences.flatMap((sequence) => [...sequence])),
      cuSeqlens,
      lossMask: Uint8Array.from(lossMask),
    },
    weights: Float32Array.from(
      golden.rollouts.flatMap(({ response }, index) => response.map(() => weights[index] ?? 0)),
    ),
  };
}

async function responseLogprobs(policy: Policy): Promise<number[]> {
  const scores = await policy.score(sequences);
  return scores.flatMap(({ logprobs }, index) => [...logprobs.slice((golden.rollouts[index]?.prompt.length ?? 1) - 1)]);
}

/** ‖a − b‖ / ‖b − origin‖ (origin 0 where it is left out). */
function distance(a: readonly number[], b: readonly number[], origin: readonly number[] = []): number {
  const norm = (of: (index: number) => number) => Math.sqrt(b.reduce((sum, _, index) => sum + of(index) ** 2, 0));
  const at = (values: readonly number[], index: number) => values[index] ?? 0;
  return norm((index) => at(a, index) - at(b, index)) / norm((index) => at(b, index) - at(origin, index));
}

for (const lossAggMode of modes) {
  test(`${lossAggMode}: loss, gradient norm, and the logprobs after a step along the gradient`, async () => {
    const expected = golden.cases.find((one) => one.lossAggMode === lossAggMode && one.logprobsAfterStep);
    if (!expected?.logprobsAfterStep) throw new Error("the golden file has no such case");
    const before = golden.rollouts.flatMap(({ logprobs }) => logprobs);
    const policy = await Policy.load(folder, { device: "cpu" });
    try {
      expect(distance(await responseLogprobs(policy), before)).toBeLessThan(1e-5);
      const { packed, weights } = trainingInput(lossAggMode);
      const batch = await policy.batch(packed);
      const { learningRate, epsilon, weightDecay, maxGradNorm } = golden.step;
      const betas = [golden.step.betas[0] ?? 0, golden.step.betas[1] ?? 0] as const;
      const update = await policy.step(batch, { weights, learningRate, betas, epsilon, weightDecay, maxGradNorm });
      batch.close();
      expect(update.skipped).toBeNull();
      expect(Math.abs(update.loss / expected.loss - 1)).toBeLessThan(1e-5);
      expect(Math.abs(update.gradNorm / expected.gradNorm - 1)).toBeLessThan(1e-5);
      // AdamW's epsilon is so large that the step is a multiple of the gradient: every parameter's part shows.
      const after = await responseLogprobs(policy);
      expect(distance(after, expected.logprobsAfterStep.flat(), before)).toBeLessThan(1e-4);
    } finally {
      await policy.close();
    }
  });
}
