// Wrong input: one line that names the thing and the remedy, under a stable code.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, readdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gpuStatus } from "@gradus/native";
import {
  failure,
  removeTemporaryFolders,
  temporaryFolder,
  tinyConfig,
  tinyPolicy,
  tokenizerFolder,
} from "./__fixtures__/tiny-policy.ts";
import { Policy } from "./index.ts";

const ids = Uint32Array.of(1, 2, 3);
let policy: Policy;
beforeAll(async () => {
  policy = await tinyPolicy();
});
afterAll(() => policy.close());
afterAll(removeTemporaryFolders);

/** Checks code and message; every message is one line. */
async function refused(call: () => unknown, code: string, ...parts: string[]): Promise<void> {
  const error = await failure(call);
  expect(error).toMatchObject({ name: "GradusError", code });
  expect(error.message).not.toContain("\n");
  for (const part of parts) expect(error.message).toContain(part);
}

test("options: unknown, mistyped, of the wrong kind, not in this version", async () => {
  const mistyped: object = { maxToken: 3 };
  const hint = 'did you mean "maxTokens"';
  await refused(() => policy.generate([ids], mistyped), "bad-option", 'unknown option "maxToken"', hint);
  await refused(() => policy.generate([ids], { temperature: -1 }), "bad-option", "temperature is -1");
  await refused(() => policy.generate([ids], { temperature: 9e-5 }), "out-of-range", "use 0 for the likeliest token");
  await refused(() => policy.generate([ids], { seed: -1 }), "bad-option", "seed is -1");
  const limits = ["topP", "topK", "minP", "repetitionPenalty", "presencePenalty", "frequencyPenalty", "logitBias"];
  for (const name of limits) {
    await refused(() => policy.score([ids], { [name]: 0.9 }), "unsupported", name, "only generate and stream have it");
    const rollout = { groupSize: 2, maxResponseLength: 3, temperature: 1, seed: 1, [name]: 0.9 };
    await refused(() => policy.rollout([ids], rollout), "unsupported", name, "RL samples from the whole distribution");
  }
  const devices = 'available: "auto", "cpu", "cuda", "cuda-sim"';
  await refused(() => tinyPolicy({ device: "gpu" }), "unsupported", '"gpu"', devices);
  const bf16Alone = 'take dtype "bf16", or device "cpu"';
  await refused(() => tinyPolicy({ device: "cuda", dtype: "f32" }), "unsupported", 'device "cuda"', bf16Alone);
  await refused(() => tinyPolicy({ device: "cuda-sim", dtype: "q8_0" }), "unsupported", '"q8_0"', bf16Alone);
  // @ts-expect-error no such dtype
  await refused(() => tinyPolicy({ dtype: "f16" }), "bad-option", "option dtype is f16", "bf16");
});

test("a GPU that this machine does not have, with what is missing", async () => {
  const { unavailable } = gpuStatus();
  if (unavailable === undefined) await (await tinyPolicy({ device: "cuda" })).close();
  else await refused(() => tinyPolicy({ device: "cuda" }), "unsupported", unavailable, 'or take device "cpu"');
});

test("prompts and sequences", async () => {
  // @ts-expect-error one prompt instead of a list
  await refused(() => policy.generate("one"), "bad-input", "put a single prompt into brackets");
  // @ts-expect-error a conversation instead of a list of conversations
  await refused(() => policy.generate([{ role: "user", content: "1+1?" }]), "bad-input", "[[message, …]]");
  await refused(() => policy.generate([]), "bad-input", "at least one prompt");
  await refused(() => policy.generate([Uint32Array.of()]), "bad-input", "prompt 0 has no tokens");
  await refused(
    () => policy.generate([Uint32Array.of(1, 260)]),
    "out-of-range",
    "token id 260 at position 1",
    "vocabulary of 260",
  );
  await refused(
    () => policy.generate([ids], { maxTokens: 126 }),
    "out-of-range",
    "context of 128",
    "at most 125 are left",
  );
  await refused(() => policy.score([Uint32Array.of()]), "bad-input", "sequence 0");
  await refused(() => policy.score([ids, Uint32Array.of(999)]), "out-of-range", "999");
  await refused(() => policy.score([new Uint32Array(129)]), "bad-input", "max_position_embeddings");
});

test("a policy without a tokenizer takes ids, and refuses text and stop strings by name", async () => {
  expect(policy.info.hasTokenizer).toBe(false);
  const [[response] = []] = await policy.generate([ids], { maxTokens: 3 });
  expect(response?.text).toBe("");
  expect(response?.tokens.length).toBeGreaterThan(0);
  await refused(() => policy.generate(["text"]), "unsupported", "no tokenizer", "token ids");
  await refused(() => policy.generate([ids], { stop: ["a"] }), "unsupported", "stop strings need a tokenizer");
  await refused(() => policy.tokenize("text"), "unsupported", "tokenize needs a tokenizer");
});

test("training input", async () => {
  const batch = await policy.rollout([ids], { groupSize: 2, maxResponseLength: 4, temperature: 1, seed: 1 });
  await refused(
    () => policy.step(batch, { weights: new Float32Array(3), learningRate: 1 }),
    "bad-input",
    "one per rollout (2)",
  );
  const infinite = Float32Array.of(Number.POSITIVE_INFINITY, 0);
  await refused(
    () => policy.step(batch, { weights: infinite, learningRate: 1 }),
    "bad-input",
    "expected a finite number",
  );
  batch.close();
  await refused(
    () => policy.step(batch, { weights: new Float32Array(2), learningRate: 1 }),
    "closed",
    "batch is closed",
  );
  const foreign = { tokens: 1, close: () => {} };
  await refused(
    () => policy.step(foreign, { weights: new Float32Array(2), learningRate: 1 }),
    "bad-input",
    "not from policy.rollout",
  );
});

test("folders: missing, without config, truncated, of another architecture", async () => {
  await refused(() => Policy.load("./nowhere"), "not-found", "./nowhere");
  await refused(() => Policy.load(temporaryFolder()), "not-found", "config.json");
  const folder = join(temporaryFolder(), "model");
  await policy.save(folder);

  const truncated = `${folder}-truncated`;
  cpSync(folder, truncated, { recursive: true });
  truncateSync(join(truncated, "model.safetensors"), 5000);
  await refused(() => Policy.load(truncated), "damaged-file", "model.safetensors", "download it again");

  const without = `${folder}-without`;
  cpSync(folder, without, { recursive: true });
  writeFileSync(join(without, "config.json"), JSON.stringify({ ...tinyConfig, num_hidden_layers: 3 }));
  await refused(() => Policy.load(without), "damaged-file", "model.layers.2");

  const unknown = join(temporaryFolder(), "unknown");
  mkdirSync(unknown);
  writeFileSync(join(unknown, "config.json"), JSON.stringify({ ...tinyConfig, architectures: ["MambaForCausalLM"] }));
  await refused(
    () => Policy.load(unknown),
    "bad-config",
    "MambaForCausalLM",
    "Qwen2ForCausalLM",
    "unknown/config.json",
  );
  await refused(
    () => tinyPolicy({ config: { ...tinyConfig, head_dim: 12 } }),
    "bad-config",
    "head_dim",
    "multiple of 8",
  );
  await refused(
    () => tinyPolicy({ config: { ...tinyConfig, vocab_size: 257 }, tokenizer: tokenizerFolder() }),
    "bad-config",
    "259",
  );
  await refused(() => tinyPolicy({ tokenizer: "/nowhere/tokenizer.json" }), "not-found", "/nowhere/tokenizer.json");
  await refused(() => Policy.resume("./nowhere"), "not-found", "checkpoint");
  await refused(() => Policy.resume(folder), "not-found", "manifest.json");
});

test("a save that fails leaves nothing behind", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "file"), "");
  await refused(() => policy.save(join(folder, "file", "out")), "exists", "a file is in the way");
  await refused(() => policy.checkpoint(join(folder, "file"), 1, null), "exists", "file");
  expect(readdirSync(folder)).toEqual(["file"]);
});

test("a KV limit that cannot hold one sequence is refused with both figures", async () => {
  const cramped = await tinyPolicy({ kvBytesMax: 20_000 });
  await refused(() => cramped.generate([ids], { maxTokens: 100 }), "out-of-memory", "kvBytesMax", "16384");
  const stage = { sequenceTokens: ids.length + 100, sequences: 1 };
  await refused(() => cramped.planMemory(stage), "out-of-memory", "kvBytesMax", "16384");
  await cramped.planMemory({ ...stage, isSampled: false });
  await cramped.close();
});

test("after close every call says so, running calls are rejected, closing again is nothing", async () => {
  const own = await tinyPolicy({ config: { ...tinyConfig, max_position_embeddings: 50_000, eos_token_id: null } });
  const batch = await own.rollout([ids], { groupSize: 2, maxResponseLength: 4, temperature: 1, seed: 1 });
  const running = own.generate([ids], { maxTokens: 40_000 });
  await Promise.all([own.close(), refused(() => running, "closed")]);
  await own.close();
  await refused(() => own.generate([ids]), "closed", "load it again");
  await refused(() => own.score([ids]), "closed");
  await refused(() => own.step(batch, { weights: new Float32Array(2), learningRate: 1 }), "closed");
  await refused(
    () => own.batch({ tokens: ids, cuSeqlens: Uint32Array.of(0, 3), lossMask: Uint8Array.of(0, 1, 1) }),
    "closed",
  );
  await refused(() => own.save("./never"), "closed");
  await refused(() => own.memory(), "closed");
});

test("a fault of the engine poisons its policy alone", async () => {
  const own = await tinyPolicy({ config: { ...tinyConfig, max_position_embeddings: 50_000, eos_token_id: null } });
  const running = failure(() => own.generate([ids], { maxTokens: 40_000 }));
  await refused(() => own.plantFault("panic"), "internal");
  expect((await running).code).toBe("internal");
  await refused(() => own.generate([ids]), "internal", "load it again");
  await own.close();
  const [[response] = []] = await policy.generate([ids], { maxTokens: 3 });
  expect(response?.tokens.length).toBeGreaterThan(0);
});
