// What the algorithm asks of a policy; the SDK's Policy fulfils it by shape. Token ids and logprobs of rollouts stay
// inside the policy: only texts, lengths and finish reasons come out.

export type Message = { readonly role: "system" | "user" | "assistant"; readonly content: string };

/** A text with or without the tokenizer's own beginning (BOS): without it where a chat template has written it already. */
export type PromptText = { readonly text: string; readonly addSpecial: boolean };

/** Messages (the policy's own chat template), raw text (which gets the tokenizer's beginning), or token ids. */
export type PromptInput = readonly Message[] | string | PromptText | Uint32Array;

/** "length": the response reached the limit without an end token. */
export type FinishReason = "stop" | "length" | "abort";

/** One response. `length` counts its tokens, the end token included; the entropies (at T and at 1) are means over them. */
export type RolloutInfo = {
  readonly promptIndex: number;
  readonly rolloutIndex: number;
  readonly text: string;
  readonly promptLength: number;
  readonly length: number;
  readonly finishReason: FinishReason;
  readonly entropy: number;
  readonly entropyRaw: number;
};

/** What is known of a response as soon as it has ended. */
export type FinishedRollout = Pick<RolloutInfo, "promptIndex" | "rolloutIndex" | "text" | "length" | "finishReason">;

/**
 * One update. `weights` has one entry per rollout or per response token (rollout batches), or one per token with loss
 * (packed batches), every denominator already in it: loss = −Σ weight · logprob.
 */
export type StepOptions = {
  readonly weights: Float32Array;
  readonly learningRate: number;
  readonly betas?: readonly [number, number];
  readonly weightDecay?: number;
  readonly epsilon?: number;
  readonly maxGradNorm?: number;
  readonly ratioClip?: { readonly low: number; readonly high: number };
  readonly microBatchTokens?: number;
  /** The run's: decides how a device rounds the moments that it keeps in bf16. */
  readonly seed?: bigint | number;
};

/** What an update did. `skipped` names why nothing moved, or is null. `seconds` is the update's own time. */
export type StepMetrics = {
  readonly loss: number;
  readonly gradNorm: number;
  readonly entropy: number;
  readonly logprobAbsDiffMax: number;
  readonly tokens: number;
  readonly trainedTokens: number;
  readonly skipped: string | null;
  readonly seconds: number;
};

export interface TrainingBatch {
  readonly tokens: number;
  close(): void;
}

/** What a rollout file holds beside the rollouts: one entry for each. */
export type RolloutColumns = {
  /** NaN where there is none. */
  readonly scores: Float32Array;
  /** Of the verdict, "fault" or "truncated". */
  readonly kinds: readonly string[];
  /** Why the verdict is what it is, or why there is none; null where nothing was said. */
  readonly details: readonly (string | null)[];
  readonly advantages: Float32Array;
};

export interface RolloutBatch extends TrainingBatch {
  readonly rollouts: readonly RolloutInfo[];
  readonly responseTokens: number;
  readonly entropy: number;
  readonly entropyRaw: number;
  /** Writes the step's rollout file. */
  record(file: string, columns: RolloutColumns): Promise<void>;
}

export type RolloutOptions = {
  readonly groupSize: number;
  readonly maxResponseLength: number;
  readonly temperature: number;
  readonly seed: bigint | number;
  readonly purpose?: string;
  readonly stage?: number;
  readonly step?: number;
  readonly ids?: readonly string[];
  readonly stop?: readonly string[];
  /** Called with the rollouts that ended in a scheduler step while others go on; the last ones may come in the batch alone. */
  readonly onFinished?: (rollouts: readonly FinishedRollout[]) => void;
};

/** Whole sequences packed one after the other: sequence s is tokens[cuSeqlens[s] … cuSeqlens[s + 1]]. */
export type PackedTokens = {
  readonly tokens: Uint32Array;
  readonly cuSeqlens: Uint32Array;
  /** 1 where the token is predicted with loss. */
  readonly lossMask: Uint8Array;
};

export interface TrainablePolicy {
  rollout(prompts: readonly PromptInput[], options: RolloutOptions): Promise<RolloutBatch>;
  batch(input: PackedTokens): Promise<TrainingBatch>;
  step(batch: TrainingBatch, options: StepOptions): Promise<StepMetrics>;
}
