// The CPU suite: every contest of the engine with PyTorch, transformers, TRL and llama.cpp, and the products against the machine.
import type { Contest, RowPlan } from "../contest.ts";
import type { GenerateJob, GrpoJob, ModelName, Sample, TrainJob } from "../jobs.ts";
import { decodeLimit, grpoLimitSeconds, prefillLimit, trainingLimit } from "../limits.ts";
import { type MachineKind, median } from "../rows.ts";

type Known = Partial<Record<MachineKind, number>>;
type Dtype = GenerateJob["dtype"];

const get = (sample: Sample, ...names: readonly string[]) =>
  names.map((name) => sample[name]).find((value) => value !== undefined) ?? Number.NaN;
const ratio = (value: number) => ({ kind: "ratio", value }) as const;

/** Names of models are those of modelFolder; the runner puts the folder's path in. */
const folder = (name: string, threads: number) => ({ folder: name, threads });

type TrainPlan = {
  model: ModelName;
  dtype: "f32" | "bf16";
  size: readonly [batch: number, length: number];
  target: number;
  known?: Known;
  /** Tokens with loss of each sequence where it is not all of them. */
  trained?: number;
};

/** A training step against PyTorch; on M also its peak memory. */
function train(threads: number, { model, dtype, size, target, known, trained }: TrainPlan): Contest {
  const [batch, length] = size;
  const all = length - 1;
  const job = { kind: "train", model, dtype, batch, length, trained: trained ?? all } as const;
  const full: TrainJob = { ...job, ...folder(model, threads) };
  const work = `train ${dtype} ${model} ${batch}x${length}`;
  const rate: RowPlan = {
    work: trained === undefined ? work : `${work}, loss on the last 30%`,
    unit: "tokens/s",
    target: ratio(target),
    ...(known && { known }),
    needsBf16: dtype === "bf16",
    figures: (samples) => samples.map((sample) => (batch * length) / get(sample, "seconds")),
    limit: (peaks) => trainingLimit(full, peaks),
  };
  const memory: RowPlan = {
    work: `${work}, peak memory`,
    unit: "GiB",
    target: ratio(1),
    needsBf16: dtype === "bf16",
    figures: (samples) => samples.map((sample) => get(sample, "peak_gib")),
    limit: () => null,
  };
  const isLarge = model === "M";
  const rows = isLarge && trained === undefined ? [rate, memory] : [rate];
  return { job: full, peer: "train_step.py", turns: isLarge ? "apart" : "by-turns", rows };
}

type GeneratePlan = {
  model: ModelName;
  dtype: Dtype;
  size: readonly [batch: number, prompt: number, response: number];
  peer: "generate.py" | "torch_loop.py" | "llama_generate.py";
  decode?: { target: number; known?: Known };
  prefill?: { target: number; known?: Known };
};

const against = { "generate.py": "generate", "torch_loop.py": "a torch loop", "llama_generate.py": "llama.cpp" };

/** Generation against a peer: tokens a second after the prefill, and the prefill. */
function generate(threads: number, { model, dtype, size, peer, decode, prefill }: GeneratePlan): Contest {
  const [batch, prompt, response] = size;
  const job: GenerateJob = { kind: "generate", model, dtype, batch, prompt, response, ...folder(model, threads) };
  const work = (name: string) => `${name} ${dtype} ${model}, batch ${batch}, against ${against[peer]}`;
  const rows: RowPlan[] = [];
  if (decode !== undefined) {
    rows.push({
      work: work("decode"),
      unit: "tokens/s",
      target: ratio(decode.target),
      ...(decode.known && { known: decode.known }),
      figures: (samples) => {
        const first = median(samples.map((sample) => get(sample, "prefill_seconds")));
        return samples.map((sample) => (batch * (response - 1)) / (get(sample, "full_seconds") - first));
      },
      limit: (peaks) => decodeLimit(job, peaks),
    });
  }
  if (prefill !== undefined) {
    rows.push({
      work: work("prefill"),
      unit: "tokens/s",
      target: ratio(prefill.target),
      ...(prefill.known && { known: prefill.known }),
      // A peer that can do the forward alone is measured by it.
      figures: (samples) => samples.map((s) => (batch * prompt) / get(s, "forward_seconds", "prefill_seconds")),
      limit: (peaks) => prefillLimit(job, peaks),
    });
  }
  return { job, peer, turns: "by-turns", rows };
}

/** RL steps against TRL: 64 rollouts of exactly 128 tokens, or of lengths by chance; and the way to the first step. */
function reinforcement(threads: number): Contest[] {
  const job = (exactLength: boolean): GrpoJob => ({
    kind: "grpo",
    model: "T",
    dtype: "f32",
    ...folder(exactLength ? "T" : "T-ending", threads),
    prompts: 8,
    groupSize: 8,
    prompt: 32,
    response: 128,
    exactLength,
  });
  const step = (name: string, exactLength: boolean, target: number, known?: Known): Contest => ({
    job: job(exactLength),
    peer: "trl_step.py",
    turns: "by-turns",
    rows: [
      {
        work: `GRPO step T 64x128, ${name}`,
        unit: "s",
        target: ratio(target),
        ...(known && { known }),
        figures: (samples) => samples.map((sample) => get(sample, "seconds")),
        limit: (peaks, ours) =>
          grpoLimitSeconds(job(exactLength), median(ours.map((sample) => get(sample, "response_length"))), peaks),
      },
    ],
  });
  const start: RowPlan = {
    work: "GRPO T, from the start of the process to the first step",
    unit: "s",
    target: { kind: "most", value: 1 },
    figures: (samples) => samples.map((sample) => get(sample, "seconds")),
    limit: () => null,
  };
  return [
    step("exact lengths", true, 2, { zen3: 3.67 }),
    step("lengths by chance, mean 40%", false, 4),
    { job: job(true), peer: "trl_step.py", turns: "starting", rows: [start] },
  ];
}

/** A product of the engine against what the machine can do. */
function product(work: string, unit: "GFLOP/s" | "GB/s", share: number, words: readonly string[]): Contest {
  const [ours, limit] = unit === "GB/s" ? ["gbps", "read_gbps"] : ["gflops", "peak_gflops"];
  const row: RowPlan = {
    work,
    unit,
    target: { kind: "share", value: share },
    needsBf16: words[0] === "matmul" && words[1] === "bf16",
    figures: (samples) => samples.map((sample) => get(sample, ours ?? "")),
    limit: (_, samples) => median(samples.map((sample) => get(sample, limit ?? ""))),
  };
  return { job: { kind: "product", arguments: [...words] }, peer: null, turns: "by-turns", rows: [row] };
}

function products(threads: number): Contest[] {
  const matmuls = (["f32", "bf16"] as const).flatMap((dtype) =>
    [
      [512, 896, 4864],
      [2048, 2048, 2048],
    ].flatMap((size) =>
      [...new Set([1, threads])].map((used) =>
        product(
          `matmul ${dtype} ${size.join("x")}, ${used} thread${used === 1 ? "" : "s"}`,
          "GFLOP/s",
          dtype === "f32" ? 0.88 : 0.85,
          ["matmul", dtype, ...size.map(String), String(used)],
        ),
      ),
    ),
  );
  const vectors = (["f32", "bf16", "q8_0"] as const).map((dtype) =>
    product(`decode product ${dtype} 1x896x151936, ${threads} threads`, "GB/s", 0.9, [
      ...["gemv", dtype, "151936", "896", String(threads)],
    ]),
  );
  return [...matmuls, ...vectors];
}

/** Training: figures in known are tokens a second of 2 cores, on a Zen 3 with torch 2.13 and on a Zen 4 with torch 2.15. */
const training: readonly TrainPlan[] = [
  { model: "T", dtype: "f32", size: [64, 128], target: 1.35, known: { zen3: 5900, zen4: 6800 } },
  { model: "S", dtype: "f32", size: [16, 256], target: 1.2, known: { zen3: 810, zen4: 999 } },
  { model: "M", dtype: "f32", size: [2, 512], target: 1.3, known: { zen3: 38, zen4: 45 } },
  { model: "T", dtype: "bf16", size: [64, 128], target: 1.4, known: { zen4: 9400 } },
  { model: "S", dtype: "bf16", size: [16, 256], target: 1.25, known: { zen4: 1495 } },
  { model: "M", dtype: "bf16", size: [2, 512], target: 1.35, known: { zen4: 65 } },
  { model: "M", dtype: "f32", size: [2, 512], target: 1.55, trained: 153 },
  { model: "M", dtype: "bf16", size: [2, 512], target: 1.7, trained: 153 },
];

const reach = (target: number, known: Known = {}) => ({ target, known });
const [hf, loop, llama] = ["generate.py", "torch_loop.py", "llama_generate.py"] as const;

/** Generation, known figures as above. */
const generation: readonly GeneratePlan[] = [
  { model: "T", dtype: "f32", size: [64, 32, 128], peer: hf, decode: reach(4, { zen3: 3400, zen4: 4500 }) },
  { model: "T", dtype: "f32", size: [64, 32, 128], peer: loop, decode: reach(2.5, { zen3: 5200, zen4: 5400 }) },
  { model: "S", dtype: "f32", size: [16, 128, 64], peer: hf, decode: reach(3, { zen3: 600, zen4: 700 }) },
  { model: "S", dtype: "f32", size: [16, 128, 64], peer: loop, decode: reach(2.5, { zen3: 750 }) },
  {
    ...{ model: "M", dtype: "f32", size: [1, 128, 32], peer: hf },
    decode: reach(1.5, { zen3: 6.4, zen4: 6.1 }),
    prefill: reach(1.15, { zen3: 156, zen4: 172 }),
  },
  {
    ...{ model: "M", dtype: "f32", size: [8, 128, 16], peer: hf },
    decode: reach(2.4, { zen3: 23, zen4: 30 }),
    prefill: reach(1.15, { zen4: 246 }),
  },
  { model: "M", dtype: "f32", size: [1, 128, 32], peer: loop, decode: reach(1.5, { zen3: 7.3 }) },
  { model: "M", dtype: "f32", size: [8, 128, 16], peer: loop, decode: reach(2.4, { zen3: 21.5 }) },
  {
    ...{ model: "M", dtype: "bf16", size: [1, 128, 32], peer: hf },
    decode: reach(1.8, { zen3: 10, zen4: 13.7 }),
    prefill: reach(1.3, { zen3: 27, zen4: 275 }),
  },
  {
    ...{ model: "M", dtype: "bf16", size: [8, 128, 16], peer: hf },
    decode: reach(2, { zen4: 52 }),
    prefill: reach(1.3, { zen4: 403 }),
  },
  { model: "M", dtype: "q8_0", size: [1, 128, 32], peer: llama, decode: reach(1), prefill: reach(1) },
  { model: "M", dtype: "q8_0", size: [8, 128, 32], peer: llama, decode: reach(1.5), prefill: reach(1.5) },
  { model: "M", dtype: "bf16", size: [1, 128, 32], peer: llama, decode: reach(1), prefill: reach(1) },
  { model: "M", dtype: "bf16", size: [8, 128, 32], peer: llama, decode: reach(1.5), prefill: reach(1.5) },
];

/** All contests, with `threads` for every side. */
export function cpuContests(threads: number): Contest[] {
  return [
    ...products(threads),
    ...training.map((plan) => train(threads, plan)),
    ...generation.map((plan) => generate(threads, plan)),
    ...reinforcement(threads),
  ];
}
