// A task: problems and how a response is judged.
import type { Verdict } from "@gradus/rewards";
import type { Generation, PromptInput } from "./generator.ts";

/** A response on its way to the judge; `promptText` is there when the prompt was given as text. */
export type EvalRollout<P> = {
  readonly prompt: P;
  readonly promptText?: string;
  readonly text: string;
  readonly finishReason: Generation["finishReason"];
  readonly length: number;
};

export type Task<P extends { readonly id: string } = { readonly id: string }> = {
  /** The name in metrics: val-core/<name>/mean@N. */
  readonly name: string;
  readonly problems: readonly P[];
  readonly promptInput: (problem: P) => PromptInput | Promise<PromptInput>;
  readonly judge: (rollout: EvalRollout<P>) => Promise<Verdict>;
};
