// A prompt: what a data set's row becomes before a frame makes it the text that the policy sees.

export type Message = { readonly role: "system" | "user" | "assistant"; readonly content: string };

/** Messages or text; the answer is what rewards compare with, the solution what SFT learns from. */
export type Prompt = {
  readonly id: string;
  readonly messages?: readonly Message[];
  readonly text?: string;
  readonly answer?: string;
  readonly solution?: string;
  /** File name and row, for messages. */
  readonly source: string;
};

/**
 * A prompt as the policy sees it. `addSpecial`: the tokenizer adds its own beginning (BOS); false where the text has
 * come from a chat template, which writes it itself.
 */
export type PromptText = { readonly text: string; readonly addSpecial: boolean };
