// Checked options, turned into the engine's arguments; and packed arrays, cut again into sequences.
import type {
  NativeCall,
  NativeEnded,
  NativePolicyOptions,
  NativeSampling,
  NativeScores,
  NativeStepOptions,
} from "@gradus/native";
import type { FinishedRollout } from "@gradus/rl";
import type { z } from "zod";
import { GradusError } from "./gradus-error.ts";
import type { generateOptions, loadOptions, rolloutOptions, stepOptions } from "./options.ts";
import type { Score } from "./policy-types.ts";

export function nativePlacement({
  device,
  dtype,
  threads,
  kvBytesMax,
  activationBytesMax,
}: z.output<typeof loadOptions>): NativePolicyOptions {
  return {
    device,
    ...(dtype !== undefined && { dtype }),
    ...(threads !== undefined && { threads }),
    ...(kvBytesMax !== undefined && { kvBytesMax }),
    ...(activationBytesMax !== undefined && { activationBytesMax }),
  };
}

export function generateSampling(
  call: NativeCall,
  options: Omit<z.output<typeof generateOptions>, "logprobs">,
): NativeSampling {
  const { n, maxTokens, temperature, seed, purpose, stage, step, stop, logitBias } = options;
  const { topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty } = options;
  const bias = Object.entries(logitBias ?? {}).map(([token, bias]) => ({ token: Number(token), bias }));
  return {
    call,
    n,
    ...(maxTokens !== undefined && { maxTokens }),
    temperature,
    ...(topK !== undefined && { topK }),
    topP,
    minP,
    repetitionPenalty,
    presencePenalty,
    frequencyPenalty,
    ...(bias.length > 0 && { logitBias: bias }),
    seed: BigInt(seed),
    purpose,
    stage,
    step,
    stop: [...stop],
    progress: options.onProgress !== undefined,
    pieces: false,
    ended: false,
  };
}

export function rolloutSampling(call: NativeCall, options: z.output<typeof rolloutOptions>): NativeSampling {
  const { groupSize: n, maxResponseLength: maxTokens, temperature, purpose, stage, step } = options;
  const [progress, ended] = [options.onProgress !== undefined, options.onFinished !== undefined];
  const [seed, stop] = [BigInt(options.seed), [...options.stop]];
  return { call, n, maxTokens, temperature, seed, purpose, stage, step, stop, progress, pieces: false, ended };
}

/** Responses that have ended, as the rollouts of a group of `groupSize` that they are. */
export function finishedRollouts(ended: readonly NativeEnded[], groupSize: number): FinishedRollout[] {
  return ended.map(({ index, ...response }) => ({
    promptIndex: Math.floor(index / groupSize),
    rolloutIndex: index % groupSize,
    ...response,
  }));
}

export function nativeStepOptions(options: Omit<z.output<typeof stepOptions>, "weights">): NativeStepOptions {
  const { learningRate, betas, epsilon, weightDecay, maxGradNorm, ratioClip, microBatchTokens } = options;
  return {
    learningRate,
    beta1: betas[0],
    beta2: betas[1],
    epsilon,
    weightDecay,
    ...(maxGradNorm !== Number.POSITIVE_INFINITY && { maxGradNorm }),
    ...(ratioClip && { ratioClipLow: ratioClip.low, ratioClipHigh: ratioClip.high }),
    microBatchTokens,
    seed: BigInt(options.seed),
  };
}

/** Sequences one after the other; refuses what is not a non-empty list of token ids. */
export function packSequences(
  call: string,
  sequences: readonly Uint32Array[],
): { tokens: Uint32Array; cuSeqlens: Uint32Array } {
  const wrong = Array.isArray(sequences)
    ? sequences.findIndex((sequence) => !(sequence instanceof Uint32Array && sequence.length > 0))
    : 0;
  if (wrong >= 0 || sequences.length === 0) {
    throw new GradusError(
      "bad-input",
      `${call}: sequence ${Math.max(0, wrong)}: expected a Uint32Array of at least one token id, in an array`,
    );
  }
  const cuSeqlens = new Uint32Array(sequences.length + 1);
  for (const [index, { length }] of sequences.entries()) cuSeqlens[index + 1] = (cuSeqlens[index] ?? 0) + length;
  const tokens = new Uint32Array(cuSeqlens[sequences.length] ?? 0);
  for (const [index, sequence] of sequences.entries()) tokens.set(sequence, cuSeqlens[index]);
  return { tokens, cuSeqlens };
}

/** Each sequence's part of packed scores, one shorter than the sequence. */
export function splitScores({ logprobs, entropies }: NativeScores, sequences: readonly Uint32Array[]): Score[] {
  let start = 0;
  return sequences.map(({ length }) => {
    const range = [start, start + length - 1] as const;
    start = range[1];
    return { logprobs: logprobs.slice(...range), entropies: entropies.slice(...range) };
  });
}
