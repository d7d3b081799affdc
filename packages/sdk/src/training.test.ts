import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  failure,
  removeTemporaryFolders,
  temporaryFolder,
  tinyConfig,
  tinyPolicy,
  tokenizerFolder,
} from "./__fixtures__/tiny-policy.ts";
import { type FinishedRollout, latestCheckpoint, Policy, pruneCheckpoints, type RolloutBatch } from "./index.ts";

const rollout = { groupSize: 3, maxResponseLength: 12, temperature: 0.9, seed: 4, step: 1 };
const prompts = ["1+1=", "2+2="];
const sequence = Uint32Array.of(5, 6, 7, 8);

let policy: Policy;
beforeAll(async () => {
  policy = await tinyPolicy({ tokenizer: tokenizerFolder() });
});
afterAll(() => policy.close());
afterAll(removeTemporaryFolders);

const scoreOf = async (scored: Policy) => [...((await scored.score([sequence]))[0]?.logprobs ?? [])];
const signs = (batch: RolloutBatch, size: number) =>
  Float32Array.from({ length: size }, (_, index) => (index % 2 === 0 ? 1 : -1) / batch.responseTokens);

test("a rollout batch tells texts, lengths and entropies, and the ids name the random streams", async () => {
  const batch = await policy.rollout(prompts, { ...rollout, ids: ["a", "b"] });
  expect(batch.rollouts.map(({ promptIndex, rolloutIndex }) => [promptIndex, rolloutIndex])).toEqual([
    [0, 0],
    [0, 1],
    [0, 2],
    [1, 0],
    [1, 1],
    [1, 2],
  ]);
  const lengths = batch.rollouts.map(({ length }) => length);
  expect(batch.responseTokens).toBe(lengths.reduce((sum, length) => sum + length, 0));
  expect(batch.tokens).toBe(batch.responseTokens + 6 * 4);
  for (const { entropy, entropyRaw, promptLength, finishReason, length } of batch.rollouts) {
    expect(entropy).toBeGreaterThan(0);
    // T = 0.9 sharpens.
    expect(entropyRaw).toBeGreaterThan(entropy);
    expect(promptLength).toBe(4);
    expect(finishReason === "stop" || length === 12).toBe(true);
  }
  const again = await policy.rollout(prompts.toReversed(), { ...rollout, ids: ["b", "a"] });
  expect(again.rollouts.slice(3).map(({ text }) => text)).toEqual(batch.rollouts.slice(0, 3).map(({ text }) => text));
  const others = await policy.rollout(prompts, { ...rollout, ids: ["c", "d"] });
  expect(others.rollouts.map(({ text }) => text)).not.toEqual(batch.rollouts.map(({ text }) => text));
  for (const made of [batch, again, others]) made.close();
});

test("rollouts are told of as they end, exactly as the batch has them", async () => {
  const told: FinishedRollout[][] = [];
  const options = { ...rollout, groupSize: 8, maxResponseLength: 100, temperature: 1, stop: ["a"] };
  const batch = await policy.rollout(prompts, { ...options, onFinished: (finished) => void told.push([...finished]) });
  // Responses end at different tokens, so in several scheduler steps; the last events may come after the answer.
  expect(new Set(batch.rollouts.map(({ length }) => length)).size).toBeGreaterThan(3);
  expect(told.length).toBeGreaterThan(2);
  const places = told.flat().map(({ promptIndex, rolloutIndex }) => promptIndex * 8 + rolloutIndex);
  expect(new Set(places).size).toBe(places.length);
  for (const early of told.flat()) {
    expect(batch.rollouts[early.promptIndex * 8 + early.rolloutIndex]).toMatchObject(early);
  }
  const unwatched = await policy.rollout(prompts, options);
  expect(unwatched.rollouts).toEqual(batch.rollouts);
  for (const made of [batch, unwatched]) made.close();
});

test("a step moves the weights; without weight, or with learning rate 0, nothing moves", async () => {
  const before = await scoreOf(policy);
  const batch = await policy.rollout(prompts, rollout);
  const skipped = await policy.step(batch, { weights: new Float32Array(6), learningRate: 1e-2 });
  expect(skipped).toMatchObject({ skipped: "no-weight", trainedTokens: 0, loss: 0 });
  expect(await scoreOf(policy)).toEqual(before);
  const moved = await policy.step(batch, { weights: signs(batch, 6), learningRate: 1e-2 });
  expect(moved).toMatchObject({ skipped: null, trainedTokens: batch.responseTokens, logprobAbsDiffMax: 0 });
  expect(moved.gradNorm).toBeGreaterThan(0);
  expect(await scoreOf(policy)).not.toEqual(before);
  batch.close();
});

test("weights per rollout are weights per token repeated, to the bit", async () => {
  const run = async (perToken: boolean) => {
    const own = await tinyPolicy({ tokenizer: tokenizerFolder() });
    const batch = await own.rollout(prompts, rollout);
    const perRollout = signs(batch, 6);
    const weights = perToken
      ? Float32Array.from(
          batch.rollouts.flatMap(({ length }, index) => Array.from({ length }, () => perRollout[index] ?? 0)),
        )
      : perRollout;
    const metrics = await own.step(batch, { weights, learningRate: 1e-2 });
    const score = await scoreOf(own);
    await own.close();
    return { loss: metrics.loss, score };
  };
  expect(await run(true)).toEqual(await run(false));
});

test("SFT: a packed batch is learned, and only its masked tokens count", async () => {
  const own = await tinyPolicy();
  const tokens = Uint32Array.of(1, 2, 3, 4, 9, 8, 7);
  const input = { tokens, cuSeqlens: Uint32Array.of(0, 4, 7), lossMask: Uint8Array.of(0, 0, 1, 1, 0, 1, 0) };
  const batch = await own.batch(input);
  expect(batch.tokens).toBe(7);
  const weights = new Float32Array(3).fill(1 / 3);
  const losses: number[] = [];
  for (let step = 0; step < 12; step++) losses.push((await own.step(batch, { weights, learningRate: 1e-2 })).loss);
  expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) / 4);
  const [first, second] = await own.score([tokens.slice(0, 4), tokens.slice(4)]);
  const learned = [first?.logprobs[1], first?.logprobs[2], second?.logprobs[0]].map((logprob) => logprob ?? -99);
  expect(Math.min(...learned)).toBeGreaterThan(-2);
  const wrong = await failure(() => own.batch({ ...input, lossMask: Uint8Array.of(1, 0, 1, 1, 0, 1, 0) }));
  expect(wrong.message).toContain("first token of sequence 0");
  await own.close();
});

test("the rollout file holds what its index says", async () => {
  const batch = await policy.rollout(prompts, { ...rollout, ids: ["a", "b"] });
  const weights = new Float32Array(6);
  weights[1] = 0.1;
  await policy.step(batch, { weights, learningRate: 0 });
  const file = join(temporaryFolder(), "rollouts", "math-1-3.bin");
  const kinds = ["correct", "wrong", "fault", "correct", "wrong", "truncated"];
  const scores = Float32Array.of(1, 0, Number.NaN, 1, 0, Number.NaN);
  const details = [null, "test 1 of 2: printed 3", "the reward threw", null, null, null];
  await batch.record(file, { scores, kinds, details, advantages: new Float32Array(6) });
  const bytes = readFileSync(file);
  expect(bytes.subarray(0, 8).toString()).toBe("GRADROLL");
  const index = JSON.parse(readFileSync(file.replace(".bin", ".json"), "utf8"));
  expect(index.rollouts.map(({ detail }: { detail: string | null }) => detail)).toEqual(details);
  expect(
    index.rollouts.map((entry: { kind: string; score: number | null; prompt: string }) => [
      entry.prompt,
      entry.kind,
      entry.score,
    ]),
  ).toEqual(
    kinds.map((kind, place) => [place < 3 ? "a" : "b", kind, Number.isNaN(scores[place]) ? null : scores[place]]),
  );
  // The mask is the file's last part: only the second rollout was trained on.
  const mask = [...bytes.subarray(bytes.length - batch.responseTokens)];
  const expected = batch.rollouts.flatMap(({ length }, place) => Array.from({ length }, () => (place === 1 ? 1 : 0)));
  expect(mask).toEqual(expected);
  const short = await failure(() => batch.record(file, { scores, kinds: [], details, advantages: scores }));
  expect(short).toMatchObject({ code: "bad-input", message: "kinds has 0 entries, expected one per rollout: 6" });
  batch.close();
  expect((await failure(() => batch.record(file, { scores, kinds, details, advantages: scores }))).code).toBe("closed");
});

test("a resumed policy goes on to the same bits; damage is found", async () => {
  const folder = join(temporaryFolder(), "checkpoints");
  const own = await tinyPolicy({ tokenizer: tokenizerFolder() });
  const update = async (updated: Policy, step: number) => {
    const batch = await updated.rollout(prompts, { ...rollout, step });
    const metrics = await updated.step(batch, { weights: signs(batch, 6), learningRate: 1e-2 });
    batch.close();
    return { ...metrics, seconds: 0 };
  };
  await update(own, 1);
  const path = await own.checkpoint(folder, 1, { stage: 2, cursor: [3] }, { configHash: "abc" });
  expect(path).toBe(join(folder, "step-1"));
  const unbroken = await update(own, 2);
  await own.checkpoint(folder, 2, null);
  expect((await failure(() => own.checkpoint(folder, 2, null))).code).toBe("exists");

  expect(await latestCheckpoint(folder)).toEqual({ folder: join(folder, "step-2"), step: 2, warnings: [] });
  const { policy: resumed, ...origin } = await Policy.resume(path);
  expect(origin).toEqual({
    folder: path,
    step: 1,
    recipeState: { stage: 2, cursor: [3] },
    configHash: "abc",
    warnings: [],
  });
  expect(await update(resumed, 2)).toEqual(unbroken);
  expect(await scoreOf(resumed)).toEqual(await scoreOf(own));
  // A resumed run redoes steps, so it replaces their checkpoints.
  await resumed.checkpoint(folder, 2, null);

  truncateSync(join(folder, "step-2", "optimizer.safetensors"), 100);
  const { policy: older, warnings, step } = await Policy.resume(folder);
  expect(step).toBe(1);
  expect(warnings[0]).toContain("step-2 is damaged");
  expect(readdirSync(folder).sort()).toEqual(["step-1", "step-2.damaged"]);
  await older.checkpoint(folder, 3, null);
  expect(await pruneCheckpoints(folder, { keepLast: 1 })).toEqual([1]);
  rmSync(join(folder, "step-3"), { recursive: true });
  expect(await latestCheckpoint(folder)).toEqual({ folder: null, step: null, warnings: [] });
  expect((await failure(() => Policy.resume(folder))).code).toBe("not-found");
  for (const opened of [own, resumed, older]) await opened.close();
});

test("a policy in bf16 is saved, resumed to the same bits, and goes on in f32 when that is asked for", async () => {
  const folder = join(temporaryFolder(), "checkpoints");
  const own = await tinyPolicy({ dtype: "bf16" });
  const ids = [Uint32Array.of(1, 2, 3)];
  const update = async (updated: Policy, step: number) => {
    const batch = await updated.rollout(ids, { ...rollout, step });
    const metrics = await updated.step(batch, { weights: signs(batch, 3), learningRate: 1e-2 });
    batch.close();
    return { ...metrics, seconds: 0 };
  };
  await update(own, 1);
  const path = await own.checkpoint(folder, 1, null);
  expect(JSON.parse(readFileSync(join(path, "config.json"), "utf8"))).toMatchObject({ torch_dtype: "bfloat16" });
  const unbroken = await update(own, 2);
  expect(unbroken.logprobAbsDiffMax).toBe(0);
  const { policy: resumed, warnings } = await Policy.resume(path);
  expect([resumed.info.dtype, warnings]).toEqual(["bf16", []]);
  expect(await update(resumed, 2)).toEqual(unbroken);
  expect(await scoreOf(resumed)).toEqual(await scoreOf(own));
  const { policy: wide, warnings: told } = await Policy.resume(path, { dtype: "f32" });
  expect([wide.info.dtype, told]).toEqual(["f32", [expect.stringContaining("written in bf16, this is f32")]]);
  for (const opened of [own, resumed, wide]) await opened.close();
});

test("a policy in q8_0 is refused by step, checkpoint and save, by name", async () => {
  const own = await tinyPolicy({ dtype: "q8_0" });
  const batch = await own.rollout([Uint32Array.of(1, 2, 3)], rollout);
  const refused = { code: "unsupported", message: expect.stringContaining("load its folder with dtype f32 or bf16") };
  expect(await failure(() => own.step(batch, { weights: signs(batch, 3), learningRate: 1e-3 }))).toMatchObject(refused);
  const folder = join(temporaryFolder(), "out");
  expect(await failure(() => own.save(folder))).toMatchObject(refused);
  expect(await failure(() => own.checkpoint(folder, 1, null))).toMatchObject(refused);
  expect(existsSync(folder)).toBe(false);
  await own.close();
});

test("a limit on activations is kept by computing more again, with the same bits", async () => {
  const run = async (activationBytesMax?: number) => {
    const own = await tinyPolicy({ ...(activationBytesMax !== undefined && { activationBytesMax }) });
    const { gateUpRecomputed, layersRecomputed } = await own.planMemory({ sequenceTokens: 40, sequences: 3 });
    const batch = await own.rollout([Uint32Array.of(1, 2, 3)], rollout);
    const metrics = await own.step(batch, { weights: signs(batch, 3), learningRate: 1e-2 });
    const [score] = await own.score([Uint32Array.of(1, 2, 3, 4)]);
    const memory = await own.memory();
    expect(memory).toMatchObject({ gateUpRecomputed, layersRecomputed });
    await own.close();
    return { bits: { ...metrics, seconds: 0, score }, memory };
  };
  const free = await run();
  expect(free.memory).toMatchObject({ gateUpRecomputed: 0, layersRecomputed: 0 });
  expect(free.memory.activationsMax).toBeGreaterThan(free.memory.activations);
  const limited = await run(1_270_000);
  expect(limited.bits).toEqual(free.bits);
  expect(limited.memory.gateUpRecomputed + limited.memory.layersRecomputed).toBeGreaterThan(0);
  expect(await failure(() => run(1000))).toMatchObject({
    code: "out-of-memory",
    message: expect.stringContaining("lower microBatchTokens"),
  });
});

test("a folder without any whole checkpoint tells which damaged ones were set aside", async () => {
  const folder = join(temporaryFolder(), "checkpoints");
  await policy.checkpoint(folder, 1, null);
  truncateSync(join(folder, "step-1", "model.safetensors"), 100);
  const { warnings, ...latest } = await latestCheckpoint(folder);
  expect(latest).toEqual({ folder: null, step: null });
  expect(warnings).toEqual([expect.stringContaining("step-1 is damaged")]);
});

test("save writes a Hugging Face folder, replaces a model and nothing else", async () => {
  const folder = join(temporaryFolder(), "out");
  await policy.save(folder);
  const names = ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
  expect(readdirSync(folder).sort()).toEqual(names);
  await policy.save(folder);
  const other = temporaryFolder();
  writeFileSync(join(other, "thesis.txt"), "years of work");
  expect(await failure(() => policy.save(other))).toMatchObject({ code: "exists" });
  expect(existsSync(join(other, "thesis.txt"))).toBe(true);
});

test("a step while a rollout runs is refused, and the rollout goes on", async () => {
  const own = await tinyPolicy({ config: { ...tinyConfig, max_position_embeddings: 10_000, eos_token_id: null } });
  const batch = await own.rollout([sequence], { ...rollout, maxResponseLength: 2 });
  const running = own.rollout([sequence], { ...rollout, maxResponseLength: 8000 });
  expect(await failure(() => own.step(batch, { weights: new Float32Array(3), learningRate: 1e-3 }))).toMatchObject({
    code: "busy",
  });
  expect((await running).responseTokens).toBe(24_000);
  expect(await own.step(batch, { weights: signs(batch, 3), learningRate: 1e-3 })).toMatchObject({ skipped: null });
  await own.close();
});

test("memory is counted by class", async () => {
  const own = await tinyPolicy();
  const { parameters } = own.info;
  expect(await own.memory()).toMatchObject({ weights: parameters * 4, gradients: 0, optimizer: 0, kvPages: 0 });
  const plan = await own.planMemory({ sequenceTokens: sequence.length + 8, sequences: 3 });
  expect(plan).toMatchObject({ weights: parameters * 4, gradients: parameters * 4, optimizer: parameters * 8 });
  const totals: number[] = [];
  for (let round = 0; round < 4; round++) {
    const batch = await own.rollout([sequence], rollout);
    const rolled = await own.memory();
    // What one phase held is the other's memory.
    expect(rolled).toMatchObject({ gradients: 0, optimizer: round === 0 ? 0 : parameters * 8 });
    expect(rolled.kvPages).toBeGreaterThan(0);
    await own.step(batch, { weights: signs(batch, 3), learningRate: 1e-3 });
    const memory = await own.memory();
    const { weights, gradients, optimizer, activations, scratch, idle, total } = memory;
    expect(memory).toMatchObject({ gradients: parameters * 4, optimizer: parameters * 8, kvPages: 0 });
    expect([scratch > 0, memory.activationsMax]).toEqual([true, plan.activationsMax]);
    expect(total).toBe(weights + gradients + optimizer + activations + scratch + idle);
    totals.push(total);
  }
  expect(totals[3]).toBe(totals[2]);
  await own.close();
});
