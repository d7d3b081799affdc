// A prompt: what a data set's row becomes before a frame makes it the text that the policy sees.

export type Message = { readonly role: "system" | "user" | "assistant"; readonly content: string };

/** Messages or text; answer or tests are what rewards compare with, the solution what SFT learns from. */
export type Prompt = {
  readonly id: string;
  readonly messages?: readonly Message[];
  readonly text?: string;
  readonly answer?: string;
  readonly solution?: string;
  /** What the row says of tests, in its data set's own format; the code reward reads it. Such a prompt asks for a program. */
  readonly tests?: unknown;
  /** The JSON text of `tests`, where numbers in it lose something once parsed: 1.0 is 1, 2^53 + 1 is 2^53. */
  readonly testsText?: string;
  /** The head of the function that a program must define. */
  readonly starter?: string;
  /** The set that the row says it is of (`source`, `data_source`): it chooses the reward. */
  readonly source?: string;
  /** File name and row, for messages. */
  readonly place: string;
};

/**
 * A prompt as the policy sees it. `addSpecial`: the tokenizer adds its own beginning (BOS); false where the text has
 * come from a chat template, which writes it itself.
 */
export type PromptText = { readonly text: string; readonly addSpecial: boolean };
