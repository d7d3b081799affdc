// What a policy tells: plain objects of the public API.
import type { NativeCompletion, NativeMemory, NativeMemoryPlan, NativePolicyInfo, NativeResumed } from "@gradus/native";

/** The policy's fixed facts; `config` is its config.json, `eosTokenIds` the ids that end a response. */
export type PolicyInfo = Readonly<Omit<NativePolicyInfo, "config">> & { readonly config: unknown };

/** One response: its text, its tokens, log softmax(logits / T) of each, and how it ended. */
export type Completion = Readonly<NativeCompletion>;

/** Logprob and entropy of every token of a sequence but the first. */
export type Score = { readonly logprobs: Float32Array; readonly entropies: Float32Array };

/**
 * Bytes by class, and their sum. KV pages have the memory of gradients and activations in turn: what the other phase had last is 0, and
 * `idle` is what neither has. `activationsMax`, null before the first step, bounds the activations of a step.
 */
export type Memory = Readonly<Omit<NativeMemory, "activationsMax">> & {
  readonly activationsMax: number | null;
  readonly total: number;
};

/** Bytes that a stage will take by class; `total` is that of the moment which takes most. */
export type MemoryPlan = Readonly<NativeMemoryPlan>;

/** A policy as a checkpoint left it. */
export type ResumedPolicy<P> = Readonly<Omit<NativeResumed, "recipeState">> & {
  readonly policy: P;
  readonly recipeState: unknown;
};
