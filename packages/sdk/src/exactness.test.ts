// The promise of the numerics contract, seen from the API: the sampler's logprob is the scorer's and the trainer's, bit for bit.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import {
  removeTemporaryFolders,
  temporaryFolder,
  tinyConfig,
  tinyPolicy,
  tokenizerFolder,
} from "./__fixtures__/tiny-policy.ts";
import { type Completion, Policy } from "./index.ts";

let policy: Policy;
beforeAll(async () => {
  policy = await tinyPolicy();
});
afterAll(() => policy.close());
afterAll(removeTemporaryFolders);

// Of different lengths, so that batches mix prefill chunks and pages.
const prompts = [3, 1, 40, 17].map((length, index) =>
  Uint32Array.from({ length }, (_, at) => (at * 7 + index * 31) % 256),
);
const options = { n: 3, maxTokens: 30, temperature: 0.7, seed: 5 };

const sequencesOf = (responses: Completion[][]) =>
  responses.flatMap((group, index) => group.map(({ tokens }) => Uint32Array.of(...(prompts[index] ?? []), ...tokens)));
/** The scores of the response tokens alone, in the order of the responses. */
async function scoredLogprobs(scorer: Policy, responses: Completion[][]): Promise<number[][]> {
  const scores = await scorer.score(sequencesOf(responses), { temperature: options.temperature });
  return responses.flat().map(({ tokens }, index) => [...(scores[index]?.logprobs.slice(-tokens.length) ?? [])]);
}

test("score gives the sampler's logprobs, also of other threads and after save and load", async () => {
  const responses = await policy.generate(prompts, options);
  const sampled = responses.flat().map(({ logprobs }) => [...logprobs]);
  expect(sampled.flat().length).toBeGreaterThan(100);
  expect(await scoredLogprobs(policy, responses)).toEqual(sampled);

  const folder = join(temporaryFolder(), "saved");
  await policy.save(folder);
  for (const threads of [1, 2]) {
    const loaded = await Policy.load(folder, { threads });
    expect(await scoredLogprobs(loaded, responses)).toEqual(sampled);
    expect(await loaded.generate(prompts, options)).toEqual(responses);
    await loaded.close();
  }
});

test("a response does not depend on the batch it is sampled in", async () => {
  const together = await policy.generate(prompts, options);
  const backwards = await policy.generate(prompts.toReversed(), options);
  expect(backwards.toReversed()).toEqual(together);
  const alone = await Promise.all(prompts.map((prompt) => policy.generate([prompt], { ...options, n: 2 })));
  expect(alone.map(([group]) => group)).toEqual(together.map((group) => group.slice(0, 2)));
});

test("pages that run out change no bit", async () => {
  const plenty = await policy.generate(prompts, options);
  // 12 responses of up to 70 tokens want 60 pages; these are 8.
  const pageBytes = 2 * 4 * tinyConfig.num_hidden_layers * tinyConfig.head_dim * 16;
  const cramped = await tinyPolicy({ kvBytesMax: 8 * pageBytes });
  expect(await cramped.generate(prompts, options)).toEqual(plenty);
  expect((await cramped.memory()).kvPages).toBe(8 * pageBytes);
  await cramped.close();
});

test("bf16 and q8_0 keep the promise: batches, pages, threads and score give the same bits", async () => {
  for (const dtype of ["bf16", "q8_0"] as const) {
    const own = await tinyPolicy({ dtype });
    expect(own.info.dtype).toBe(dtype);
    const responses = await own.generate(prompts, options);
    expect(await scoredLogprobs(own, responses)).toEqual(responses.flat().map(({ logprobs }) => [...logprobs]));
    expect((await own.generate(prompts.toReversed(), options)).toReversed()).toEqual(responses);
    const pageBytes = 2 * (dtype === "bf16" ? 2 : 4) * tinyConfig.num_hidden_layers * tinyConfig.head_dim * 16;
    const cramped = await tinyPolicy({ dtype, threads: 2, kvBytesMax: 8 * pageBytes });
    expect(await cramped.generate(prompts, options)).toEqual(responses);
    expect((await cramped.memory()).kvPages).toBe(8 * pageBytes);
    await own.close();
    await cramped.close();
  }
});

test.each(["f32", "bf16"] as const)(
  "the trainer's logprobs are the sampler's in %s, whatever the micro-batch, and a planted ulp rings",
  async (dtype) => {
    const trained = await tinyPolicy({ dtype, tokenizer: tokenizerFolder() });
    const rollout = { groupSize: 4, maxResponseLength: 20, temperature: 0.85, seed: 3 };
    const difference = async (microBatchTokens: number) => {
      const batch = await trained.rollout(["12+3=", "a longer prompt"], rollout);
      const weights = Float32Array.from(batch.rollouts, (_, index) => (index % 2 === 0 ? 0.01 : -0.01));
      const metrics = await trained.step(batch, { weights, learningRate: 1e-3, microBatchTokens });
      batch.close();
      return metrics.logprobAbsDiffMax;
    };
    expect(await difference(10_000)).toBe(0);
    expect(await difference(30)).toBe(0);
    await trained.plantFault("weight-ulp");
    expect(await difference(10_000)).toBeGreaterThan(0);
    await trained.close();

    const sampler = await tinyPolicy({ dtype });
    await sampler.plantFault("inverse-temperature-ulp");
    const batch = await sampler.rollout([Uint32Array.of(1, 2)], rollout);
    const metrics = await sampler.step(batch, { weights: new Float32Array(4).fill(0.1), learningRate: 0 });
    expect(metrics.logprobAbsDiffMax).toBeGreaterThan(0);
    await sampler.close();
  },
);
