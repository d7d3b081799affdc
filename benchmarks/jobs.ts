// What a benchmark does, as data: our child process (ours.ts) and the peers (peers/*.py) get the same job and the same tokens.
import { z } from "zod";
import type { ShapeName } from "../scripts/shapes.ts";

const count = z.int().min(1);

/** The shapes of the benchmarks by their short names. */
export const shapes = { T: "T", S: "S", M: "qwen2.5-0.5b" } as const satisfies Record<string, ShapeName>;
export type ModelName = keyof typeof shapes;

const base = { model: z.enum(["T", "S", "M"]), folder: z.string(), threads: count };

/** Training steps on `batch` sequences of `length` tokens; the last `trained` tokens of each carry loss. */
const train = z.strictObject({
  kind: z.literal("train"),
  ...base,
  dtype: z.enum(["f32", "bf16"]),
  batch: count,
  length: count,
  trained: count,
});

/** `batch` responses of exactly `response` sampled tokens to prompts of `prompt` tokens. */
const generate = z.strictObject({
  kind: z.literal("generate"),
  ...base,
  dtype: z.enum(["f32", "bf16", "q8_0"]),
  batch: count,
  prompt: count,
  response: count,
});

/** RL steps: `prompts` groups of `groupSize` rollouts of at most `response` tokens. */
const grpo = z.strictObject({
  kind: z.literal("grpo"),
  ...base,
  dtype: z.literal("f32"),
  prompts: count,
  groupSize: count,
  prompt: count,
  response: count,
  /** Whether every response has the whole length, or ends by chance at one of the folder's end tokens. */
  exactLength: z.boolean(),
});

/** A product of the engine or the whole machine's limits, measured by crates/cpu/examples/machine_limits.rs. */
const product = z.strictObject({ kind: z.literal("product"), arguments: z.array(z.string()) });

export const job = z.discriminatedUnion("kind", [train, generate, grpo, product]);
export type Job = z.infer<typeof job>;
export type TrainJob = z.infer<typeof train>;
export type GenerateJob = z.infer<typeof generate>;
export type GrpoJob = z.infer<typeof grpo>;

/** What a child process is told, one line each. `score` asks for the logprobs of every token but the first. */
export type Command = { do: "probe" | "warm" | "repeat"; index: number } | { do: "score"; tokens: readonly number[] };

/** What a child answers: figures, a name, tokens; or why it could not. */
export const reply = z.union([
  z.object({ ok: z.record(z.string(), z.union([z.number(), z.string(), z.array(z.number()), z.null()])) }),
  z.object({ error: z.string() }),
]);

/** Figures of one repeat. */
export type Sample = Readonly<Record<string, number>>;

/** Token ids that look random and are the same in TypeScript and in Python (peers/protocol.py); the two lowest ids are left out. */
export function tokenIds(length: number, seed: number, vocab: number): Uint32Array {
  return Uint32Array.from({ length }, (_, index) => {
    let x = (index + Math.imul(seed, 1_000_003)) >>> 0;
    for (let round = 0; round < 2; round += 1) x = Math.imul(x ^ (x >>> 16), 0x45d9f3b) >>> 0;
    return 2 + (((x ^ (x >>> 16)) >>> 0) % (vocab - 2));
  });
}
