// The weights against PyTorch's autograd: −weight must be the derivative of the loss by each token's logprob.
import { expect, test } from "bun:test";
import golden from "./__fixtures__/policy-gradient.golden.json" with { type: "json" };
import { rolloutAdvantages } from "./advantage.ts";
import { filterGroups, type OverlongFiltering } from "./filter.ts";
import { groupRollouts } from "./group.ts";
import type { RolloutInfo } from "./policy.ts";
import { type LossAggMode, rolloutWeights } from "./weights.ts";

const modes: readonly LossAggMode[] = [
  "group-token-mean",
  "token-mean",
  "seq-mean-token-mean",
  "seq-mean-token-sum-norm",
];
const settings = [
  { advantageStd: "sample", overlongFiltering: "exclude", dropZeroVariance: true },
  { advantageStd: "population", overlongFiltering: "mask", dropZeroVariance: false },
  { advantageStd: "none", overlongFiltering: "off", dropZeroVariance: true },
  { advantageStd: "leave-one-out", overlongFiltering: "exclude", dropZeroVariance: false },
] as const;

const rollouts = golden.rollouts.map(({ prompt, response, truncated }, index): RolloutInfo => {
  const place = { promptIndex: Math.floor(index / golden.groupSize), rolloutIndex: index % golden.groupSize };
  const lengths = { promptLength: prompt.length, length: response.length };
  return { ...place, ...lengths, text: "", finishReason: truncated ? "length" : "stop", entropy: 0, entropyRaw: 0 };
});

function verdictsUnder(overlongFiltering: OverlongFiltering) {
  return golden.rollouts.map(({ score, truncated }) =>
    truncated && overlongFiltering !== "off" ? undefined : ({ status: "graded", score, kind: "correct" } as const),
  );
}

for (const setting of settings) {
  for (const lossAggMode of modes) {
    test(`${lossAggMode}, ${setting.advantageStd}, ${setting.overlongFiltering}`, () => {
      const expected = golden.cases.find(
        (candidate) =>
          candidate.lossAggMode === lossAggMode &&
          candidate.advantageStd === setting.advantageStd &&
          candidate.overlongFiltering === setting.overlongFiltering,
      );
      const groups = groupRollouts(rollouts, verdictsUnder(setting.overlongFiltering));
      const kept = filterGroups(groups, setting).groups;
      const advantages = rolloutAdvantages(kept, rollouts.length, setting.advantageStd);
      const weights = rolloutWeights(kept, advantages, { lossAggMode, maxResponseLength: golden.maxResponseLength });
      let loss = 0;
      for (const [index, { logprobs }] of golden.rollouts.entries()) {
        const weight = weights[index] ?? Number.NaN;
        for (const [token, logprob] of logprobs.entries()) {
          loss -= weight * logprob;
          // Weights are f32, the reference f64: 6e-8 relative.
          expect(weight).toBeCloseTo(-(expected?.lossByLogprob[index]?.[token] ?? Number.NaN), 7);
        }
      }
      expect(loss).toBeCloseTo(expected?.loss ?? Number.NaN, 5);
    });
  }
}
