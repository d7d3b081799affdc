// What an evaluation asks of a model: a local policy or an HTTP endpoint fulfils it by shape.

/** A text with or without the tokenizer's own beginning (BOS): without it where a chat template has written it already. */
export type PromptText = { readonly text: string; readonly addSpecial: boolean };

/** Messages, raw text (which gets the tokenizer's beginning), or token ids. */
export type PromptInput =
  | readonly { readonly role: "system" | "user" | "assistant"; readonly content: string }[]
  | string
  | PromptText
  | Uint32Array;

/** One response; `tokens` are its ids, the end token included where there was one. */
export type Generation = {
  readonly text: string;
  readonly tokens: { readonly length: number };
  readonly finishReason: "stop" | "length" | "abort";
};

export type GenerateOptions = {
  readonly n: number;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed: bigint | number;
  /** Names the random stream: evaluations never share one with rollouts. */
  readonly purpose: string;
  readonly stop?: readonly string[];
};

export interface Generator {
  /** Per prompt, n responses. */
  generate(prompts: readonly PromptInput[], options: GenerateOptions): Promise<readonly (readonly Generation[])[]>;
}
