// The whole CUDA backend from the API, on the simulator: `bun run test` builds its library (`bun scripts/kernels.ts --sim`).
import { afterAll, beforeAll, expect, test } from "bun:test";
import { removeTemporaryFolders, temporaryFolder, tinyPolicy } from "./__fixtures__/tiny-policy.ts";
import { grpo, Policy } from "./index.ts";

let policy: Policy;
beforeAll(async () => {
  policy = await tinyPolicy({ device: "cuda-sim" });
});
afterAll(() => policy.close());
afterAll(removeTemporaryFolders);

const prompts = [Uint32Array.of(3, 4, 5), Uint32Array.of(7, 8, 9, 10, 11)];
const rollout = { groupSize: 2, maxResponseLength: 9, temperature: 0.8, seed: 1 };

test("a simulated GPU computes in bf16 and says what it is", () => {
  expect(policy.info).toMatchObject({ device: "cuda-sim", level: "sm_80 simulator", dtype: "bf16" });
});

test("scores are near the CPU's", async () => {
  const cpu = await tinyPolicy({ device: "cpu", dtype: "bf16" });
  const [[found], [expected]] = await Promise.all([policy.score([...prompts]), cpu.score([...prompts])]);
  await cpu.close();
  expect(found?.logprobs.length).toBe(2);
  found?.logprobs.forEach((logprob, index) => {
    expect(Math.abs(logprob - (expected?.logprobs[index] ?? Number.NaN))).toBeLessThan(0.05);
  });
});

test("the sampler's logprobs are the trainer's bit for bit, a step changes the policy, and a fault shows", async () => {
  const difference = async () => {
    const batch = await policy.rollout(prompts, rollout);
    const weights = Float32Array.of(0.1, -0.1, 0.05, -0.05);
    const metrics = await policy.step(batch, { weights, learningRate: 1e-3, microBatchTokens: 30 });
    batch.close();
    expect(metrics.skipped).toBeNull();
    expect(metrics.gradNorm).toBeGreaterThan(0);
    return metrics.logprobAbsDiffMax;
  };
  const [before] = await policy.score(prompts.slice(0, 1));
  expect(await difference()).toBe(0);
  const [after] = await policy.score(prompts.slice(0, 1));
  expect(after?.logprobs).not.toEqual(before?.logprobs);
  expect(await difference()).toBe(0);
  await policy.plantFault("weight-ulp");
  expect(await difference()).toBeGreaterThan(0);
});

test("a GRPO step of the SDK: rollouts, rewards, advantages and the update, all on the simulator", async () => {
  const own = await tinyPolicy({ device: "cuda-sim" });
  const before = await own.score(prompts);
  let judged = 0;
  const run = grpo({
    policy: own,
    prompts: prompts.map((ids, index) => ({ id: `p${index}`, ids })),
    // By turns: every group has a better and a worse half.
    reward: () => judged++ % 2,
    groupSize: 4,
    maxResponseLength: 5,
    temperature: 0.8,
    overlongFiltering: "off",
    learningRate: 1e-3,
    steps: 1,
    seed: 1,
  });
  const records = [];
  for await (const record of run) records.push(record);
  expect(records).toMatchObject([
    {
      "critic/score/mean": 0.5,
      "critic/advantages/mean": 0,
      "batch/pct_mixed": 1,
      "training/global_step": 1,
      train_rollout_logprob_abs_diff: 0,
    },
  ]);
  const [record] = records;
  // Half a reward above the mean, by the unbiased deviation of 0, 1, 0, 1.
  expect(record?.["critic/advantages/max"]).toBeCloseTo(0.5 / Math.sqrt(1 / 3), 5);
  expect(record?.["batch/trained_tokens"]).toBe(8 * Number(record?.["response_length/mean"]));
  expect(record?.["actor/grad_norm"]).toBeGreaterThan(0);
  expect(await own.score(prompts)).not.toEqual(before);
  await own.close();
});

test("a checkpoint goes on in its own dtype, on the CPU as well", async () => {
  const folder = temporaryFolder();
  const checkpoint = await policy.checkpoint(folder, 1, null);
  const { policy: resumed } = await Policy.resume(checkpoint, { device: "cpu" });
  expect(resumed.info).toMatchObject({ device: "cpu", dtype: "bf16" });
  await resumed.close();
  const { policy: again } = await Policy.resume(checkpoint, { device: "cuda-sim" });
  expect(await again.score([...prompts])).toEqual(await policy.score([...prompts]));
  await again.close();
});
