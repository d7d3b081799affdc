import { expect, test } from "bun:test";
import { createLoader } from "./loader.ts";
import { packSamples, sftBatches, tokenizeSamples } from "./pack.ts";
import { sftSample } from "./sft-sample.ts";

const characters = (text: string) => Uint32Array.from(text, (character) => character.charCodeAt(0));
const samples = [
  { id: "a", prompt: "12", response: "345" },
  { id: "b", prompt: "1", response: "2" },
];

test("prompt and response become one sequence with loss on the response", async () => {
  const { samples: tokenized } = await tokenizeSamples(samples, characters, { maxTokens: 10, overlength: "refuse" });
  const packed = packSamples(tokenized);
  expect(packed.tokens).toEqual(characters("1234512"));
  expect(packed.cuSeqlens).toEqual(new Uint32Array([0, 5, 7]));
  expect(packed.lossMask).toEqual(new Uint8Array([0, 0, 1, 1, 1, 0, 1]));
});

test("a sequence without a prompt has no loss on its first token: nothing predicts it", () => {
  const packed = packSamples([{ id: "a", tokens: new Uint32Array([5, 6]), promptLength: 0 }]);
  expect(packed.lossMask).toEqual(new Uint8Array([0, 1]));
});

test("samples over the limit are dropped, cut or refused, and counted", async () => {
  const run = (overlength: "drop" | "truncate" | "refuse", maxTokens = 4) =>
    tokenizeSamples(samples, characters, { maxTokens, overlength });
  expect(await run("drop")).toMatchObject({ dropped: 1, truncated: 0, samples: [{ id: "b" }] });
  const cut = await run("truncate");
  expect(cut).toMatchObject({ dropped: 0, truncated: 1 });
  expect(cut.samples[0]?.tokens).toEqual(characters("1234"));
  expect(await run("truncate", 1)).toMatchObject({ dropped: 2, truncated: 0, samples: [] });
  await expect(run("refuse")).rejects.toThrow("sample a has 5 tokens, the limit is 4");
});

test("batches go through every sample once an epoch", async () => {
  const { samples: tokenized } = await tokenizeSamples(samples, characters, { maxTokens: 10, overlength: "drop" });
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

const prompt = { id: "p", text: "1+1?", answer: "2", solution: "One and one.", source: "d.jsonl row 3" };

test("acereason targets: a bare solution is closed and boxed", () => {
  expect(sftSample(prompt, "P", "acereason", "<|im_end|>")).toEqual({
    id: "p",
    prompt: "P",
    response: "One and one.\n</think>\n\n\\boxed{2}<|im_end|>",
  });
});

test("acereason targets: a teacher's response stays as it is, its opening being the prompt's", () => {
  const solution = "<think>\nHm.\n</think>\n\n\\boxed{2}";
  expect(sftSample({ ...prompt, solution }, "P", "acereason", "<|im_end|>").response).toBe(
    "Hm.\n</think>\n\n\\boxed{2}<|im_end|>",
  );
});

test("other frames: the response and the end token, once", () => {
  expect(sftSample(prompt, "P", "raw", "<|end|>").response).toBe("One and one.<|end|>");
  expect(sftSample({ ...prompt, solution: "2<|end|>" }, "P", "raw", "<|end|>").response).toBe("2<|end|>");
});

test("a sample without solution or answer is refused by row", () => {
  const { solution, ...unsolved } = prompt;
  expect(() => sftSample(unsolved, "P", "raw", "<|end|>")).toThrow("d.jsonl row 3: no solution");
  const { answer, ...unanswered } = prompt;
  expect(() => sftSample(unanswered, "P", "acereason", "<|end|>")).toThrow("d.jsonl row 3: no answer");
});
