// One benchmark row in a process of its own: `bun benchmarks/suites/policy.ts SHAPE WORK` prints it as a line of JSON.
import { Policy } from "../../packages/sdk/src/index.ts";
import { shapeConfig } from "../../scripts/shapes.ts";
import { type BenchRow, benchRow, isShape, isWork, type Shape, sizes, type Work } from "../rows.ts";

const [shape = "", work = ""] = process.argv.slice(2);
if (!isShape(shape) || !isWork(work)) {
  console.error(`policy suite: ${shape} ${work} is not a shape and a work`);
  process.exit(2);
}

const optimizer = { learningRate: 1e-5, betas: [0.9, 0.999] as const, weightDecay: 0.01, maxGradNorm: 1 };

/** Ids spread over the vocabulary, the same in every run; the two lowest are left out as end and padding. */
function tokenIds(count: number, vocab: number, seed: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, index) => 2 + ((index * 7919 + seed * 104729) % (vocab - 2)));
}

/** The work as a function of one run that gives the tokens it processed, and its size in words. */
async function prepare(
  policy: Policy,
  shape: Shape,
  work: Work,
): Promise<{ size: string; run: () => Promise<number> }> {
  const vocab = policy.info.vocabSize;
  if (work === "training-step") {
    const [sequences, length] = sizes[shape].train;
    const tokens = tokenIds(sequences * length, vocab, 1);
    const cuSeqlens = Uint32Array.from({ length: sequences + 1 }, (_, index) => index * length);
    const lossMask = new Uint8Array(tokens.length).fill(1);
    for (const start of cuSeqlens.slice(0, -1)) lossMask[start] = 0;
    const trained = sequences * (length - 1);
    const batch = await policy.batch({ tokens, cuSeqlens, lossMask });
    const weights = new Float32Array(trained).fill(1 / trained);
    return {
      size: `${sequences} × ${length}`,
      run: async () => {
        await policy.step(batch, { weights, ...optimizer });
        return tokens.length;
      },
    };
  }
  if (work === "decode") {
    const [batch, promptLength, maxTokens] = sizes[shape].decode;
    const prompts = Array.from({ length: batch }, (_, index) => tokenIds(promptLength, vocab, index));
    return {
      size: `batch ${batch}, prompt ${promptLength}, new ${maxTokens}`,
      run: async () => {
        const results = await policy.generate(prompts, { n: 1, maxTokens, temperature: 1, seed: 1 });
        return results.flat().reduce((sum, response) => sum + response.tokens.length, 0);
      },
    };
  }
  const [count, groupSize, promptLength, maxResponseLength] = sizes[shape].rl;
  const prompts = Array.from({ length: count }, (_, index) => tokenIds(promptLength, vocab, index));
  let step = 0;
  return {
    size: `${count} × ${groupSize}, prompt ${promptLength}, new ${maxResponseLength}`,
    run: async () => {
      step += 1;
      const batch = await policy.rollout(prompts, { groupSize, maxResponseLength, temperature: 1, seed: 1, step });
      // Half the rollouts are pushed up and half down, so that the step has a gradient whatever they say.
      const weights = Float32Array.from(
        batch.rollouts,
        (_, index) => (index % 2 === 0 ? 1 : -1) / batch.responseTokens,
      );
      await policy.step(batch, { weights, ...optimizer });
      batch.close();
      return batch.responseTokens;
    },
  };
}

const policy = await Policy.create({ config: shapeConfig(shape === "M" ? "qwen2.5-0.5b" : shape), seed: 1 });
const { size, run } = await prepare(policy, shape, work);
await run();
const seconds: number[] = [];
const rates: number[] = [];
for (let repeat = 0; repeat < sizes[shape].repeats; repeat += 1) {
  const began = performance.now();
  const tokens = await run();
  seconds.push((performance.now() - began) / 1000);
  rates.push(tokens / (seconds.at(-1) ?? 1));
}
const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const row: BenchRow = {
  shape,
  work,
  size,
  tokensPerSecond: median(rates),
  secondsMedian: median(seconds),
  spread: (Math.max(...seconds) - Math.min(...seconds)) / 2 / median(seconds),
  repeats: seconds.length,
  peakMemoryGib: process.resourceUsage().maxRSS / 1024 ** 2,
  level: policy.info.level,
  threads: policy.info.threads,
};
await policy.close();
console.log(JSON.stringify(benchRow.parse(row)));
