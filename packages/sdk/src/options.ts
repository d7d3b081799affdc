// Every option of the public API, checked with zod before it reaches the engine: unknown keys get the nearest name,
// what this version does not have is refused by name.
import { nameHint, RunConfig } from "@gradus/config";
import type { FinishedRollout, LoopState } from "@gradus/rl";
import { z } from "zod";
import { GradusError } from "./gradus-error.ts";

const count = z.int().min(1).max(0xffff_ffff);
const seedRange = z
  .bigint()
  .min(0n)
  .lt(2n ** 64n);
/** Any unsigned 64-bit number. */
export const seed = z.union([seedRange, z.int().min(0)], { error: "expected a whole number from 0 to 2^64 - 1" });
/** The text around a prompt. */
export const frame = RunConfig.shape.frame.unwrap();

const counter = z.int().min(0);
const loopStateFields = z.strictObject({
  step: counter,
  cursor: counter,
  globalStep: counter,
  skippedSteps: counter,
  skippedInARow: counter,
  scores: z.array(z.number()),
});
/** Where a loop stands. The loop changes the very object that it is given, so that is not copied. */
export const loopState = z.custom<LoopState>(
  (value) => loopStateFields.safeParse(value).success,
  "expected what startLoop gave, or the recipe state of a checkpoint that held it",
);

const temperature = z.number().min(0).max(1e6);
const stop = z.array(z.string().min(1, "an empty stop string would stop every response at once")).readonly();
const signal = z.instanceof(AbortSignal);
const listener = z.custom<(progress: Progress) => void>((value) => typeof value === "function", "expected a function");

/** How far a running `generate` or `rollout` is. */
export type Progress = {
  /** Response tokens so far. */
  readonly tokens: number;
  /** Responses that have ended, of `total`. */
  readonly finished: number;
  readonly total: number;
};

const placement = {
  /** "auto" takes a GPU for bf16 where there is one, else the CPU; "cuda" takes a GPU; "cuda-sim" simulates one, for tests of kernels. */
  device: z.string().default("auto"),
  /** What the policy computes in: f32, bf16, or q8_0 for inference only. By default f32, on a GPU bf16; a resumed policy goes on in its checkpoint's. */
  dtype: RunConfig.shape.dtype.unwrap().unwrap().optional(),
  /** Threads of the backend; by default the physical cores this process may use. */
  threads: count.max(4096).optional(),
  /** Most bytes of KV pages; by default a quarter of the device's memory. */
  kvBytesMax: z.number().positive().optional(),
  /** Most bytes of activations in a training pass: what does not fit is computed again, which changes no bit. By default half of the memory that is free at the first step. */
  activationBytesMax: z.number().positive().optional(),
};

export const loadOptions = z.strictObject(placement);
export const createOptions = z.strictObject({
  ...placement,
  /** The fields of a Hugging Face config.json. */
  config: z.record(z.string(), z.unknown()),
  /** A tokenizer.json, or a folder that holds one. */
  tokenizer: z.string().min(1).optional(),
  seed,
});

const change = z.number().min(-1e4).max(1e4);

/**
 * What is drawn from, where it is not the whole distribution. In this order: logit bias, repetition penalty, presence and frequency
 * penalty (as in vLLM); temperature; top-k, top-p, min-p (as in transformers). Equal tokens count by the lower id.
 * A response's logprobs and entropies never know of them: they are the policy's own, as `score` gives them.
 */
const limits = {
  /** Draws from so many of the likeliest tokens; by default from all. */
  topK: count.optional(),
  /** Draws from the fewest likeliest tokens that together have this probability; 1 draws from all. */
  topP: z.number().positive().max(1).default(1),
  /** Draws from tokens with at least this fraction of the likeliest one's probability; 0 draws from all. */
  minP: z.number().min(0).max(1).default(0),
  /** Divides positive and multiplies other logits of tokens in prompt and response; 1 leaves them, more avoids repetition. */
  repetitionPenalty: z.number().min(0.01).max(100).default(1),
  /** Taken from the logit of each token that is in the response. */
  presencePenalty: change.default(0),
  /** Taken from the logit of each token once for each time that it is in the response. */
  frequencyPenalty: change.default(0),
  /** Token id to what is added to its logit; -Infinity forbids the token. */
  logitBias: z
    .record(
      z.string().regex(/^(0|[1-9]\d{0,8})$/),
      z.union([change, z.literal(Number.NEGATIVE_INFINITY)], {
        error: "expected a number from -10000 to 10000, or -Infinity to forbid the token",
      }),
      { error: ({ code }) => (code === "invalid_key" ? "expected a token id" : "expected an object of token ids") },
    )
    .optional(),
};

const sampling = {
  /** Most tokens of a response; by default 512, or what the context leaves. */
  maxTokens: count.optional(),
  /** 0 takes the likeliest token. */
  temperature: temperature.default(1),
  ...limits,
  /** Equal calls with equal seeds give equal responses, whatever else runs. */
  seed: seed.default(0),
  /** Strings that end a response and are not part of its text. */
  stop: stop.default([]),
  /** Words of the random stream: calls that differ in one of them are independent. */
  purpose: z.string().min(1).default("generate"),
  stage: z.int().min(0).default(0),
  step: z.int().min(0).default(0),
  signal: signal.optional(),
  onProgress: listener.optional(),
};

export const generateOptions = z.strictObject({
  n: count.default(1),
  logprobs: z.boolean().default(true),
  ...sampling,
});
export const streamOptions = z.strictObject(sampling);
export const scoreOptions = z.strictObject({ temperature: temperature.default(1) });

export const rolloutOptions = z.strictObject({
  groupSize: count,
  maxResponseLength: count,
  temperature,
  seed,
  purpose: z.string().min(1).default("rollout"),
  stage: z.int().min(0).default(0),
  step: z.int().min(0).default(0),
  /** One a prompt: names it in its random stream and in the record. */
  ids: z.array(z.string()).readonly().optional(),
  stop: stop.default([]),
  signal: signal.optional(),
  onProgress: listener.optional(),
  /** Called with the rollouts that ended in a scheduler step while others go on; the last ones may come in the batch alone. */
  onFinished: z
    .custom<(rollouts: readonly FinishedRollout[]) => void>(
      (value) => typeof value === "function",
      "expected a function",
    )
    .optional(),
});

const notNegative = z.number().min(0);
const beta = notNegative.lt(1);

export const stepOptions = z.strictObject({
  weights: z.custom<Float32Array>((value) => value instanceof Float32Array, "expected a Float32Array"),
  learningRate: notNegative,
  betas: z.tuple([beta, beta]).readonly().default([0.9, 0.999]),
  weightDecay: notNegative.default(0.01),
  epsilon: z.number().positive().default(1e-8),
  /** The gradient's L2 norm is clipped to this; infinite leaves it. */
  maxGradNorm: z.union([z.number().positive(), z.literal(Number.POSITIVE_INFINITY)]).default(1),
  ratioClip: z.strictObject({ low: notNegative, high: notNegative }).optional(),
  /** Most tokens in one pass; changes memory and rounding, nothing else. */
  microBatchTokens: count.default(4096),
  /** The run's: decides how a GPU rounds the moments that it keeps in bf16. */
  seed: seed.default(0),
});

export const packedTokens = z.strictObject({
  tokens: z.custom<Uint32Array>((value) => value instanceof Uint32Array, "expected a Uint32Array"),
  cuSeqlens: z.custom<Uint32Array>((value) => value instanceof Uint32Array, "expected a Uint32Array"),
  lossMask: z.custom<Uint8Array>((value) => value instanceof Uint8Array, "expected a Uint8Array"),
});

export const stageOptions = z.strictObject({
  /** Tokens of the stage's longest sequence, prompt and response. */
  sequenceTokens: count,
  /** Sequences of a step. */
  sequences: count,
  /** As of `step`. */
  microBatchTokens: stepOptions.shape.microBatchTokens,
  /** The sequences of a step are sampled first: false for SFT. */
  isSampled: z.boolean().default(true),
});

export const checkpointOptions = z.strictObject({
  commit: z.string().optional(),
  configHash: z.string().optional(),
  /** Replaces a checkpoint of the same step; by default when the policy was resumed, since it redoes steps. */
  replace: z.boolean().optional(),
});

const limitNames = new Set(Object.keys(limits));

/** The calls whose responses are trained on. */
const rlCalls = new Set(["rollout", "grpo"]);

/** The checked options with defaults; throws a GradusError that names the call, the option and the remedy. */
export function readOptions<S extends z.ZodObject>(schema: S, call: string, options: unknown): z.output<S> {
  refuseByName(schema, call, options);
  const parsed = schema.safeParse(options ?? {});
  if (parsed.success) return parsed.data;
  // A mistyped name first: what is missing is often what was mistyped.
  const { issues } = parsed.error;
  const issue = issues.find(({ code }) => code === "unrecognized_keys") ?? issues[0];
  if (issue?.code === "unrecognized_keys") {
    const [key = ""] = issue.keys;
    const place = issue.path.length === 0 ? schema.shape : {};
    throw new GradusError("bad-option", `${call}: unknown option "${key}"${nameHint(key, Object.keys(place))}`, {
      value: key,
    });
  }
  const name = issue?.path.join(".") ?? "";
  const value = valueAt(options, issue?.path ?? []);
  const found = describe(value);
  throw new GradusError("bad-option", `${call}: option ${name || "object"}${found}: ${issue?.message ?? "is wrong"}`, {
    value,
  });
}

function refuseByName(schema: z.ZodObject, call: string, options: unknown): void {
  if (typeof options !== "object" || options === null) return;
  const refused = Object.keys(options).find((name) => limitNames.has(name) && !(name in schema.shape));
  if (refused === undefined || valueAt(options, [refused]) === undefined) return;
  const reason = rlCalls.has(call)
    ? "RL samples from the whole distribution, since it is what the loss knows; leave it out, or set temperature"
    : "only generate and stream have it; leave it out, or set temperature";
  throw new GradusError("unsupported", `${call}: ${refused}: ${reason}`, { value: refused });
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let found: unknown = value;
  for (const key of path) {
    if (typeof found !== "object" || found === null) return undefined;
    found = Object.entries(found).find(([name]) => name === String(key))?.[1];
  }
  return found;
}

function describe(value: unknown): string {
  if (value === undefined) return " is missing";
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "string") return ` is ${value}`;
  return "";
}

export type LoadOptions = z.input<typeof loadOptions>;
export type CreateOptions = z.input<typeof createOptions>;
export type GenerateOptions = z.input<typeof generateOptions>;
export type StreamOptions = z.input<typeof streamOptions>;
export type ScoreOptions = z.input<typeof scoreOptions>;
export type RolloutOptions = z.input<typeof rolloutOptions>;
export type StageOptions = z.input<typeof stageOptions>;
export type StepOptions = z.input<typeof stepOptions>;
export type CheckpointOptions = z.input<typeof checkpointOptions>;
