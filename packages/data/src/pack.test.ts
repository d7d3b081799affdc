import { expect, test } from "bun:test";
import { createLoader } from "./loader.ts";
import { packSamples, sftBatches, tokenizeSamples } from "./pack.ts";
import { sftSample } from "./sft-sample.ts";

/** A tokenizer of characters whose own beginning is a 1. */
const characters = (text: string, { addSpecial } = { addSpecial: false }) =>
  Uint32Array.from([...(addSpecial ? "\u0001" : ""), ...text], (character) => character.charCodeAt(0));
const samples = [
  { id: "a", prompt: { text: "12", addSpecial: false }, response: "345" },
  { id: "b", prompt: { text: "1", addSpecial: false }, response: "2" },
];

test("prompt and response become one sequence with loss on the response", async () => {
  const { samples: tokenized } = await tokenizeSamples(samples, characters, 10);
  const packed = packSamples(tokenized);
  expect(packed.tokens).toEqual(characters("1234512"));
  expect(packed.cuSeqlens).toEqual(new Uint32Array([0, 5, 7]));
  expect(packed.lossMask).toEqual(new Uint8Array([0, 0, 1, 1, 1, 0, 1]));
});

test("a sequence without a prompt has no loss on its first token: nothing predicts it", () => {
  const packed = packSamples([{ id: "a", tokens: new Uint32Array([5, 6]), promptLength: 0 }]);
  expect(packed.lossMask).toEqual(new Uint8Array([0, 1]));
});

test("the tokenizer's beginning comes before a prompt that has none, never before a response", async () => {
  const raw = { id: "raw", prompt: { text: "12", addSpecial: true }, response: "3" };
  const templated = { id: "templated", prompt: { text: "\u000112", addSpecial: false }, response: "3" };
  const { samples: tokenized } = await tokenizeSamples([raw, templated], characters, 10);
  for (const { tokens, promptLength } of tokenized) {
    expect(tokens).toEqual(characters("\u0001123"));
    expect(promptLength).toBe(3);
  }
});

test("samples over the limit are left out and counted", async () => {
  expect(await tokenizeSamples(samples, characters, 4)).toMatchObject({ dropped: 1, samples: [{ id: "b" }] });
  expect(await tokenizeSamples(samples, characters, 5)).toMatchObject({ dropped: 0 });
});

test("batches go through every sample once an epoch", async () => {
  const { samples: tokenized } = await tokenizeSamples(samples, characters, 10);
  const batches = sftBatches(tokenized, { batchSize: 2, seed: 1, epochs: 1 });
  const first = batches.take(0);
  expect(first).toMatchObject({ epoch: 0, nextCursor: 2 });
  expect(first?.tokens).toHaveLength(7);
  expect(batches.take(2)).toBeUndefined();
});

test("SFT's order is not that of an RL stage over the same rows", () => {
  const rows = Array.from({ length: 64 }, (_, index) => ({
    id: String(index),
    tokens: Uint32Array.of(index, 0),
    promptLength: 1,
  }));
  const order = sftBatches(rows, { batchSize: 64, seed: 1 })
    .take(0)
    ?.tokens.filter((_, place) => place % 2 === 0);
  const rl = createLoader(rows, { seed: 1, stage: 0 })
    .take(0, 64)
    ?.items.map(({ tokens }) => tokens[0]);
  expect([...(order ?? [])].sort((a, b) => a - b)).toEqual(rows.map((_, index) => index));
  expect([...(order ?? [])]).not.toEqual(rl ?? []);
});

const prompt = { id: "p", text: "1+1?", answer: "2", solution: "One and one.", place: "d.jsonl row 3" };
const rendered = { text: "P", addSpecial: true };

test("acereason targets: a bare solution is closed and boxed", () => {
  expect(sftSample(prompt, rendered, "acereason", "<|im_end|>")).toEqual({
    id: "p",
    prompt: rendered,
    response: "One and one.\n</think>\n\n\\boxed{2}<|im_end|>",
  });
});

test("acereason targets: a teacher's response stays as it is, its opening being the prompt's", () => {
  const solution = "<think>\nHm.\n</think>\n\n\\boxed{2}";
  expect(sftSample({ ...prompt, solution }, rendered, "acereason", "<|im_end|>").response).toBe(
    "Hm.\n</think>\n\n\\boxed{2}<|im_end|>",
  );
});

test("other frames: the response and the end token, once", () => {
  expect(sftSample(prompt, rendered, "raw", "<|end|>").response).toBe("One and one.<|end|>");
  expect(sftSample({ ...prompt, solution: "2<|end|>" }, rendered, "raw", "<|end|>").response).toBe("2<|end|>");
});

test("a sample without solution or answer is refused by row", () => {
  const { solution, ...unsolved } = prompt;
  expect(() => sftSample(unsolved, rendered, "raw", "<|end|>")).toThrow("d.jsonl row 3: no solution");
  const { answer, ...unanswered } = prompt;
  expect(() => sftSample(unanswered, rendered, "acereason", "<|end|>")).toThrow("d.jsonl row 3: no answer");
});
