// The limit formulas against sizes worked by hand.
import { describe, expect, test } from "bun:test";
import { shapeConfig } from "../scripts/shapes.ts";
import { type GenerateJob, type GrpoJob, type ModelName, shapes } from "./jobs.ts";
import {
  decodeLimit,
  grpoLimitSeconds,
  headParameters,
  layerParameters,
  type Peaks,
  peakOf,
  prefillLimit,
  trainingLimit,
  trainingOperations,
} from "./limits.ts";

const peaks: Peaks = { f32Gflops: 200, bf16Gflops: 400, int8Gops: 800, readGbps: 40 };
const place = { folder: "", threads: 2 };

describe("parameters", () => {
  test("of M's matrices", () => {
    // 24 · (896² · 2 + 896 · 128 · 2 + 3 · 896 · 4864); the head is the tied embedding, 151936 · 896.
    expect(layerParameters("M")).toBe(24 * (2 * 802_816 + 2 * 114_688 + 13_074_432));
    expect(headParameters("M")).toBe(136_134_656);
  });

  test("follow the shapes of the models", () => {
    for (const name of ["T", "S", "M"] satisfies ModelName[]) {
      const config = shapeConfig(shapes[name]);
      const [hidden, layers, heads] = [config.hidden_size, config.num_hidden_layers, config.num_attention_heads].map(
        Number,
      );
      const [kvHeads, ffn, vocab] = [config.num_key_value_heads, config.intermediate_size, config.vocab_size].map(
        Number,
      );
      if (hidden === undefined || layers === undefined || heads === undefined) throw new Error("incomplete");
      if (kvHeads === undefined || ffn === undefined || vocab === undefined) throw new Error("incomplete");
      const kv = (hidden / heads) * kvHeads;
      expect(layerParameters(name)).toBe(layers * (hidden * (hidden + 2 * kv) + hidden * hidden + 3 * hidden * ffn));
      expect(headParameters(name)).toBe(vocab * hidden);
    }
  });
});

describe("training", () => {
  const job = { kind: "train", model: "T", dtype: "f32", batch: 64, length: 128, trained: 127, ...place } as const;

  test("counts 6 operations a parameter and token, attention's causal half and the head where there is loss", () => {
    const tokens = 8192;
    const matrices = 6 * layerParameters("T") * tokens + 6 * headParameters("T") * 64 * 127;
    // Forward and twice that backward: scores and values, 2 · 256 each, over 64.5 keys in the mean, in 4 layers.
    const attention = 3 * 4 * (2 * 2 * 256) * 64.5 * tokens;
    expect(trainingOperations(job)).toBe(matrices + attention);
    expect(trainingLimit(job, peaks)).toBeCloseTo((tokens * 200e9) / (matrices + attention), 6);
  });

  test("bf16 has its own peak, or f32's where the machine has no such instructions", () => {
    expect(trainingLimit({ ...job, dtype: "bf16" }, peaks)).toBeCloseTo(2 * trainingLimit(job, peaks), 6);
    expect(peakOf("bf16", { ...peaks, bf16Gflops: null })).toBe(200);
    expect(peakOf("q8_0", { ...peaks, int8Gops: null })).toBe(200);
  });

  test("less loss is less work", () => {
    const share = { ...job, trained: 38 };
    expect(trainingOperations(job) - trainingOperations(share)).toBe(6 * headParameters("T") * 64 * 89);
  });
});

describe("generation", () => {
  const job: GenerateJob = {
    ...{ kind: "generate", model: "M", dtype: "f32", batch: 1, prompt: 128, response: 32 },
    ...place,
  };

  test("decoding one sequence reads every weight and the cache once a token", () => {
    const weights = 4 * (layerParameters("M") + headParameters("M"));
    const cache = 144 * 2 * 24 * 128 * 4;
    expect(decodeLimit(job, peaks)).toBeCloseTo(40e9 / (weights + cache), 9);
    // 36 bytes for 32 weights; the cache stays f32.
    expect(decodeLimit({ ...job, dtype: "q8_0" }, peaks)).toBeCloseTo(40e9 / ((weights / 4) * (36 / 32) + cache), 9);
    expect(decodeLimit({ ...job, dtype: "bf16" }, peaks)).toBeCloseTo(2 * decodeLimit(job, peaks), 9);
  });

  test("decoding a large batch of a small model is bound by arithmetic", () => {
    const large: GenerateJob = { ...job, model: "T", batch: 64, prompt: 32, response: 128 };
    const operations = 2 * (layerParameters("T") + headParameters("T")) + 4 * 4 * 256 * 96;
    expect(decodeLimit(large, peaks)).toBeCloseTo(200e9 / operations, 6);
  });

  test("a prefill computes the head once a prompt", () => {
    const operations = 128 * (2 * layerParameters("M") + 4 * 24 * 896 * 64.5) + 2 * headParameters("M");
    expect(prefillLimit(job, peaks)).toBeCloseTo((128 * 200e9) / operations, 6);
  });
});

test("an RL step samples each token once and trains on it once", () => {
  const rollouts = { kind: "grpo", model: "T", dtype: "f32", prompts: 8, groupSize: 8 } as const;
  const job: GrpoJob = { ...rollouts, prompt: 32, response: 128, exactLength: true, ...place };
  const training = trainingOperations({ model: "T", batch: 64, length: 160, trained: 128 });
  const forward = 2 * (layerParameters("T") + headParameters("T"));
  const decode = 64 * 128 * (forward + 4 * 4 * 256 * 96);
  const prefill = 8 * 32 * (2 * layerParameters("T") + 4 * 4 * 256 * 16.5);
  expect(grpoLimitSeconds(job, 128, peaks)).toBeCloseTo((training + decode + prefill) / 200e9, 12);
});
