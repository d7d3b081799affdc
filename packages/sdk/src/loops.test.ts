// grpo, sft and evaluate as a user meets them: options in, records out.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { endToken, failure, removeTemporaryFolders, tinyPolicy, tokenizerFolder } from "./__fixtures__/tiny-policy.ts";
import { evaluate, grpo, mathReward, type Policy, type Reward, type StepRecord, sft, startLoop } from "./index.ts";

let policy: Policy;
beforeAll(async () => {
  policy = await tinyPolicy({ tokenizer: tokenizerFolder() });
});
afterAll(() => policy.close());
afterAll(removeTemporaryFolders);

async function recordsOf(run: AsyncGenerator<StepRecord, unknown>): Promise<StepRecord[]> {
  const records: StepRecord[] = [];
  for await (const record of run) records.push(record);
  return records;
}

test("grpo raises a reward that can be raised: short responses", async () => {
  const own = await tinyPolicy();
  const prompts = Array.from({ length: 4 }, (_, index) => ({ id: `p${index}`, ids: Uint32Array.of(2 + index, 7, 9) }));
  const run = grpo({
    policy: own,
    prompts,
    // Truncated responses are excluded by default; here they are what must become rarer.
    overlongFiltering: "off",
    reward: ({ finishReason }) => (finishReason === "stop" ? 1 : 0),
    groupSize: 16,
    maxResponseLength: 8,
    temperature: 1,
    learningRate: 1e-2,
    steps: 25,
  });
  const records = await recordsOf(run);
  expect(records.length).toBe(25);
  const score = (record: StepRecord | undefined) => record?.["critic/score/mean"] ?? 0;
  expect(score(records.at(-1))).toBeGreaterThan(score(records[0]) + 0.4);
  for (const record of records) expect(record.train_rollout_logprob_abs_diff ?? 0).toBe(0);
  await own.close();
});

test("grpo without steps passes over its prompts once", async () => {
  const prompts = ["a", "b", "c"].map((text) => ({ id: text, text }));
  const run = grpo({
    policy,
    prompts,
    promptsPerStep: 2,
    reward: ({ text }) => text.length % 2,
    groupSize: 2,
    maxResponseLength: 4,
  });
  expect((await recordsOf(run)).length).toBe(2);
});

test("grpo refuses what cannot work, in one line", async () => {
  const options = { policy, prompts: [{ id: "a", text: "a" }], reward: () => 1, groupSize: 1, maxResponseLength: 4 };
  const first = (changed: object) => failure(() => grpo({ ...options, ...changed }).next());
  expect(await first({})).toMatchObject({
    code: "bad-option",
    message: expect.stringContaining("a group of one has nothing to be compared with"),
  });
  expect(await first({ groupSise: 4 })).toMatchObject({ message: expect.stringContaining('did you mean "groupSize"') });
  expect(await first({ groupSize: 4, topP: 0.9 })).toMatchObject({ code: "unsupported" });
  expect(await first({ groupSize: 2, prompts: [{ id: "empty" }] })).toMatchObject({
    message: expect.stringContaining("prompt empty"),
  });
});

test("what stops a loop or an evaluation is a GradusError with its code; a user's own error stays itself", async () => {
  const broken = () => {
    throw new Error("judge died");
  };
  const prompts = [{ id: "a", text: "a" }];
  const loop = { policy, prompts, groupSize: 2, maxResponseLength: 4 };
  const allFaults = { name: "GradusError", code: "all-faults", message: expect.stringContaining("judge died") };
  expect(await failure(() => grpo({ ...loop, reward: broken, overlongFiltering: "off" }).next())).toMatchObject(
    allFaults,
  );
  expect(await failure(() => evaluate({ policy, prompts, reward: broken, n: 1, maxTokens: 4 }))).toMatchObject(
    allFaults,
  );
  const many = { policy, prompts, reward: () => 1, n: 1, maxTokens: 4, passAt: [2] };
  expect(await failure(() => evaluate(many))).toMatchObject({ name: "GradusError", code: "bad-option" });
  const turns = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
  ] as const;
  const framed = { ...loop, prompts: [{ id: "a", messages: turns }], reward: () => 1, frame: "acereason" } as const;
  expect(await failure(() => grpo(framed).next())).toMatchObject({ name: "GradusError", code: "bad-input" });
  const empty = sft({ policy, samples: [{ tokens: Uint32Array.of(1, 2), promptLength: 2 }], batchSize: 1 });
  expect(await failure(() => empty.next())).toMatchObject({ name: "GradusError", code: "bad-option" });
  const record = () => Promise.reject(new TypeError("mine"));
  expect(await failure(() => grpo({ ...loop, reward: () => 1, record }).next())).toMatchObject({ name: "TypeError" });
});

test("a state is checked, changed as the run goes on, and goes on from where it stands", async () => {
  const prompts = ["a", "b", "c"].map((text) => ({ id: text, text }));
  const loop = { policy, prompts, promptsPerStep: 1, reward: () => 1, groupSize: 2, maxResponseLength: 4 };
  const state = startLoop(10, 3);
  await recordsOf(grpo({ ...loop, steps: 2, state }));
  // Equal scores move nothing: every step is a skipped one.
  expect(state).toMatchObject({ step: 2, cursor: 2, globalStep: 12, skippedSteps: 5 });
  const [record, ...more] = await recordsOf(grpo({ ...loop, steps: 3, state: JSON.parse(JSON.stringify(state)) }));
  expect(more).toEqual([]);
  expect(record).toMatchObject({ "training/global_step": 13, "training/skipped_steps": 6 });
  // @ts-expect-error half a state
  expect(await failure(() => grpo({ ...loop, state: { step: 1 } }).next())).toMatchObject({
    code: "bad-option",
    message: expect.stringContaining("startLoop"),
  });
});

test("sft has the recipe's betas, grpo those of the engine", async () => {
  const seen: unknown[] = [];
  const spy = {
    info: policy.info,
    tokenize: policy.tokenize.bind(policy),
    rollout: policy.rollout.bind(policy),
    batch: policy.batch.bind(policy),
    step: (...[batch, options]: Parameters<Policy["step"]>) => {
      seen.push(options.betas);
      return policy.step(batch, { ...options, learningRate: 0 });
    },
  };
  await recordsOf(sft({ policy: spy, samples: [{ prompt: "a", response: "b" }], batchSize: 1 }));
  const loop = { prompts: [{ id: "a", text: "a" }], groupSize: 8, maxResponseLength: 4, steps: 1 };
  await recordsOf(grpo({ policy: spy, reward: ({ text }) => text.length, overlongFiltering: "off", ...loop }));
  expect(seen).toEqual([[0.9, 0.95], undefined]);
});

test("messages whose template opens a thought: a response that never closes it has no answer", async () => {
  const template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant><think>";
  const own = await tinyPolicy({ tokenizer: tokenizerFolder({ template }) });
  const prompt = { id: "a", messages: [{ role: "user" as const, content: "1+1?" }], answer: "2" };
  const rendered = { text: "<user>1+1?<assistant><think>", addSpecial: false };
  // As if the policy boxed the right answer and then was done, its thought still open or closed before.
  const samples = [{ prompt: rendered, response: "\\boxed{2}" }];
  for await (const _ of sft({ policy: own, samples, batchSize: 1, steps: 60, learningRate: 1e-2 }));
  const [[response] = []] = await own.generate([prompt.messages], { maxTokens: 12, temperature: 0 });
  expect(response?.text).toBe("\\boxed{2}");
  const options = { policy: own, prompts: [prompt], reward: mathReward(), maxTokens: 12, temperature: 0, n: 2 };
  for (const frame of ["raw", "chat-template"] as const) {
    expect((await evaluate({ ...options, frame })).kinds).toEqual({ "no-answer": 2 });
  }
  const seen: (string | undefined)[] = [];
  const reward: Reward = (rollout) => {
    seen.push(rollout.promptText);
    return mathReward()(rollout);
  };
  const loop = { overlongFiltering: "off", groupSize: 2, maxResponseLength: 12, steps: 1, learningRate: 1e-9 } as const;
  const [record] = await recordsOf(grpo({ policy: own, prompts: [prompt], reward, ...loop }));
  expect(record?.["reward/no_answer"]).toBe(2);
  expect(seen).toEqual([rendered.text, rendered.text]);
  await own.close();
});

test("sft learns text samples up to the end token, evaluate measures it", async () => {
  const own = await tinyPolicy({ tokenizer: tokenizerFolder() });
  const samples = [
    { prompt: "1+1=", response: "2" },
    { prompt: "1+2=", response: "3" },
  ];
  const prompts = samples.map(({ prompt, response }) => ({ id: prompt, text: prompt, answer: response }));
  const reward = ({ text, prompt }: { text: string; prompt: { answer?: string } }) => (text === prompt.answer ? 1 : 0);
  const measure = () => evaluate({ policy: own, name: "sums", prompts, reward, n: 4, maxTokens: 4, temperature: 1 });
  expect((await measure()).mean).toBeLessThan(0.3);
  const run = sft({ policy: own, samples, batchSize: 2, epochs: 60, learningRate: 1e-2, warmupSteps: 5 });
  const records = await recordsOf(run);
  expect(records.length).toBe(60);
  expect(records[0]?.["actor/lr"]).toBeCloseTo(2e-3, 12);
  const result = await measure();
  expect(result.mean).toBeGreaterThan(0.8);
  expect(result.metrics["val-core/sums/mean@4"]).toBe(result.mean);
  const [[response] = []] = await own.generate(["1+1="], { maxTokens: 4, temperature: 0 });
  expect(response).toMatchObject({ text: "2", finishReason: "stop", tokens: Uint32Array.of(50, endToken) });
  await own.close();
});
