// The one RL loop: GRPO, strictly on-policy. A step is prompts → rollout → reward → filter → advantage → weights →
// update → record; one update per batch, no KL term, no entropy bonus (design: recipe, RL).
import { filterGroups } from "./filter.ts";
import { groupRollouts } from "./group.ts";
import { judgeRollouts, kindOf } from "./judge-rollouts.ts";
import { advance, checkGrpoOptions, type GrpoOptions, rememberScore } from "./loop-options.ts";
import { rewardMetrics, rolloutMetrics, type StepRecord, spread, timingMetrics, updateMetrics } from "./metrics.ts";
import { type StageEnd, stageEnd } from "./stage-end.ts";
import { stopWhenAllFaulted, stopWhenNonFinite, stopWhenOffPolicy } from "./stop.ts";
import { rolloutWeights } from "./weights.ts";

/**
 * Runs a stage from `options.state` and yields one metrics record per step; returns why the stage ended.
 * Stops with an RlError when the trainer's logprobs are not the sampler's, when every reward faults,
 * or after `maxSkippedInARow` updates that were not finite.
 */
export async function* grpoLoop<P extends { readonly id: string }>(
  options: GrpoOptions<P>,
): AsyncGenerator<StepRecord, StageEnd, undefined> {
  checkGrpoOptions(options);
  const { policy, state, clock, optimizer } = options;
  for (;;) {
    const end = stageEnd(options.end, state.step, state.scores);
    if (end) return end;
    const started = clock();

    // 1. Prompts.
    const drawn = options.prompts.take(state.cursor, options.promptsPerStep);
    if (!drawn) return "prompts-exhausted";
    const inputs = await Promise.all(drawn.items.map(options.promptInput));

    // 2. Rollout: a group of responses per prompt from the policy as it is.
    const { seed, stage, groupSize, maxResponseLength, temperature, stop } = options;
    const ids = drawn.items.map(({ id }) => id);
    const position = { purpose: "rollout", stage, step: state.step, ids };
    const sampling = { seed, groupSize, maxResponseLength, temperature, ...(stop && { stop }) };
    const batch = await policy.rollout(inputs, { ...position, ...sampling });
    let record: StepRecord;
    try {
      const generated = clock();

      // 3. Reward.
      const verdicts = await judgeRollouts(batch.rollouts, drawn.items, inputs, options);
      const rewarded = clock();

      // 4. Filter: faults, truncated rollouts, groups too small or without variance.
      const filtered = filterGroups(groupRollouts(batch.rollouts, verdicts), options);
      stopWhenAllFaulted(verdicts);

      // 5. Advantage, and 6. weights, every denominator in them.
      const { weights, advantages, trained } = rolloutWeights(filtered.groups, batch.rollouts.length, options);
      const weighted = clock();

      // 7. Update, unless no token has weight: Adam would move even on a zero gradient.
      const { learningRate, ...settings } = optimizer;
      const rate = learningRate(state.step);
      const allMasked = !weights.some((weight) => weight !== 0);
      const update = allMasked ? undefined : await policy.step(batch, { ...settings, weights, learningRate: rate });
      if (update) stopWhenOffPolicy(update, state.globalStep);
      const updated = clock();

      // 8. Record.
      const kinds = verdicts.map(kindOf);
      await options.record?.(batch, { scores: filtered.scores, kinds, advantages }, state.step);
      record = {
        ...rewardMetrics(verdicts, filtered),
        ...rolloutMetrics(batch),
        ...spread(
          "critic/advantages",
          trained.map((index) => advantages[index] ?? 0),
        ),
        "actor/lr": rate,
        ...(update && updateMetrics(update)),
        "training/stage": stage,
        ...advance(state, { ...drawn, allMasked, nonFinite: (update?.skipped ?? null) !== null }),
        ...timingMetrics(
          batch,
          {
            gen: generated - started,
            reward: rewarded - generated,
            adv: weighted - rewarded,
            update: updated - weighted,
            step: clock() - started,
          },
          batch.responseTokens,
        ),
      };
      rememberScore(state, record["critic/score/mean"], options.end.plateau);
    } finally {
      batch.close();
    }
    yield record;
    stopWhenNonFinite(state, options.maxSkippedInARow);
  }
}
