// Policies from the SDK: the real source of what `bun run train` trains and `bun run generate` talks to.
import { createHash } from "node:crypto";
import type { ResolvedRun } from "@gradus/config";
import { latestCheckpoint, Policy, pruneCheckpoints } from "gradus";
import type { PolicyPlace, SpeakingPolicy } from "./generate-command.ts";
import type { PolicySource, RunPolicy } from "./run-policy.ts";

/** The SDK's policies. */
export const sdkPolicies: PolicySource = {
  start: async (run) => {
    const { folder, config, tokenizer } = run.policy;
    const place = placement(run);
    if (folder !== null) return runPolicy(await Policy.load(folder, place), run);
    const random = { config: config ?? {}, seed: run.seed, ...(tokenizer !== null && { tokenizer }) };
    return runPolicy(await Policy.create({ ...random, ...place }), run);
  },
  resume: async (checkpoints, run) => {
    const latest = await latestCheckpoint(checkpoints);
    if (latest === null) return null;
    const { policy, recipeState } = await Policy.resume(latest.folder, placement(run));
    return { ...latest, policy: runPolicy(policy, run), recipeState };
  },
  prune: (checkpoints, keepLast, protectedSteps) => pruneCheckpoints(checkpoints, { keepLast, protectedSteps }),
};

/** The policy of a folder, to be talked to. */
export async function loadSpeakingPolicy(folder: string, place: PolicyPlace): Promise<SpeakingPolicy> {
  return Policy.load(folder, placement(place));
}

function placement({ device, dtype, threads }: PolicyPlace): { device: string; dtype: string; threads?: number } {
  return { device, dtype, ...(threads !== null && { threads }) };
}

function runPolicy(policy: Policy, run: ResolvedRun): RunPolicy {
  const configHash = createHash("sha256").update(JSON.stringify(run)).digest("hex");
  return {
    info: policy.info,
    rollout: (prompts, options) => policy.rollout(prompts, options),
    batch: (input) => policy.batch(input),
    step: (batch, options) => policy.step(batch, options),
    // The logprobs of an evaluation are never looked at.
    generate: (prompts, options) => policy.generate(prompts, { ...options, logprobs: false }),
    tokenize: (text, options) => policy.tokenize(text, options),
    applyChatTemplate: (messages) => policy.applyChatTemplate(messages),
    checkpoint: (folder, step, recipeState) =>
      policy.checkpoint(folder, step, recipeState, { configHash, replace: true }),
    close: () => policy.close(),
  };
}
