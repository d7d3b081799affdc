// What an evaluation asks of a model: a local policy or an HTTP endpoint fulfils it by shape.

/** Messages, raw text, or token ids. */
export type PromptInput =
  | readonly { readonly role: "system" | "user" | "assistant"; readonly content: string }[]
  | string
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
