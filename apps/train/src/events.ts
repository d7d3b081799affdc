// What a run tells while it goes: the views (live, plain, JSON), the store and the report all read these.

/** One held-back problem and a response to it. */
export type EvalSample = {
  readonly prompt: string;
  readonly answer: string;
  readonly response: string;
  readonly correct: boolean;
};

export type EvalResult = {
  readonly phase: string;
  /** Steps of the run done when it was taken. */
  readonly step: number;
  readonly task: string;
  /** For example mean@8. */
  readonly metric: string;
  /** From 0 to 1. */
  readonly value: number;
  /** Problems. */
  readonly n: number;
  /** Mean response length in tokens. */
  readonly length: number;
  /** The first few problems, the same in every evaluation of a run. */
  readonly samples: readonly EvalSample[];
};

export type Summary = {
  readonly run: string;
  readonly phases: readonly Pick<EvalResult, "phase" | "task" | "metric" | "value" | "n">[];
  readonly steps: number;
  readonly tokens: number;
  readonly wall_s: number;
  readonly peak_memory_gib: number;
  readonly logprob_abs_diff_max: number;
  /** The last checkpoint's folder. */
  readonly checkpoint: string | null;
};

/** Bytes that a phase will take by class; KV pages and what a step holds have the same memory in turn. */
export type MemoryPlan = {
  readonly weights: number;
  readonly gradients: number;
  readonly optimizer: number;
  readonly activations: number;
  /** Layers that compute gate and up again in the backward, and layers that compute everything again. */
  readonly gateUpRecomputed: number;
  readonly layersRecomputed: number;
  readonly kvPages: number;
  readonly scratch: number;
  readonly total: number;
  /** The limit on `activations`. */
  readonly activationsMax: number;
};

export type StepEvent = {
  readonly type: "step";
  /** The phase: sft, or rl:<stage>. */
  readonly stage: string;
  /** Of the run, from 1. */
  readonly step: number;
  readonly stageStep: number;
  /** Steps that the phase will have, where its end is known. */
  readonly stageSteps: number | null;
  /** The stage's limit in tokens; null in SFT. */
  readonly limit: number | null;
  readonly metrics: Readonly<Record<string, number>>;
};

export type RunEvent =
  | {
      readonly type: "run";
      readonly run: string;
      readonly recipe: string;
      readonly folder: string;
      readonly parameters: number;
      /** What is still to come; `steps` where the phase's end is known. */
      readonly phases: readonly { readonly name: string; readonly steps: number | null }[];
      /** What is measured at the start and after each phase: task and metric. */
      readonly evaluation: string | null;
      readonly resumedAt: number | null;
    }
  | { readonly type: "phase"; readonly phase: string; readonly steps: number | null }
  | ({ readonly type: "memory"; readonly phase: string } & MemoryPlan)
  | StepEvent
  | { readonly type: "evaluating"; readonly phase: string; readonly task: string }
  | ({ readonly type: "eval"; readonly seconds: number } & EvalResult)
  | {
      readonly type: "sample";
      readonly stage: string;
      readonly prompt: string;
      readonly response: string;
      readonly score: number;
    }
  | { readonly type: "checkpoint"; readonly step: number; readonly folder: string }
  | { readonly type: "note"; readonly text: string }
  | { readonly type: "summary"; readonly summary: Summary; readonly evals: readonly EvalResult[] };

/** Something that shows a run to a person or a program. */
export type View = { show(event: RunEvent): void; close(): void };
