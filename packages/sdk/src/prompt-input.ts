// Prompts as the API takes them, turned into what the engine takes.
import type { NativePrompt } from "@gradus/native";
import type { PromptInput } from "@gradus/rl";
import { z } from "zod";
import { GradusError } from "./gradus-error.ts";

const messages = z
  .array(z.object({ role: z.enum(["system", "user", "assistant"]), content: z.string() }))
  .min(1, "a conversation needs a message");

const promptText = z.strictObject({ text: z.string(), addSpecial: z.boolean() });

/**
 * The native form of each prompt: messages (the policy's chat template), text, or token ids; `ids` name them.
 * `tokenize` gives the token ids of a text as it is.
 */
export function nativePrompts(
  call: string,
  prompts: readonly PromptInput[],
  tokenize: (text: string) => Uint32Array,
  ids?: readonly string[],
): NativePrompt[] {
  if (!Array.isArray(prompts)) {
    throw new GradusError(
      "bad-input",
      `${call}: expected an array of prompts; put a single prompt into brackets: [prompt]`,
    );
  }
  if (prompts.length === 0) throw new GradusError("bad-input", `${call}: expected at least one prompt`);
  if (ids !== undefined && ids.length !== prompts.length) {
    throw new GradusError(
      "bad-input",
      `${call}: ids has ${ids.length} entries, expected one per prompt: ${prompts.length}`,
    );
  }
  return prompts.map((prompt, index) => {
    const id = ids?.[index];
    return { ...content(call, prompt, index, tokenize), ...(id !== undefined && { id }) };
  });
}

function content(call: string, prompt: unknown, index: number, tokenize: (text: string) => Uint32Array): NativePrompt {
  if (typeof prompt === "string") return { text: prompt };
  if (prompt instanceof Uint32Array) return { ids: prompt };
  const given = promptText.safeParse(prompt);
  if (given.success) return given.data.addSpecial ? { text: given.data.text } : { ids: tokenize(given.data.text) };
  const parsed = messages.safeParse(prompt);
  if (parsed.success) return { messages: parsed.data };
  const hint =
    typeof prompt === "object" && prompt !== null && "role" in prompt
      ? "this is a message; a conversation is an array of messages, and prompts are an array of those: [[message, …]]"
      : "expected messages ({ role: system | user | assistant, content }), a string, { text, addSpecial }, or a Uint32Array of token ids";
  throw new GradusError("bad-input", `${call}: prompt ${index}: ${hint}`, { value: prompt });
}
