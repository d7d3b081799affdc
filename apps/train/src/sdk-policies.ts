// Policies from the SDK: the real source of what `bun run train` trains and `bun run generate` talks to.
import { createHash } from "node:crypto";
import type { ResolvedRun } from "@gradus/config";
import { type LoadOptions, Policy, pruneCheckpoints } from "gradus";
import type { PolicyPlace, SpeakingPolicy } from "./generate-command.ts";
import type { PolicySource, RunPolicy } from "./run-policy.ts";

/**
 * The SDK's policies.
 * @param commit of Gradus, for the manifests of checkpoints; null where it is not known.
 */
export function sdkPolicies(commit: string | null): PolicySource {
  return {
    start: async (run) => {
      const { folder, config, tokenizer } = run.policy;
      const place = placement(run);
      if (folder !== null) return runPolicy(await Policy.load(folder, place), run, commit);
      const random = { config: config ?? {}, seed: run.seed, ...(tokenizer !== null && { tokenizer }) };
      return runPolicy(await Policy.create({ ...random, ...place }), run, commit);
    },
    resume: async (checkpoints, run) => {
      const { policy, configHash, warnings, ...origin } = await Policy.resume(checkpoints, placement(run));
      const changed = configHash !== undefined && configHash !== hashOf(run);
      const warning = `${origin.folder} was written under another config or version: what follows is not the run that began`;
      return {
        ...origin,
        policy: runPolicy(policy, run, commit),
        warnings: changed ? [...warnings, warning] : warnings,
      };
    },
    prune: (checkpoints, keepLast, protectedSteps) => pruneCheckpoints(checkpoints, { keepLast, protectedSteps }),
  };
}

/** The policy of a folder, to be talked to. */
export async function loadSpeakingPolicy(folder: string, place: PolicyPlace): Promise<SpeakingPolicy> {
  return Policy.load(folder, placement(place));
}

function placement({ device, dtype, threads, activationBytesMax = null, kvBytesMax = null }: PolicyPlace): LoadOptions {
  return {
    device,
    ...(dtype !== null && { dtype }),
    ...(threads !== null && { threads }),
    ...(activationBytesMax !== null && { activationBytesMax }),
    ...(kvBytesMax !== null && { kvBytesMax }),
  };
}

/** Of all that can change a bit: limits on memory cannot. */
function hashOf(run: ResolvedRun): string {
  return createHash("sha256")
    .update(JSON.stringify({ ...run, activationBytesMax: null, kvBytesMax: null }))
    .digest("hex");
}

function runPolicy(policy: Policy, run: ResolvedRun, commit: string | null): RunPolicy {
  const origin = { configHash: hashOf(run), ...(commit !== null && { commit }) };
  return {
    info: policy.info,
    rollout: (prompts, options) => policy.rollout(prompts, options),
    batch: (input) => policy.batch(input),
    step: (batch, options) => policy.step(batch, options),
    // The logprobs of an evaluation are never looked at.
    generate: (prompts, options) => policy.generate(prompts, { ...options, logprobs: false }),
    tokenize: (text, options) => policy.tokenize(text, options),
    planMemory: (stage) => policy.planMemory(stage),
    applyChatTemplate: (messages) => policy.applyChatTemplate(messages),
    checkpoint: (folder, step, recipeState) =>
      policy.checkpoint(folder, step, recipeState, { ...origin, replace: true }),
    close: () => policy.close(),
  };
}
