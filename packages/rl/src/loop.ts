// The one RL loop: GRPO, strictly on-policy (arXiv 2506.13284, equation 1). A step is prompts → rollout → reward → filter →
// advantages → weights → update → record; one update per batch, no KL term, no entropy bonus.
import { detailOf, kindOf } from "@gradus/rewards";
import { rolloutAdvantages } from "./advantage.ts";
import { filterGroups } from "./filter.ts";
import { groupRollouts } from "./group.ts";
import { startJudging } from "./judge-rollouts.ts";
import { advance, checkGrpoOptions, type GrpoOptions, type LoopPrompt } from "./loop-options.ts";
import { meanScore, type StepRecord, startTiming, stepRecord } from "./metrics.ts";
import { type StageEnd, stageEnd } from "./stage-end.ts";
import { stopWhenAllFaulted, stopWhenNonFinite, stopWhenOffPolicy } from "./stop.ts";
import { rolloutWeights } from "./weights.ts";

/**
 * Runs a stage from `options.state` and yields one metrics record per step; returns why the stage ended.
 * Stops with an RlError when the trainer's logprobs are not the sampler's, when every reward faults,
 * or after `maxSkippedInARow` updates that were not finite.
 */
export async function* grpoLoop<P extends LoopPrompt>(
  options: GrpoOptions<P>,
): AsyncGenerator<StepRecord, StageEnd, undefined> {
  checkGrpoOptions(options);
  const { state, prompts, promptsPerStep } = options;
  for (;;) {
    const end = stageEnd(options.end, state.step, state.scores);
    if (end) return end;
    // 1. Prompts.
    const drawn = prompts.take(state.cursor, promptsPerStep);
    if (!drawn) return "prompts-exhausted";
    yield await grpoStep(drawn, options);
    stopWhenNonFinite(state, options.maxSkippedInARow);
  }
}

/** One step with the prompts that were drawn for it; moves the policy and then the state. */
async function grpoStep<P extends LoopPrompt>(
  drawn: { readonly items: readonly P[]; readonly epoch: number; readonly nextCursor: number },
  options: GrpoOptions<P>,
): Promise<StepRecord> {
  const { policy, state, stage } = options;
  const { items, epoch, nextCursor } = drawn;
  const timing = startTiming(options.clock);

  // 2. Rollout: a group of responses per prompt from the policy as it is.
  const { seed, groupSize, maxResponseLength, temperature, stop } = options;
  const inputs = await Promise.all(items.map(options.promptInput));
  const place = { purpose: "rollout", stage, step: state.step, ids: items.map(({ id }) => id) };
  const sampling = { seed, groupSize, maxResponseLength, temperature, ...(stop && { stop }) };
  const judging = startJudging(items, inputs, options);
  const { finished: onFinished } = judging;
  const batch = await judging.sampled(policy.rollout(inputs, { ...place, ...sampling, onFinished }));
  try {
    timing.end("gen");

    // 3. Reward: rollouts that ended early are judged already; the update waits for all.
    const verdicts = await judging.verdicts(batch.rollouts);
    stopWhenAllFaulted(verdicts);
    timing.end("reward");

    // 4. Filter: faults, truncated rollouts, groups too small or without variance.
    const filtered = filterGroups(groupRollouts(batch.rollouts, verdicts), options);

    // 5. Advantages: how much better a rollout is than its group.
    const advantages = rolloutAdvantages(filtered.groups, batch.rollouts.length, options.advantageStd);

    // 6. Weights: advantages over every denominator, so that loss = −Σ weight · logprob.
    const weights = rolloutWeights(filtered.groups, advantages, options);
    timing.end("adv");

    // 7. Update, unless no token has weight: Adam would move even on a zero gradient.
    const { learningRate, ...settings } = options.optimizer;
    const rate = learningRate(state.step);
    const hasWeight = weights.some((weight) => weight !== 0);
    const update = hasWeight ? await policy.step(batch, { ...settings, weights, learningRate: rate }) : undefined;
    if (update) stopWhenOffPolicy(update, state.globalStep + 1);
    timing.end("update");

    // 8. Record.
    const columns = {
      scores: filtered.scores,
      kinds: verdicts.map((verdict) => (verdict === undefined ? "truncated" : kindOf(verdict))),
      details: verdicts.map((verdict) => (verdict && detailOf(verdict)) ?? null),
      advantages: Float32Array.from(advantages),
    };
    await options.record?.(batch, columns, { items, epoch, step: state.step });
    advance(state, { nextCursor, update, score: meanScore(filtered), plateau: options.end.plateau });
    timing.add("judging", judging.seconds());
    return stepRecord({ batch, items, verdicts, filtered, advantages, rate, update, state, stage, epoch, timing });
  } finally {
    batch.close();
  }
}
