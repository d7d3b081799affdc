// What a run asks of a policy beyond the RL loop; the SDK's Policy fulfils it, and tests give a scripted one.
import type { ResolvedRun } from "@gradus/config";
import type { Message } from "@gradus/data";
import type { PromptInput, RolloutBatch, RolloutOptions, TrainablePolicy } from "@gradus/rl";
import type { MemoryPlan } from "./events.ts";

export type GenerateOptions = {
  readonly n: number;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed: number | bigint;
  readonly purpose: string;
  readonly stop?: readonly string[];
  readonly signal?: AbortSignal;
};

export type Response = {
  readonly text: string;
  readonly tokens: Uint32Array;
  readonly finishReason: "stop" | "length" | "abort";
};

/** What a phase will ask of the memory. */
export type StageShape = {
  /** Tokens of its longest sequence. */
  readonly sequenceTokens: number;
  /** Sequences of a step. */
  readonly sequences: number;
  readonly microBatchTokens: number;
  /** They are sampled first. */
  readonly isSampled: boolean;
};

export interface RunPolicy extends TrainablePolicy {
  readonly info: {
    readonly architecture: string;
    readonly parameters: number;
    readonly maxPositions: number;
    readonly eosTokenIds: readonly number[];
  };
  /** An aborted rollout rejects, and leaves the policy as it was. */
  rollout(
    prompts: readonly PromptInput[],
    options: RolloutOptions & { readonly signal?: AbortSignal },
  ): Promise<RolloutBatch>;
  generate(prompts: readonly PromptInput[], options: GenerateOptions): Promise<Response[][]>;
  /** `addSpecial` as text prompts have it: with the tokenizer's own beginning. */
  tokenize(text: string, options: { addSpecial: boolean }): Promise<Uint32Array>;
  /** What a stage will take; rejects where it cannot fit. The first call decides the limit on activations, unless it was given. */
  planMemory(stage: StageShape): Promise<MemoryPlan>;
  applyChatTemplate(messages: readonly Message[]): Promise<string>;
  /** Writes `folder`/step-N, all or nothing; gives its path. */
  checkpoint(folder: string, step: number, recipeState: unknown): Promise<string>;
  close(): Promise<void>;
}

/** A policy as a checkpoint left it. */
export type ResumedPolicy = {
  readonly policy: RunPolicy;
  readonly recipeState: unknown;
  readonly step: number;
  /** The checkpoint's folder. */
  readonly folder: string;
  /** What was wrong with newer checkpoints that were set aside, and why bits may differ from the unbroken run. */
  readonly warnings: readonly string[];
};

/** Where policies come from: the SDK, or a test's script. */
export type PolicySource = {
  /** The run's starting policy: its folder, or random weights from its config. */
  start(run: ResolvedRun): Promise<RunPolicy>;
  /** The newest whole checkpoint in `checkpoints`; damaged ones are set aside. Rejects where none is whole. */
  resume(checkpoints: string, run: ResolvedRun): Promise<ResumedPolicy>;
  /** Removes all but the newest `keepLast` checkpoints and the protected ones; gives the steps that went. */
  prune(checkpoints: string, keepLast: number, protectedSteps: readonly number[]): Promise<number[]>;
};
