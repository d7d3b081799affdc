// Prompts of grpo and evaluate: what a user gives for a problem, and what of it the policy sees.
import { type Frame, renderPrompt } from "@gradus/data";
import type { Message, PromptInput } from "@gradus/rl";
import { GradusError } from "./gradus-error.ts";

/**
 * A prompt to train or evaluate on: exactly one of messages, text and ids. `answer` is what the math and exact rewards
 * compare with, `tests` (as its data set writes them) what the code reward runs; `source` chooses the reward in `bySource`
 * and is what scores are told by. Under the frame "acereason" a prompt with tests asks for a program that defines `starter`.
 */
export type TaskPrompt = {
  readonly id: string;
  readonly messages?: readonly { readonly role: "system" | "user" | "assistant"; readonly content: string }[];
  readonly text?: string;
  readonly ids?: Uint32Array;
  readonly answer?: string;
  readonly source?: string;
  readonly tests?: unknown;
  readonly starter?: string;
};

/** What renders messages; a policy that cannot is given them as they are, and rewards then see no prompt text. */
export type Templating = { applyChatTemplate?(messages: readonly Message[]): Promise<string> };

/**
 * What the policy is given for a prompt; a frame needs text or messages. Messages are rendered here and not in the
 * engine, so that rewards see the text: whether it opened a thought decides how a response is graded.
 */
export async function promptInput(prompt: TaskPrompt, frame: Frame, policy: Templating): Promise<PromptInput> {
  const { id, messages, text, ids, tests, starter } = prompt;
  if (ids !== undefined) return ids;
  if (frame === "acereason" && (messages ?? text) !== undefined) {
    const asked = { ...(text !== undefined && { text }), ...(messages && { messages }) };
    return renderPrompt({ id, place: `prompt ${id}`, tests, ...asked, ...(starter && { starter }) }, frame);
  }
  if (messages !== undefined) return templated(messages, policy);
  if (text === undefined) {
    throw new GradusError("bad-input", `prompt ${id} has neither messages nor text nor ids`, { value: id });
  }
  return frame === "raw" ? text : templated([{ role: "user", content: text }], policy);
}

async function templated(messages: readonly Message[], policy: Templating): Promise<PromptInput> {
  const text = await policy.applyChatTemplate?.(messages);
  return text === undefined ? messages : { text, addSpecial: false };
}
