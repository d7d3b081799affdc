// Frames: the exact text around a problem (acereason: that of arXiv 2506.13284). The border between prompt and response is the
// frame's end, which is also where the loss mask begins.
import { DataError } from "./data-error.ts";
import type { Message, Prompt, PromptText } from "./prompt.ts";

/** "acereason": the paper's text. "chat-template": the policy folder's own. "raw": the text as it is. */
export type Frame = "acereason" | "chat-template" | "raw";

/** Where the acereason frame says how to answer: a boxed answer, or Python code with or without a given header. */
export type AceReasonTask = { readonly kind: "math" } | { readonly kind: "code"; readonly starter?: string };

const system = "You are a helpful and harmless assistant. You should think step-by-step.";
const pythonBlock = "```python\n# Your solution code here\n```";
const codeFormat = `Please place the solution code in the following format:\n${pythonBlock}`;

/** The end tokens at which a response in the acereason frame stops. */
export const aceReasonStops = ["<|im_end|>", "<|endoftext|>"] as const;

/** The text of a prompt. `applyChatTemplate` is the policy's, needed for the frame "chat-template" alone. */
export function renderPrompt(
  prompt: Prompt,
  frame: Frame,
  applyChatTemplate?: (messages: readonly Message[]) => string,
): PromptText {
  if (frame === "raw") return { text: question(prompt, frame), addSpecial: true };
  if (frame === "acereason") {
    return { text: aceReasonPrompt(question(prompt, frame), taskOf(prompt)), addSpecial: true };
  }
  if (!applyChatTemplate) {
    throw new DataError(
      "bad-row",
      `${prompt.place}: the frame chat-template needs the policy's chat template, and there is none; ` +
        "use the frame acereason or raw",
    );
  }
  const messages = prompt.messages ?? [{ role: "user" as const, content: question(prompt, frame) }];
  return { text: applyChatTemplate(messages), addSpecial: false };
}

function taskOf({ tests, starter }: Prompt): AceReasonTask {
  if (tests === undefined) return { kind: "math" };
  return starter === undefined ? { kind: "code" } : { kind: "code", starter };
}

/** The paper's prompt for a problem, which is stripped; `<think>\n` is part of the prompt. */
export function aceReasonPrompt(problem: string, task: AceReasonTask): string {
  const user = `${problem.trim()}\n\n${instruction(task)}`;
  return `<|im_start|>system\n${system}<|im_end|>\n<|im_start|>user\n${user}<|im_end|>\n<|im_start|>assistant\n<think>\n`;
}

function instruction(task: AceReasonTask): string {
  if (task.kind === "math") return "Please place your final answer inside \\boxed{}.";
  if (task.starter === undefined) return `Write Python code to solve the problem. ${codeFormat}`;
  const header = `Function header:\n\`\`\`\n${task.starter}\n\`\`\``;
  return `Solve the problem starting with the provided function header.\n\n${header}\n\n${codeFormat}`;
}

/** The question of a prompt: its text, or its only user message. */
function question({ text, messages, place }: Prompt, frame: Frame): string {
  if (text !== undefined) return text;
  const [only, ...rest] = messages ?? [];
  if (only?.role === "user" && rest.length === 0) return only.content;
  throw new DataError(
    "bad-row",
    `${place}: the frame ${frame} needs one question, and the row has ${messages?.length ?? 0} messages; ` +
      "use the frame chat-template",
  );
}
