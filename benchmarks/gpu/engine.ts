// The whole engine on a device, bundled into one file for the GPU bundle: `bun engine.js tiny|grpo-7b|SHAPE DEVICE`. A JSON line a row.
// tiny: SFT and RL on a policy of 0.1 M parameters; a shape of scripts/shapes.ts: training, generation, memory, with random weights;
// grpo-7b: one GRPO step of 7B with responses of 32K. --small takes sizes for a CPU: the same code, figures without meaning.
import { parseArgs } from "node:util";
import { grpo, Policy } from "../../packages/sdk/src/index.ts";
import { isShapeName, shapeConfig, shapeNames } from "../../scripts/shapes.ts";
import { tokenIds } from "../jobs.ts";
import { median } from "../rows.ts";

/** Dense bf16 peak of an H100 SXM and an H200: what MFU is a share of. */
const peakFlops = 989e12;
const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    small: { type: "boolean", default: false },
    // Leaves training out: a policy whose gradients and optimizer have no room still decodes.
    generation: { type: "boolean", default: false },
    // What grpo-7b has in all.
    seconds: { type: "string", default: "500" },
  },
});
const [what = "", device = ""] = positionals;

/** What a row is about, so that goals find it. */
type About = { kind?: string; shape?: Record<string, string | number | boolean>; note?: string };

const figure = (work: string, unit: string, ours: number, about: About = {}) =>
  console.log(JSON.stringify({ work: `${what}: ${work}`, unit, ours, ...about }));
const check = (work: string, ok: boolean, note?: string) =>
  console.log(JSON.stringify({ work: `${what}: ${work}`, ok, note }));
const message = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Does one piece of work; what fails is a row, and the rest goes on. */
async function attempt(work: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    check(work, false, message(error));
  }
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

/** Whether `score` gives the sampler's logprobs, bit for bit. */
async function isExact(policy: Policy, batch: number, prompt: number, maxTokens: number): Promise<boolean> {
  const prompts = Array.from({ length: batch }, (_, index) => tokenIds(prompt + index, index, policy.info.vocabSize));
  const responses = (await policy.generate(prompts, { n: 1, maxTokens, temperature: 0.8, seed: 1 })).flat();
  const sequences = responses.map(({ tokens }, index) => Uint32Array.of(...(prompts[index] ?? []), ...tokens));
  const scores = await policy.score(sequences, { temperature: 0.8 });
  return responses.every(({ tokens, logprobs }, index) => {
    const scored = scores[index]?.logprobs.slice(-tokens.length) ?? [];
    return logprobs.length > 0 && logprobs.every((value, at) => Object.is(value, scored[at]));
  });
}

/** RL steps by the SDK's own loop. Rewards go 0, 1, 2 by turns: the time does not depend on what they mean, only on their being different. */
async function reinforce(
  policy: Policy,
  size: { prompts: number; prompt: number; response: number; steps: number },
  about: About = {},
) {
  const { vocabSize } = policy.info;
  let judged = 0;
  const loop = grpo({
    policy,
    prompts: Array.from({ length: 64 }, (_, index) => ({
      id: `p${index}`,
      ids: tokenIds(size.prompt, index, vocabSize),
    })),
    reward: () => judged++ % 3,
    promptsPerStep: size.prompts,
    groupSize: 8,
    maxResponseLength: size.response,
    temperature: 1,
    // Random weights seldom end a response: all of them train.
    overlongFiltering: "off",
    dropZeroVariance: false,
    learningRate: 1e-6,
    steps: size.steps,
    seed: 1,
  });
  let began = performance.now();
  for await (const step of loop) {
    const took = (performance.now() - began) / 1000;
    const tokens = 8 * size.prompts * (size.prompt + Number(step["response_length/mean"]));
    figure(`RL step, ${8 * size.prompts} responses of ${size.response}`, "s", took, about);
    figure("RL step, tokens", "tokens/s", tokens / took);
    const difference = Number(step.train_rollout_logprob_abs_diff);
    check("RL step: sampler and trainer, difference 0", difference === 0, `difference ${difference}`);
    began = performance.now();
  }
}

/** A step of packed training on fresh tokens each. */
async function trainOnce(
  policy: Policy,
  batch: number,
  length: number,
  seed: number,
  learningRate = 1e-6,
): Promise<number> {
  const packed = await policy.batch({
    tokens: tokenIds(batch * length, seed, policy.info.vocabSize),
    cuSeqlens: Uint32Array.from({ length: batch + 1 }, (_, index) => index * length),
    lossMask: Uint8Array.from({ length: batch * length }, (_, index) => (index % length === 0 ? 0 : 1)),
  });
  const trained = batch * (length - 1);
  const weights = new Float32Array(trained).fill(1 / trained);
  try {
    return await seconds(() => policy.step(packed, { weights, learningRate }));
  } finally {
    packed.close();
  }
}

async function tiny(): Promise<void> {
  const config = {
    ...shapeConfig("T"),
    hidden_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    intermediate_size: 128,
    vocab_size: 64,
  };
  const policy = await Policy.create({ config, seed: 1n, device, dtype: "bf16" });
  check(`a policy on ${device}`, policy.info.device === device, policy.info.level);
  await attempt("logprobs", async () =>
    check("score gives the sampler's logprobs, bit for bit", await isExact(policy, 5, 9, 16)),
  );
  await attempt("SFT", async () => {
    const before = await trainLoss(policy);
    for (let step = 0; step < 8; step += 1) await trainOnce(policy, 4, 33, 1, 1e-2);
    const after = await trainLoss(policy);
    check("SFT lowers the loss", after < before, `${before.toFixed(3)} to ${after.toFixed(3)}`);
  });
  await attempt("RL", () => reinforce(policy, { prompts: 2, prompt: 7, response: 16, steps: 2 }));
  await policy.close();
}

/** Mean negative logprob of the tokens that `trainOnce` trains on with seed 1. */
async function trainLoss(policy: Policy): Promise<number> {
  const all = tokenIds(4 * 33, 1, policy.info.vocabSize);
  const scores = await policy.score(Array.from({ length: 4 }, (_, index) => all.slice(33 * index, 33 * index + 33)));
  const logprobs = scores.flatMap((score) => [...score.logprobs]);
  return -logprobs.reduce((sum, value) => sum + value, 0) / logprobs.length;
}

/** How large the work on a shape is: [sequences, tokens of each]. */
type Sizes = {
  exact: { batch: number; prompt: number; tokens: number };
  decode: readonly (readonly [batch: number, context: number])[];
  decodeTokens: number;
  train: readonly (readonly [batch: number, length: number])[];
  rl: { prompts: number; prompt: number; response: number; steps: number };
};

const large: Sizes = {
  exact: { batch: 7, prompt: 300, tokens: 40 },
  decode: [
    [1, 1024],
    [64, 1024],
    [256, 1024],
    [64, 4096],
  ],
  decodeTokens: 64,
  train: [
    [8, 1024],
    [1, 8192],
  ],
  rl: { prompts: 8, prompt: 128, response: 512, steps: 2 },
};
const of7b: Sizes = {
  ...large,
  train: [
    [8, 1024],
    [1, 8192],
    [1, 32768],
  ],
};
const small: Sizes = {
  exact: { batch: 2, prompt: 9, tokens: 4 },
  decode: [[2, 16]],
  decodeTokens: 4,
  train: [[2, 16]],
  rl: { prompts: 1, prompt: 8, response: 8, steps: 1 },
};

async function shape(name: string): Promise<void> {
  if (!isShapeName(name)) throw new Error(`${name} is not one of tiny, grpo-7b, ${shapeNames.join(", ")}`);
  const sizes = given.small ? small : name === "qwen2.5-7b" ? of7b : large;
  const began = performance.now();
  const policy = await Policy.create({ config: shapeConfig(name), seed: 1n, device, dtype: "bf16" });
  figure("random weights made", "s", (performance.now() - began) / 1000);
  await attempt("logprobs", async () => {
    const { batch, prompt, tokens } = sizes.exact;
    check("score gives the sampler's logprobs, bit for bit", await isExact(policy, batch, prompt, tokens));
  });
  for (const [batch, context] of sizes.decode) {
    await attempt(`decode ${batch} x ${context}`, () => decode(policy, name, batch, context, sizes.decodeTokens));
  }
  if (!given.generation) {
    for (const [batch, length] of sizes.train) {
      await attempt(`SFT ${batch} x ${length}`, () => train(policy, name, batch, length));
    }
    await attempt("RL step", () => reinforce(policy, sizes.rl));
  }
  await tellMemory(policy);
  await policy.close();
}

/** Tokens of one inference step on a GPU: in so many steps as these take for all prompts, the last one has begun to decode. */
const stepTokens = 8192;

/** Tokens a second of a prefill, and of decoding with all sequences running: two lengths are compared, of which both have the prefill. */
async function decode(policy: Policy, model: string, batch: number, context: number, tokens: number): Promise<void> {
  const prompts = Array.from({ length: batch }, (_, index) => tokenIds(context, index, policy.info.vocabSize));
  const options = { n: 1, temperature: 1, seed: 1 } as const;
  const least = Math.max(tokens, Math.ceil((batch * context) / stepTokens));
  // Untimed: kernels are loaded and memory is taken at the first run of a size.
  await policy.generate(prompts, { ...options, maxTokens: 2 });
  const short = await seconds(() => policy.generate(prompts, { ...options, maxTokens: least }));
  const long = await seconds(() => policy.generate(prompts, { ...options, maxTokens: 3 * least }));
  const decoding = (long - short) / 2;
  if (decoding <= 0 || decoding >= short) {
    console.error(
      `decode ${batch} x ${context}: ${short} s and ${long} s tell nothing; something else uses the machine`,
    );
    return;
  }
  figure(`prefill, ${batch} sequences of ${context}`, "tokens/s", (batch * context) / (short - decoding));
  figure(`decode, ${batch} sequences of ${context}`, "tokens/s", (batch * least) / decoding, {
    kind: "decode",
    shape: { model, batch, context },
  });
}

/** Tokens a second of training, and what share of the chip's peak that is. */
async function train(policy: Policy, model: string, batch: number, length: number): Promise<void> {
  await trainOnce(policy, batch, length, 1);
  const took: number[] = [];
  for (let step = 2; step < 5; step += 1) took.push(await trainOnce(policy, batch, length, step));
  const rate = (batch * length) / median(took);
  figure(`SFT step, ${batch} sequences of ${length}`, "tokens/s", rate, {
    kind: "train",
    shape: { model, batch, length },
    note: `${took.map((value) => value.toFixed(3)).join(" ")} s`,
  });
  const share = (600 * policy.info.parameters * rate) / peakFlops;
  figure(`SFT step, ${batch} of ${length}: 6 · parameters · tokens/s of 989 TFLOP/s`, "%", share);
}

async function tellMemory(policy: Policy): Promise<void> {
  const memory = await policy.memory();
  figure("memory of the policy", "GiB", memory.total / 2 ** 30, { note: JSON.stringify(memory) });
}

/** One GRPO step of 7B on one GPU: eight responses of 32K, or of what the time allows by how fast it decodes. */
async function grpo7b(): Promise<void> {
  const began = performance.now();
  const [prompt, whole, probed] = given.small ? [4, 24, 4] : [128, 32768, 64];
  const config = { ...shapeConfig(given.small ? "T" : "qwen2.5-7b"), max_position_embeddings: prompt + whole };
  const policy = await Policy.create({ config, seed: 1n, device, dtype: "bf16" });
  const prompts = Array.from({ length: 8 }, (_, index) => tokenIds(prompt, index, policy.info.vocabSize));
  const probe = await seconds(() => policy.generate(prompts, { n: 1, temperature: 1, seed: 2, maxTokens: probed }));
  const left = Number(given.seconds) - (performance.now() - began) / 1000;
  // Reading ever more keys makes a step of decoding up to twice as long, the update takes about a third of the whole.
  const fits = Math.floor(((left * 0.65) / 1.6) * (probed / probe));
  const response = Math.min(whole, fits);
  const shape = { model: "qwen2.5-7b", responses: 8, response, whole: response === whole };
  const size = { prompts: 1, prompt, response, steps: 1 };
  await attempt("RL step", () => reinforce(policy, size, { kind: "grpo", shape }));
  await tellMemory(policy);
  await policy.close();
}

let exitCode = 0;
try {
  await (what === "tiny" ? tiny() : what === "grpo-7b" ? grpo7b() : shape(what));
} catch (error) {
  console.error(message(error));
  exitCode = 1;
}
process.exit(exitCode);
