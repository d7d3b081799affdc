// A prompt: what a data set's row becomes before a frame makes it the text that the policy sees.

export type Message = { role: "system" | "user" | "assistant"; content: string };

/** Messages, text or token ids; the answer is what rewards compare with, the solution what SFT learns from. */
export type Prompt = {
  readonly id: string;
  readonly messages?: readonly Message[];
  readonly text?: string;
  readonly ids?: Uint32Array;
  readonly answer?: string;
  readonly solution?: string;
  /** File name and row, for messages. */
  readonly source: string;
};
