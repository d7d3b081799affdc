// The physical limit of a work: operations over the FMA peak or bytes over the read bandwidth, whichever takes longer. Pure formulas.
import type { GenerateJob, GrpoJob, ModelName, TrainJob } from "./jobs.ts";

/** What the machine can do at most, measured in the same run: 1e9 operations or bytes a second; null without such instructions. */
export type Peaks = {
  readonly f32Gflops: number;
  readonly bf16Gflops: number | null;
  readonly int8Gops: number | null;
  readonly readGbps: number;
};

type Sizes = { hidden: number; layers: number; kvHidden: number; ffn: number; vocab: number };

const sizes: Record<ModelName, Sizes> = {
  T: { hidden: 256, layers: 4, kvHidden: 128, ffn: 688, vocab: 512 },
  S: { hidden: 512, layers: 8, kvHidden: 128, ffn: 1408, vocab: 4096 },
  M: { hidden: 896, layers: 24, kvHidden: 128, ffn: 4864, vocab: 151936 },
};

/** Bytes of a weight and of an element of the KV cache. A q8_0 weight has an f32 scale for every 32 elements. */
const bytesOf = {
  f32: { weight: 4, kv: 4 },
  bf16: { weight: 2, kv: 2 },
  q8_0: { weight: 36 / 32, kv: 4 },
} as const;

/** Parameters of the layers' matrices: each costs a multiply-add for every token. */
export function layerParameters(model: ModelName): number {
  const { hidden, layers, kvHidden, ffn } = sizes[model];
  return layers * (hidden * (2 * hidden + 2 * kvHidden) + 3 * hidden * ffn);
}

/** Parameters of the head, computed only where logits are needed. */
export function headParameters(model: ModelName): number {
  return sizes[model].hidden * sizes[model].vocab;
}

/** Operations of attention for a query that sees `keys` keys: scores and values, a multiply-add each. */
const attentionOperations = (model: ModelName, keys: number) => 4 * sizes[model].layers * sizes[model].hidden * keys;

/** 1e9 operations a second for products in a dtype; without instructions for it, f32 arithmetic does them. */
export function peakOf(dtype: "f32" | "bf16" | "q8_0", peaks: Peaks): number {
  if (dtype === "bf16") return peaks.bf16Gflops ?? peaks.f32Gflops;
  return dtype === "q8_0" ? (peaks.int8Gops ?? peaks.f32Gflops) : peaks.f32Gflops;
}

/** Operations of a training step: 6 for each parameter and token, the head only for tokens with loss; attention's causal half. */
export function trainingOperations(job: Pick<TrainJob, "model" | "batch" | "length" | "trained">): number {
  const tokens = job.batch * job.length;
  const attention = 3 * attentionOperations(job.model, (job.length + 1) / 2);
  return (
    tokens * (6 * layerParameters(job.model) + attention) + 6 * headParameters(job.model) * job.batch * job.trained
  );
}

/** Tokens a second of a training step at the FMA peak. */
export function trainingLimit(job: TrainJob, peaks: Peaks): number {
  const seconds = trainingOperations(job) / (1e9 * peakOf(job.dtype, peaks));
  return (job.batch * job.length) / seconds;
}

/** Prompt tokens a second: the layers for every token, the head for the last one of each prompt. */
export function prefillLimit(job: GenerateJob, peaks: Peaks): number {
  const tokens = job.batch * job.prompt;
  const perToken = 2 * layerParameters(job.model) + attentionOperations(job.model, (job.prompt + 1) / 2);
  const operations = tokens * perToken + 2 * headParameters(job.model) * job.batch;
  const bytes = (layerParameters(job.model) + headParameters(job.model)) * bytesOf[job.dtype].weight;
  return tokens / slower(operations, bytes, job.dtype, peaks);
}

/** Sampled tokens a second: in each step every weight and every key and value is read once, and used for the whole batch. */
export function decodeLimit(job: GenerateJob, peaks: Peaks): number {
  const { layers, kvHidden } = sizes[job.model];
  const parameters = layerParameters(job.model) + headParameters(job.model);
  const keys = job.prompt + job.response / 2;
  const operations = job.batch * (2 * parameters + attentionOperations(job.model, keys));
  const kvBytes = job.batch * keys * 2 * layers * kvHidden * bytesOf[job.dtype].kv;
  return job.batch / slower(operations, parameters * bytesOf[job.dtype].weight + kvBytes, job.dtype, peaks);
}

/** Seconds of an RL step at the FMA peak: prompts once a group, each response token sampled once and trained on once. */
export function grpoLimitSeconds(job: GrpoJob, responseLength: number, peaks: Peaks): number {
  const { model } = job;
  const rollouts = job.prompts * job.groupSize;
  const [layer, head] = [2 * layerParameters(model), 2 * headParameters(model)];
  const prefill = job.prompts * job.prompt * (layer + attentionOperations(model, (job.prompt + 1) / 2));
  const keys = job.prompt + responseLength / 2;
  const decode = rollouts * responseLength * (layer + head + attentionOperations(model, keys));
  const length = job.prompt + responseLength;
  const training = trainingOperations({ model, batch: rollouts, length, trained: responseLength });
  return (prefill + decode + training) / (1e9 * peaks.f32Gflops);
}

function slower(operations: number, bytes: number, dtype: "f32" | "bf16" | "q8_0", peaks: Peaks): number {
  return Math.max(operations / (1e9 * peakOf(dtype, peaks)), bytes / (1e9 * peaks.readGbps));
}
