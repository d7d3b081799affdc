// Our side of a benchmark, in a process of its own: `bun benchmarks/ours.ts JOB` loads the policy and works on command.
import { grpo, Policy } from "../packages/sdk/src/index.ts";
import { type Command, type GenerateJob, type GrpoJob, job, type TrainJob, tokenIds } from "./jobs.ts";

type Figures = Record<string, number | string | number[]>;
type Work = { ready: Figures; run: (command: Command) => Promise<Figures> };

const say = (line: unknown) => process.stdout.write(`${JSON.stringify(line)}\n`);
const peakGib = () => process.resourceUsage().maxRSS / 1024 ** 2;

/** Seconds that something took. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

/** The optimizer settings of torch.optim.AdamW; nothing is clipped on either side. */
const optimizer = {
  learningRate: 1e-5,
  betas: [0.9, 0.999],
  weightDecay: 0.01,
  maxGradNorm: Number.POSITIVE_INFINITY,
} as const;

/** Training steps on fresh tokens each; tells the loss before the step and the norm of its gradient. */
function training(policy: Policy, { batch, length, trained }: TrainJob): Work["run"] {
  const cuSeqlens = Uint32Array.from({ length: batch + 1 }, (_, index) => index * length);
  const lossMask = Uint8Array.from({ length: batch * length }, (_, index) =>
    index % length >= length - trained ? 1 : 0,
  );
  const weights = new Float32Array(batch * trained).fill(1 / (batch * trained));
  return async (command) => {
    const seed = command.do === "repeat" ? command.index + 1 : 0;
    const tokens = tokenIds(batch * length, seed, policy.info.vocabSize);
    const packed = await policy.batch({ tokens, cuSeqlens, lossMask });
    const began = performance.now();
    const { loss, gradNorm } = await policy.step(packed, { weights, ...optimizer });
    const seconds = (performance.now() - began) / 1000;
    packed.close();
    return { seconds, loss, gradient_norm: gradNorm, peak_gib: peakGib() };
  };
}

/** Responses to fresh prompts: of one token (the prefill), then of the whole length. */
function generation(policy: Policy, { batch, prompt, response }: GenerateJob): Work["run"] {
  const promptsOf = (seed: number) =>
    Array.from({ length: batch }, (_, index) => tokenIds(prompt, 1000 * seed + index, policy.info.vocabSize));
  const generate = async (seed: number, maxTokens: number) => {
    const [first] = (await policy.generate(promptsOf(seed), { n: 1, maxTokens, temperature: 1, seed: 1 })).flat();
    if (first?.tokens.length !== maxTokens) throw new Error(`a response has not ${maxTokens} tokens`);
    return first;
  };
  return async (command) => {
    const seed = command.do === "repeat" ? 2 * command.index + 2 : 0;
    if (command.do !== "repeat") {
      const { tokens, logprobs } = await generate(seed, response);
      const [first = new Uint32Array()] = promptsOf(seed);
      return { tokens: [...first, ...tokens], logprobs: [...logprobs] };
    }
    const prefill = await timed(() => generate(seed, 1));
    const full = await timed(() => generate(seed + 1, response));
    return { prefill_seconds: prefill, full_seconds: full, peak_gib: peakGib() };
  };
}

/** Steps of the SDK's own GRPO loop; the reward is how often the digit 7 stands in the text, as it is for the peer. */
function reinforcement(policy: Policy, given: GrpoJob): Work["run"] {
  const texts = Array.from({ length: 512 }, (_, index) => promptText(given.prompt, index));
  const loop = grpo({
    policy,
    prompts: texts.map((text, index) => ({ id: `p${index}`, text })),
    reward: ({ text }) => text.split("7").length / Math.max(1, text.length),
    promptsPerStep: given.prompts,
    groupSize: given.groupSize,
    maxResponseLength: given.response,
    temperature: 1,
    overlongFiltering: "off",
    lossAggMode: "token-mean",
    dropZeroVariance: false,
    learningRate: 1e-6,
    epochs: 1e6,
    seed: 1,
  });
  return async () => {
    const began = performance.now();
    const { value: step, done } = await loop.next();
    if (done) throw new Error(`the loop ended: ${step}`);
    return {
      seconds: (performance.now() - began) / 1000,
      response_length: Number(step["response_length/mean"]),
      logprob_difference: Number(step.train_rollout_logprob_abs_diff),
      peak_gib: peakGib(),
    };
  };
}

/** Words of the tokenizer that models.ts writes: one token each. */
function promptText(length: number, seed: number): string {
  return [...tokenIds(length, seed, 500)].map((id) => `w${id}`).join(" ");
}

function workOf(policy: Policy, given: TrainJob | GenerateJob | GrpoJob): Work["run"] {
  if (given.kind === "train") return training(policy, given);
  return given.kind === "generate" ? generation(policy, given) : reinforcement(policy, given);
}

async function prepare(): Promise<Work> {
  const given = job.parse(JSON.parse(process.argv[2] ?? ""));
  if (given.kind === "product") throw new Error("products are measured by machine_limits");
  const { folder, dtype, threads } = given;
  const policy = await Policy.load(folder, { threads, ...(dtype === "f32" ? {} : { dtype }) });
  const run = workOf(policy, given);
  return { ready: { name: "Gradus", level: policy.info.level, first_step_at: Date.now() / 1000 }, run };
}

try {
  const { ready, run } = await prepare();
  say({ ok: ready });
  for await (const line of console) {
    if (line !== "") say({ ok: await run(JSON.parse(line)) });
  }
} catch (error) {
  say({ error: error instanceof Error ? error.message : String(error) });
}
process.exit(0);
