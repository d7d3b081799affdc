// The policy: one engine thread in Rust, and this handle. It generates, scores, is trained, checkpointed and saved.
import { createPolicy, loadPolicy, type NativeEnded, type NativePolicy, resumePolicy } from "@gradus/native";
import type {
  Message,
  PackedTokens,
  PromptInput,
  RolloutBatch,
  StepMetrics,
  TrainablePolicy,
  TrainingBatch,
} from "@gradus/rl";
import { handleOf, rolloutBatch, trainingBatch } from "./batches.ts";
import { type Calls, createCalls, runCall } from "./calls.ts";
import { fromNative, GradusError, toGradusError } from "./gradus-error.ts";
import {
  finishedRollouts,
  generateSampling,
  nativePlacement,
  nativeStepOptions,
  packSequences,
  rolloutSampling,
  splitScores,
} from "./native-arguments.ts";
import {
  type CheckpointOptions,
  type CreateOptions,
  checkpointOptions,
  createOptions,
  type GenerateOptions,
  generateOptions,
  type LoadOptions,
  loadOptions,
  packedTokens,
  type RolloutOptions,
  readOptions,
  rolloutOptions,
  type ScoreOptions,
  type StageOptions,
  type StepOptions,
  type StreamOptions,
  scoreOptions,
  stageOptions,
  stepOptions,
  streamOptions,
} from "./options.ts";
import type { Completion, Memory, MemoryPlan, PolicyInfo, ResumedPolicy, Score } from "./policy-types.ts";
import { nativePrompts } from "./prompt-input.ts";
import { textStream } from "./text-stream.ts";

/**
 * A policy network with its tokenizer. Close it when done: its memory is the engine's, not the garbage collector's.
 *
 * @example
 * const policy = await Policy.load("./Qwen2.5-Math-7B");
 * const [[response]] = await policy.generate(["1+1="], { n: 1, maxTokens: 16, temperature: 0 });
 * await policy.close();
 */
export class Policy implements TrainablePolicy {
  readonly #native: NativePolicy;
  readonly #calls: Calls;
  readonly info: PolicyInfo;
  #closing: Promise<void> | undefined;

  private constructor(native: NativePolicy, calls: Calls) {
    this.#native = native;
    this.#calls = calls;
    const { config, ...info } = native.info;
    this.info = { ...info, config: JSON.parse(config) };
  }

  /**
   * A policy of random weights from a Hugging Face config.json's fields; equal seeds give equal weights.
   *
   * @example
   * const config = { architectures: ["Qwen2ForCausalLM"], hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 128, vocab_size: 32 };
   * const policy = await Policy.create({ config, seed: 1 });
   */
  static async create(options: CreateOptions): Promise<Policy> {
    const { config, seed, tokenizer, ...placement } = readOptions(createOptions, "Policy.create", options);
    const calls = createCalls();
    const open = () =>
      createPolicy(JSON.stringify(config), BigInt(seed), tokenizer ?? null, nativePlacement(placement), calls.dispatch);
    return new Policy(await fromNative(open), calls);
  }

  /**
   * A policy from a Hugging Face folder: config.json, safetensors, and its tokenizer where there is one.
   *
   * @example
   * const policy = await Policy.load("./Qwen2.5-Math-7B", { device: "auto" });
   */
  static async load(folder: string, options: LoadOptions = {}): Promise<Policy> {
    const placement = nativePlacement(readOptions(loadOptions, "Policy.load", options));
    const calls = createCalls();
    return new Policy(await fromNative(() => loadPolicy(folder, placement, calls.dispatch)), calls);
  }

  /**
   * A policy with its optimizer state, from a `step-N` folder or the newest good one of a checkpoints folder.
   *
   * @example
   * const { policy, recipeState } = await Policy.resume("runs/20260101-120000-tiny/checkpoints");
   */
  static async resume(checkpoint: string, options: LoadOptions = {}): Promise<ResumedPolicy<Policy>> {
    const placement = nativePlacement(readOptions(loadOptions, "Policy.resume", options));
    const calls = createCalls();
    const native = await fromNative(() => resumePolicy(checkpoint, placement, calls.dispatch));
    const { resumed } = native;
    if (resumed === null) throw new GradusError("internal", "a resumed policy does not know its checkpoint");
    const { recipeState, ...origin } = resumed;
    return { ...origin, policy: new Policy(native, calls), recipeState: JSON.parse(recipeState) };
  }

  /**
   * Per prompt, n responses. An aborted call resolves with what there is: its open responses end in "abort".
   *
   * @example
   * const [responses] = await policy.generate(["37+5="], { n: 4, maxTokens: 16, temperature: 1, seed: 7 });
   */
  async generate(prompts: readonly PromptInput[], options: GenerateOptions = {}): Promise<Completion[][]> {
    const read = readOptions(generateOptions, "generate", options);
    const given = nativePrompts("generate", prompts, this.#encode);
    const responses = await fromNative(() =>
      runCall(this.#native, this.#calls, read, (call) => this.#native.generate(given, generateSampling(call, read))),
    );
    const told = read.logprobs
      ? responses
      : responses.map((response) => ({ ...response, logprobs: new Float32Array() }));
    return prompts.map((_, index) => told.slice(index * read.n, (index + 1) * read.n));
  }

  /**
   * The response's text in pieces as it is sampled. UTF-8 is never cut; together the pieces are the text that `generate` gives.
   * Leaving the loop, or the signal, ends the response.
   *
   * @example
   * for await (const text of policy.stream([{ role: "user", content: "1+1?" }])) process.stdout.write(text);
   */
  async *stream(prompt: PromptInput, options: StreamOptions = {}): AsyncGenerator<string, void, undefined> {
    const read = readOptions(streamOptions, "stream", options);
    const given = nativePrompts("stream", [prompt], this.#encode);
    const left = new AbortController();
    const signal = read.signal === undefined ? left.signal : AbortSignal.any([read.signal, left.signal]);
    const start = async (onPiece: (text: string) => void) => {
      const [response] = await fromNative(() =>
        runCall(this.#native, this.#calls, { signal, onProgress: read.onProgress, onPiece }, (call) =>
          this.#native.generate(given, { ...generateSampling(call, { ...read, n: 1 }), pieces: true }),
        ),
      );
      return response?.text ?? "";
    };
    try {
      yield* textStream(start);
    } finally {
      left.abort();
    }
  }

  /**
   * Logprob and entropy of every token but the first of each sequence, by the very kernels of the sampler: equal bits.
   *
   * @example
   * const [score] = await policy.score([Uint32Array.of(2, 7, 9)]);
   */
  async score(sequences: readonly Uint32Array[], options: ScoreOptions = {}): Promise<Score[]> {
    const { temperature } = readOptions(scoreOptions, "score", options);
    const { tokens, cuSeqlens } = packSequences("score", sequences);
    return splitScores(await fromNative(() => this.#native.score(tokens, cuSeqlens, temperature)), sequences);
  }

  /**
   * A group of responses per prompt to train on. Token ids stay in the engine; close the batch when the step is done.
   * Rejects with the code "aborted" when the signal ends it; the policy stays as it was.
   *
   * @example
   * const batch = await policy.rollout(["37+5="], { groupSize: 8, maxResponseLength: 64, temperature: 1, seed: 1 });
   */
  async rollout(prompts: readonly PromptInput[], options: RolloutOptions): Promise<RolloutBatch> {
    const read = readOptions(rolloutOptions, "rollout", options);
    const given = nativePrompts("rollout", prompts, this.#encode, read.ids);
    const { signal, onProgress, onFinished } = read;
    const onEnded = (ended: readonly NativeEnded[]) => onFinished?.(finishedRollouts(ended, read.groupSize));
    const handle = await fromNative(() =>
      runCall(this.#native, this.#calls, { signal, onProgress, onEnded }, (call) =>
        this.#native.rollout(given, rolloutSampling(call, read)),
      ),
    );
    return rolloutBatch(this.#native, handle);
  }

  /**
   * A batch of given sequences, packed; lossMask is 1 where a token is predicted with loss.
   *
   * @example
   * const batch = await policy.batch({ tokens: Uint32Array.of(2, 7, 1), cuSeqlens: Uint32Array.of(0, 3), lossMask: Uint8Array.of(0, 1, 1) });
   */
  async batch(input: PackedTokens): Promise<TrainingBatch> {
    const { tokens, cuSeqlens, lossMask } = readOptions(packedTokens, "batch", input);
    if (this.#closing !== undefined) throw new GradusError("closed", "the policy is closed; load it again to go on");
    return trainingBatch(await fromNative(() => this.#native.batch(tokens, cuSeqlens, lossMask)));
  }

  /**
   * One optimizer update with loss = −Σ weight · logprob. `weights` has one entry per rollout or per response token,
   * or one per token with loss; every denominator is already in it. Without any weight, or with a number that is not
   * finite, nothing moves and `skipped` says why.
   *
   * @example
   * const metrics = await policy.step(batch, { weights, learningRate: 1e-6 });
   */
  async step(batch: TrainingBatch, options: StepOptions): Promise<StepMetrics> {
    const { weights, ...settings } = readOptions(stepOptions, "step", options);
    const handle = handleOf(batch);
    const metrics = await fromNative(() => this.#native.step(handle, weights, nativeStepOptions(settings)));
    return { ...metrics, skipped: metrics.skipped ?? null };
  }

  /**
   * Writes `folder`/step-N, all or nothing, and gives its path: the Hugging Face folder, the optimizer, the recipe's state.
   *
   * @example
   * const path = await policy.checkpoint("runs/a/checkpoints", 40, { stage: 1, cursor: 512 });
   */
  async checkpoint(
    folder: string,
    step: number,
    recipeState: unknown,
    options: CheckpointOptions = {},
  ): Promise<string> {
    const {
      commit,
      configHash,
      replace = this.#native.resumed !== null,
    } = readOptions(checkpointOptions, "checkpoint", options);
    if (!Number.isInteger(step) || step < 0) {
      throw new GradusError("bad-input", `checkpoint: step is ${step}, expected a whole number of at least 0`, {
        value: step,
      });
    }
    const told = { ...(commit !== undefined && { commit }), ...(configHash !== undefined && { configHash }) };
    const request = { folder, step, recipeState: JSON.stringify(recipeState ?? null), replace, ...told };
    return fromNative(() => this.#native.checkpoint(request));
  }

  /**
   * Writes a Hugging Face folder: config.json, model.safetensors, the tokenizer's files. A model that is there is replaced.
   *
   * @example
   * await policy.save("./out");
   */
  async save(folder: string): Promise<void> {
    await fromNative(() => this.#native.save(folder));
  }

  readonly #encode = (text: string): Uint32Array => {
    try {
      return this.#native.tokenize(text, false);
    } catch (cause) {
      throw toGradusError(cause);
    }
  };

  /** Token ids of a text. `addSpecial` lets the tokenizer add its own beginning (BOS), as text prompts have it. */
  async tokenize(text: string, options: { addSpecial?: boolean } = {}): Promise<Uint32Array> {
    return fromNative(() => this.#native.tokenize(text, options.addSpecial ?? false));
  }

  /** Text of token ids, special tokens left out unless asked for. */
  async detokenize(ids: Uint32Array, options: { keepSpecial?: boolean } = {}): Promise<string> {
    return fromNative(() => this.#native.detokenize(ids, !(options.keepSpecial ?? false)));
  }

  /** The text of a conversation by the folder's chat template, up to where the assistant's answer begins. */
  async applyChatTemplate(
    messages: readonly Message[],
    options: { addGenerationPrompt?: boolean } = {},
  ): Promise<string> {
    return fromNative(() => this.#native.applyChatTemplate([...messages], options.addGenerationPrompt ?? true));
  }

  /** Bytes held now, by class. */
  async memory(): Promise<Memory> {
    const memory = await fromNative(() => this.#native.memory());
    const { weights, gradients, optimizer, activations, kvPages, scratch, idle, activationsMax } = memory;
    const total = weights + gradients + optimizer + activations + kvPages + scratch + idle;
    return { ...memory, activationsMax: activationsMax ?? null, total };
  }

  /**
   * What a stage of training will take, before its first step; rejects with "out-of-memory" where it cannot fit, naming the largest term and
   * what would help. The first call decides the limit on activations, where none was given: the same limit given again, a later policy
   * computes the same layers again.
   *
   * @example
   * const { total } = await policy.planMemory({ sequences: 128, sequenceTokens: 4096 });
   */
  async planMemory(options: StageOptions): Promise<MemoryPlan> {
    const stage = readOptions(stageOptions, "planMemory", options);
    return fromNative(() => this.#native.planMemory(stage));
  }

  /** Test hook: breaks something on purpose, so that a test can see the alarm ring. */
  async plantFault(name: "panic" | "weight-ulp" | "inverse-temperature-ulp"): Promise<void> {
    await fromNative(() => this.#native.plantFault(name));
  }

  /**
   * Ends the policy: running calls are rejected with the code "closed", and the memory is free when the promise resolves.
   *
   * @example
   * await policy.close();
   */
  close(): Promise<void> {
    // After a fault the engine thread has ended by itself: closing is then done.
    this.#closing ??= this.#native.close().catch(() => {});
    return this.#closing;
  }

  /** `await using policy = …` closes it at the end of the block, where the runtime has it (Bun, Node 24). */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
