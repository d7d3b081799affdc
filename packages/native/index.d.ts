// Generated from crates/node by `bun run gen`; do not edit.

/** Tokens of rollouts or of given sequences; they never leave Rust. */
export declare class NativeBatch {
  /** Tokens of all sequences, prompts included. */
  get tokens(): number
  /** Tokens that may carry loss: response tokens, or those with a loss mask. */
  get targets(): number
  /** The rollouts in order; empty for given sequences. */
  rollouts(): Array<NativeRollout>
  /** Frees the tokens; every later use is refused. */
  close(): void
}

/** How the engine knows a call. */
export interface NativeCall {
  /** Chosen by the caller: events and `cancel` name it. */
  number: number
  /** The caller's signal had ended the call before it began: it is answered without a token. */
  cancelled: boolean
}

/** Where a checkpoint goes and what lies in it beside the policy. */
export interface NativeCheckpoint {
  /** The run's checkpoints folder. */
  folder: string
  step: number
  /** The recipe's state as JSON. */
  recipeState: string
  commit?: string
  configHash?: string
  /** Replaces a checkpoint of the same step. */
  replace: boolean
}

/** What a rollout file tells of each rollout beside its tokens. */
export interface NativeColumns {
  /** NaN: none. */
  scores: Float32Array
  kinds: Array<string>
  /** What the reward said of its verdict; null: nothing. */
  details: Array<string | undefined | null>
  advantages: Float32Array
}

/** One response. */
export interface NativeCompletion {
  text: string
  tokens: Uint32Array
  /** log softmax(logits / T) of each token. */
  logprobs: Float32Array
  finishReason: 'stop' | 'length' | 'abort'
}

/** A response that has ended while others of its call may still grow. */
export interface NativeEnded {
  /** prompt · n + response. */
  index: number
  text: string
  /** Response tokens. */
  length: number
  finishReason: 'stop' | 'length'
}

/** What one scheduler step did for one running call. */
export interface NativeEvent {
  call: number
  /** Response tokens so far. */
  tokens: number
  /** Responses that have ended, of `total`. */
  finished: number
  total: number
  pieces: Array<NativePiece>
  /** Responses that ended in this step. */
  ended: Array<NativeEnded>
}

/** What this machine and this build have for GPUs: for `doctor`. */
export interface NativeGpuStatus {
  /** The first GPU with its driver; absent where there is none. */
  gpu?: string
  /** Why device "cuda" cannot be had, with the remedy; absent where it can. */
  unavailable?: string
  /** The kernel pack, or what is wrong with it. */
  kernels: string
  /** The simulator's library; absent where it is not built. */
  simulator?: string
}

/** The newest checkpoint of a run that is whole. */
export interface NativeLatestCheckpoint {
  folder?: string
  step?: number
  /** One line for each damaged checkpoint that was set aside. */
  warnings: Array<string>
}

/** Added to the logit of one token; -Infinity forbids it. */
export interface NativeLogitBias {
  token: number
  bias: number
}

/** Bytes held by class, as of now. */
export interface NativeMemory {
  weights: number
  gradients: number
  optimizer: number
  activations: number
  kvPages: number
  /** What ops keep for themselves from call to call. */
  scratch: number
  /** Memory that KV pages and a training pass use in turn, as far as neither does now. */
  idle: number
  /** Most bytes of `activations` in a training pass; absent before the first step. */
  activationsMax?: number
  /** Layers that compute gate and up again in the backward, to stay below that. */
  gateUpRecomputed: number
  /** Layers that compute everything again. */
  layersRecomputed: number
}

/** Bytes that a stage will take, by class, before its first step. */
export interface NativeMemoryPlan {
  weights: number
  gradients: number
  optimizer: number
  activations: number
  /** Of generation; gradients and activations of a step have the same memory in turn with them. */
  kvPages: number
  /** Of generation's steps and of ops, as far as they are known before. */
  scratch: number
  /** At the moment that takes most. */
  total: number
  /** Most bytes of `activations`: decided now, where it was not given. */
  activationsMax: number
  gateUpRecomputed: number
  layersRecomputed: number
}

/** One message of a conversation. */
export interface NativeMessage {
  role: string
  content: string
}

/** A response's new text. */
export interface NativePiece {
  /** prompt · n + response. */
  index: number
  text: string
}

/** One policy on its engine thread. Dropped (collected), it lets the thread end. */
export declare class NativePolicy {
  get info(): NativePolicyInfo
  /** Set on a policy that was resumed from a checkpoint. */
  get resumed(): NativeResumed | null
  /** Responses in the order of prompts, n a prompt. */
  generate(prompts: Array<NativePrompt>, sampling: NativeSampling): Promise<Array<NativeCompletion>>
  /** The batch of all rollouts; rejects with `aborted` when it is cancelled. */
  rollout(prompts: Array<NativePrompt>, sampling: NativeSampling): Promise<NativeBatch>
  /** Ends a running `generate` or `rollout` within one scheduler step. */
  cancel(call: number): void
  /** A batch of given sequences, with a mask entry for each token. */
  batch(tokens: Uint32Array, cuSeqlens: Uint32Array, lossMask: Uint8Array): NativeBatch
  /** One optimizer update. `weights`: one per rollout or one per target of the batch. */
  step(batch: NativeBatch, weights: Float32Array, options: NativeStepOptions): Promise<NativeStepMetrics>
  /** Logprobs and entropies of given sequences, without a gradient. */
  score(tokens: Uint32Array, cuSeqlens: Uint32Array, temperature: number): Promise<NativeScores>
  /** Writes the rollout file of a batch. */
  record(batch: NativeBatch, file: string, columns: NativeColumns): Promise<void>
  /** Writes `step-N` into a checkpoints folder; gives its path. */
  checkpoint(request: NativeCheckpoint): Promise<string>
  /** Writes a Hugging Face folder. */
  save(folder: string): Promise<void>
  /** Token ids of a text. Runs on the calling thread: a text of some kilobytes takes milliseconds. */
  tokenize(text: string, addSpecial: boolean): Uint32Array
  detokenize(ids: Uint32Array, skipSpecial: boolean): string
  /** The text of a conversation by the folder's chat template. */
  applyChatTemplate(messages: Array<NativeMessage>, addGenerationPrompt: boolean): string
  memory(): Promise<NativeMemory>
  /** What a stage will take; refused where it cannot fit. */
  planMemory(stage: NativeStageShape): Promise<NativeMemoryPlan>
  /** Test hook: breaks something on purpose, "panic", "weight-ulp" or "inverse-temperature-ulp". */
  plantFault(name: string): Promise<void>
  /** Ends the engine thread; running calls are rejected with `closed`, memory is free when the promise resolves. */
  close(): Promise<void>
}

/** The policy's fixed facts. */
export interface NativePolicyInfo {
  architecture: string
  parameters: number
  vocabSize: number
  maxPositions: number
  eosTokenIds: Array<number>
  hasTokenizer: boolean
  device: string
  level: string
  dtype: 'f32' | 'bf16' | 'q8_0'
  threads: number
  /** Most bytes that KV pages take. */
  kvBytesMax: number
  /** The config.json, as text. */
  config: string
}

/** Where and how a policy runs. */
export interface NativePolicyOptions {
  /** "auto", "cpu", "cuda" or "cuda-sim". */
  device: string
  /** "f32", "bf16" or "q8_0"; absent: that of the checkpoint which is resumed, else f32, on a GPU bf16. */
  dtype?: string
  /** Threads of the backend; by default the physical cores that the process may use. */
  threads?: number
  /** Most bytes of KV pages; by default a quarter of the device's memory. */
  kvBytesMax?: number
  /** Most bytes of activations in a training pass; by default half of the memory that is free at the first step. */
  activationBytesMax?: number
}

/** A prompt: exactly one of the three is given. */
export interface NativePrompt {
  messages?: Array<NativeMessage>
  text?: string
  ids?: Uint32Array
  /** Names the prompt in its random stream; its token ids do when absent. */
  id?: string
}

/** Where a resumed policy came from. */
export interface NativeResumed {
  folder: string
  step: number
  /** The recipe's state as JSON. */
  recipeState: string
  configHash?: string
  /** One line for each damaged checkpoint that was set aside and each reason why bits may differ from the unbroken run. */
  warnings: Array<string>
}

/** One rollout of a batch; its tokens stay in the engine. */
export interface NativeRollout {
  promptIndex: number
  rolloutIndex: number
  promptLength: number
  text: string
  /** Response tokens. */
  length: number
  finishReason: 'stop' | 'length'
  /** Mean entropy of its tokens at the sampling temperature, in nats. */
  entropy: number
  /** The same at temperature 1. */
  entropyRaw: number
}

/** How responses are sampled, for generation and rollouts alike. */
export interface NativeSampling {
  call: NativeCall
  /** Responses for each prompt. */
  n: number
  /** Most tokens of a response; absent: 512, or what the context leaves. */
  maxTokens?: number
  /** 0 takes the likeliest token. */
  temperature: number
  /** Limits and changes of what is drawn from; absent ones do nothing. A rollout has none. */
  topK?: number
  topP?: number
  minP?: number
  repetitionPenalty?: number
  presencePenalty?: number
  frequencyPenalty?: number
  logitBias?: Array<NativeLogitBias>
  /** The run's seed: the Philox key. */
  seed: bigint
  /** Words of the random stream beside the prompt and the response's index. */
  purpose: string
  stage: number
  step: number
  /** Strings that end a response and are not part of its text. */
  stop: Array<string>
  /** Sends an event for every step; without it only for what `pieces` and `ended` ask for. */
  progress: boolean
  /** Sends text pieces as events. */
  pieces: boolean
  /** Sends each response as an event when it has ended. */
  ended: boolean
}

/** Logprob and entropy of every token but the first of each sequence, one sequence after the other. */
export interface NativeScores {
  logprobs: Float32Array
  entropies: Float32Array
}

/** What a stage of training will ask of the memory. */
export interface NativeStageShape {
  /** Tokens of its longest sequence. */
  sequenceTokens: number
  /** Sequences of a step. */
  sequences: number
  /** Most tokens in one pass, but for a longer sequence. */
  microBatchTokens: number
  /** Its sequences are sampled first, all of a step at once. */
  isSampled: boolean
}

/** What one update did. */
export interface NativeStepMetrics {
  loss: number
  gradNorm: number
  entropy: number
  logprobAbsDiffMax: number
  tokens: number
  trainedTokens: number
  skipped?: string
  seconds: number
}

/** One update's settings. */
export interface NativeStepOptions {
  learningRate: number
  beta1: number
  beta2: number
  epsilon: number
  weightDecay: number
  /** Absent: the gradient is not clipped. */
  maxGradNorm?: number
  /** Bounds of the ratio to the sampler's probability: 1 − low, 1 + high. */
  ratioClipLow?: number
  ratioClipHigh?: number
  /** Most tokens in one micro-batch. */
  microBatchTokens: number
  /** The run's seed, by which a GPU rounds the moments that it keeps in bf16; absent: 0. */
  seed?: bigint
}

/** A policy of random weights from a config.json's text. */
export declare function createPolicy(config: string, seed: bigint, tokenizer: string | null, options: NativePolicyOptions, listener: (events: Array<NativeEvent>) => void): Promise<NativePolicy>;

/** Looks for a GPU, its kernels and the simulator. */
export declare function gpuStatus(): NativeGpuStatus;

/** The newest checkpoint whose every file is as its manifest says; damaged newer ones are set aside. */
export declare function latestCheckpoint(folder: string): Promise<NativeLatestCheckpoint>;

/** A policy from a Hugging Face folder. */
export declare function loadPolicy(folder: string, options: NativePolicyOptions, listener: (events: Array<NativeEvent>) => void): Promise<NativePolicy>;

/** Removes all but the newest `keep_last` checkpoints and the protected steps, never the only good one; gives the removed steps. */
export declare function pruneCheckpointsOf(folder: string, keepLast: number, protectedSteps: Array<number>): Promise<Array<number>>;

/** A policy with its optimizer state from a `step-N` folder, or from the newest good one of a checkpoints folder. */
export declare function resumePolicy(checkpoint: string, options: NativePolicyOptions, listener: (events: Array<NativeEvent>) => void): Promise<NativePolicy>;
