// The one schema of a run: what `gradus.config.ts`, a .jsonc file, a preset and the flags may say, with defaults and units.
import { z } from "zod";
import { rewardFields } from "./reward-schema.ts";
import { RlSection } from "./rl-schema.ts";
import { SftSection } from "./sft-schema.ts";

const Path = z.string().min(1);

export const PolicySection = z
  .strictObject({
    folder: Path.nullable()
      .default(null)
      .describe("Hugging Face folder of the starting policy (config.json, safetensors, tokenizer.json)."),
    config: z
      .record(z.string(), z.json())
      .nullable()
      .default(null)
      .describe("Fields of a Hugging Face config.json for a policy of random weights, drawn from the run's seed."),
    tokenizer: Path.nullable()
      .default(null)
      .describe("tokenizer.json (or a folder that holds one) for a policy made from `config`."),
  })
  .refine((policy) => (policy.folder === null) !== (policy.config === null), {
    message: "name either policy.folder (a Hugging Face folder; --model FOLDER) or policy.config (random weights)",
  })
  .describe("The starting policy: a folder, or a config.json's fields and random weights.");

const DataSection = z.strictObject({
  sft: Path.nullable().default(null).describe("Rows with a solution, the teacher's responses of the SFT phase."),
  rl: Path.nullable().default(null).describe("Rows with an answer, the prompts of the RL stages."),
  eval: Path.nullable().default(null).describe("Held-back rows with an answer, for the evaluations."),
});

const EvalSection = z.strictObject({
  task: z.string().min(1).default("held-back").describe("Name of the task in metrics and tables."),
  n: z.int().min(1).default(8).describe("Responses per problem; the metric is mean@n."),
  temperature: z.number().min(0).default(1).describe("Sampling temperature of the evaluation; 0 is greedy."),
  maxTokens: z.int().min(1).default(1024).describe("Limit of a response in tokens."),
  problems: z.int().min(1).nullable().default(null).describe("Take the first so many problems; null takes all."),
});

const CheckpointSection = z.strictObject({
  everySteps: z
    .int()
    .min(1)
    .nullable()
    .default(100)
    .describe("Steps between checkpoints; phase borders always have one. null: only at the borders."),
  keepLast: z
    .int()
    .min(1)
    .default(2)
    .describe(
      "Checkpoints kept beside the best one and the last of each SFT epoch; others go after a new one is whole.",
    ),
});

export const RunConfig = z
  .strictObject({
    name: z
      .string()
      .regex(/^[a-z0-9][a-z0-9.-]*$/, "use lower-case letters, digits, dots and dashes")
      .default("run")
      .describe("Name of the recipe; part of the run's id."),
    seed: z.int().min(0).default(1).describe("The 64-bit seed of every random number of the run."),
    policy: PolicySection,
    device: z.enum(["auto", "cpu", "cuda", "cuda-sim"]).default("auto").describe("Where the engine computes."),
    dtype: z
      .enum(["f32", "bf16", "q8_0"])
      .nullable()
      .default(null)
      .describe(
        "What the policy computes in; bf16 trains with f32 masters, q8_0 is for inference only. null: bf16 on a GPU, else f32; from a checkpoint its own.",
      ),
    threads: z
      .int()
      .min(1)
      .nullable()
      .default(null)
      .describe("CPU threads; null takes the physical cores that this process may use."),
    frame: z
      .enum(["acereason", "chat-template", "raw"])
      .default("acereason")
      .describe("How a problem becomes a prompt: the paper's text, the folder's chat template, or the text as it is."),
    data: DataSection.prefault({}).describe("Data files: JSONL, also gzipped (.jsonl.gz)."),
    ...rewardFields,
    microBatchTokens: z
      .int()
      .min(1)
      .default(4096)
      .describe("Tokens whose activations are held at once in an update; does not change the result but for rounding."),
    activationBytesMax: z
      .number()
      .positive()
      .nullable()
      .default(null)
      .describe(
        "Most bytes of activations in an update: layers compute again what does not fit, with the same bits. null: half of the memory that is free when the run begins, which config.json then holds.",
      ),
    kvBytesMax: z
      .number()
      .positive()
      .nullable()
      .default(null)
      .describe(
        "Most bytes of keys and values while responses are sampled: those that do not fit wait, which changes no bit. null: a quarter of the device's memory.",
      ),
    maxSkippedSteps: z
      .int()
      .min(1)
      .default(3)
      .describe("Steps in a row with a non-finite loss, gradient or logprob before the run stops."),
    sft: z
      .union([z.literal(false), SftSection])
      .default(false)
      .describe("The SFT phase, or false."),
    rl: z
      .union([z.literal(false), RlSection])
      .default(false)
      .describe("The RL stages, or false."),
    eval: z
      .union([z.literal(false), EvalSection])
      .prefault({})
      .describe("The evaluation at the start and after each phase, or false."),
    checkpoint: CheckpointSection.prefault({}).describe("When checkpoints are written and how many stay."),
    keepRollouts: z.boolean().default(true).describe("Write every step's rollouts to rollouts/<stage>-<step>.bin."),
  })
  .describe("A post-training run: a starting policy, an SFT phase, RL stages, evaluations.");

export type RunConfig = z.output<typeof RunConfig>;
export type EvalConfig = z.output<typeof EvalSection>;
