import { expect, test } from "bun:test";
import { aceReasonPrompt, renderPrompt } from "./frames.ts";

const head =
  "<|im_start|>system\nYou are a helpful and harmless assistant. You should think step-by-step.<|im_end|>\n<|im_start|>user\n";
const tail = "<|im_end|>\n<|im_start|>assistant\n<think>\n";
const block = "```python\n# Your solution code here\n```";

test("acereason math, the question stripped", () => {
  const prompt = { id: "1", text: "  What is 1+1?\n", place: "row 1" };
  expect(renderPrompt(prompt, "acereason")).toEqual({
    text: `${head}What is 1+1?\n\nPlease place your final answer inside \\boxed{}.${tail}`,
    addSpecial: true,
  });
});

test("acereason code, without and with a starter", () => {
  expect(aceReasonPrompt("Sort.", { kind: "code" })).toBe(
    `${head}Sort.\n\nWrite Python code to solve the problem. Please place the solution code in the following format:\n${block}${tail}`,
  );
  expect(aceReasonPrompt("Sort.", { kind: "code", starter: "def f(x):" })).toBe(
    `${head}Sort.\n\nSolve the problem starting with the provided function header.\n\nFunction header:\n\`\`\`\ndef f(x):\n\`\`\`\n\n` +
      `Please place the solution code in the following format:\n${block}${tail}`,
  );
});

test("raw is the text as it is; chat-template is the policy's", () => {
  const prompt = { id: "1", text: "37+5-9=", place: "row 1" };
  expect(renderPrompt(prompt, "raw")).toEqual({ text: "37+5-9=", addSpecial: true });
  // A template writes the beginning itself, so the tokenizer must not add another.
  expect(renderPrompt(prompt, "chat-template", (messages) => JSON.stringify(messages))).toEqual({
    text: '[{"role":"user","content":"37+5-9="}]',
    addSpecial: false,
  });
  expect(() => renderPrompt(prompt, "chat-template")).toThrow("there is none; use the frame acereason or raw");
});

test("a conversation does not fit a frame of one question", () => {
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
  ] as const;
  expect(() => renderPrompt({ id: "1", messages, place: "d.jsonl row 4" }, "acereason")).toThrow(
    "d.jsonl row 4: the frame acereason needs one question, and the row has 2 messages",
  );
});
