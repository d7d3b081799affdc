// What is drawn when a call limits or changes the distribution, and that the numbers of a response do not know of it.
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  failure,
  removeTemporaryFolders,
  tinyConfig,
  tinyPolicy,
  tokenizerFolder,
} from "./__fixtures__/tiny-policy.ts";
import type { GenerateOptions, Policy } from "./index.ts";

let policy: Policy;
beforeAll(async () => {
  policy = await tinyPolicy({ config: { ...tinyConfig, eos_token_id: null } });
});
afterAll(() => policy.close());
afterAll(removeTemporaryFolders);

const prompt = Uint32Array.of(1, 2, 3);

/** The tokens of n responses of 20 tokens. */
async function tokensOf(options: GenerateOptions): Promise<number[][]> {
  const [responses = []] = await policy.generate([prompt], { n: 8, maxTokens: 20, seed: 5, ...options });
  return responses.map(({ tokens }) => [...tokens]);
}

test("limits that limit nothing change nothing, and one token left is the likeliest", async () => {
  const free = await tokensOf({});
  const nothing = {
    topK: 260,
    topP: 1,
    minP: 0,
    repetitionPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    logitBias: {},
  };
  expect(await tokensOf(nothing)).toEqual(free);
  const greedy = await tokensOf({ temperature: 0 });
  expect(await tokensOf({ topK: 1 })).toEqual(greedy);
  expect(await tokensOf({ topP: 1e-9 })).toEqual(greedy);
  expect(await tokensOf({ minP: 1 })).toEqual(greedy);
  expect(await tokensOf({ topK: 5 })).not.toEqual(free);
});

test("logprobs and entropies are the policy's own, as score gives them", async () => {
  for (const temperature of [1, 0.7]) {
    const [responses = []] = await policy.generate([prompt], {
      n: 4,
      maxTokens: 30,
      temperature,
      topK: 40,
      topP: 0.9,
      minP: 0.01,
      repetitionPenalty: 1.2,
      presencePenalty: 0.3,
      frequencyPenalty: 0.2,
      logitBias: { 7: 2, 9: Number.NEGATIVE_INFINITY },
    });
    const sequences = responses.map(({ tokens }) => Uint32Array.of(...prompt, ...tokens));
    const scores = await policy.score(sequences, { temperature });
    for (const [index, { tokens, logprobs }] of responses.entries()) {
      expect(logprobs).toEqual(scores[index]?.logprobs.slice(-tokens.length) ?? new Float32Array());
    }
  }
});

test("a bias forces and forbids; penalties keep a response from repeating itself", async () => {
  expect((await tokensOf({ logitBias: { 42: 10_000 } })).flat().every((token) => token === 42)).toBe(true);
  const allowed = Object.fromEntries(Array.from({ length: 258 }, (_, id) => [id, Number.NEGATIVE_INFINITY]));
  expect(new Set((await tokensOf({ logitBias: allowed })).flat())).toEqual(new Set([258, 259]));
  for (const penalty of [{ presencePenalty: 1000 }, { frequencyPenalty: 1000 }]) {
    for (const tokens of await tokensOf({ temperature: 0, ...penalty })) expect(new Set(tokens).size).toBe(20);
  }
  for (const tokens of await tokensOf({ temperature: 0, repetitionPenalty: 100 })) {
    expect(new Set([...prompt, ...tokens]).size).toBe(23);
  }
});

test("stream draws as generate does", async () => {
  const own = await tinyPolicy({ tokenizer: tokenizerFolder() });
  const options = { maxTokens: 30, seed: 3, topK: 20, topP: 0.8, repetitionPenalty: 1.1 };
  const [[whole] = []] = await own.generate(["abc"], options);
  let text = "";
  for await (const piece of own.stream("abc", options)) text += piece;
  expect(text).toBe(whole?.text ?? "");
  await own.close();
});

test("what has no meaning is refused with its range", async () => {
  const refusals: [GenerateOptions, string, string][] = [
    [{ topK: 0 }, "bad-option", "option topK is 0"],
    [{ topK: 2.5 }, "bad-option", "option topK is 2.5"],
    [{ topP: 0 }, "bad-option", "option topP is 0"],
    [{ topP: 1.5 }, "bad-option", "option topP is 1.5"],
    [{ minP: -0.1 }, "bad-option", "option minP is -0.1"],
    [{ minP: 2 }, "bad-option", "option minP is 2"],
    [{ repetitionPenalty: 0 }, "bad-option", "option repetitionPenalty is 0"],
    [{ repetitionPenalty: Number.POSITIVE_INFINITY }, "bad-option", "option repetitionPenalty is Infinity"],
    [{ presencePenalty: Number.NaN }, "bad-option", "option presencePenalty is NaN"],
    [{ frequencyPenalty: 1e6 }, "bad-option", "option frequencyPenalty is 1000000"],
    [{ logitBias: { 3: Number.POSITIVE_INFINITY } }, "bad-option", "option logitBias.3 is Infinity: expected a number"],
    [{ logitBias: { end: 1 } }, "bad-option", "option logitBias.end is 1: expected a token id"],
    [{ logitBias: { 260: 1 } }, "out-of-range", "names token 260, ids must be below vocab_size = 260"],
  ];
  for (const [options, code, part] of refusals) {
    const error = await failure(() => policy.generate([prompt], options));
    expect(error).toMatchObject({ name: "GradusError", code });
    expect(error.message).toContain(part);
  }
  const all = Object.fromEntries(Array.from({ length: 260 }, (_, id) => [id, Number.NEGATIVE_INFINITY]));
  expect((await failure(() => policy.generate([prompt], { logitBias: all }))).message).toContain("leave at least one");
});
