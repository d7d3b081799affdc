// A recipe that the real engine runs in seconds: a policy of some thousand parameters on the sums of the tiny recipe.
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { temporaryFolder } from "./temporary-folder.ts";

const sums = resolve(import.meta.dirname, "../../../../datasets/sums");

/** A new folder with engine.jsonc: 5 SFT steps, RL stages of 4 and 3 steps, a checkpoint every second step. */
export function engineRecipe(): string {
  const folder = temporaryFolder();
  const recipe = {
    name: "engine",
    device: "cpu",
    threads: 2,
    policy: {
      config: {
        architectures: ["Qwen3ForCausalLM"],
        model_type: "qwen3",
        vocab_size: 18,
        hidden_size: 32,
        intermediate_size: 64,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        head_dim: 16,
        hidden_act: "silu",
        max_position_embeddings: 64,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000,
        initializer_range: 0.02,
        tie_word_embeddings: true,
        eos_token_id: 1,
      },
      tokenizer: join(sums, "tokenizer.json"),
    },
    frame: "raw",
    // Half of all responses have it, so that every step has a gradient from the start.
    reward: `${join(import.meta.dirname, "even-length.ts")}#evenLength`,
    data: { sft: join(sums, "sft.jsonl"), rl: join(sums, "rl.jsonl"), eval: join(sums, "eval.jsonl") },
    sft: { steps: 5, batchSize: 4, maxSampleTokens: 48, learningRate: 1e-3 },
    rl: {
      promptsPerStep: 3,
      groupSize: 4,
      learningRate: 1e-3,
      overlongFiltering: "off",
      stages: [
        { name: "short", maxResponseLength: 6, end: { steps: 4 } },
        { name: "long", maxResponseLength: 12, end: { steps: 3 } },
      ],
    },
    eval: { task: "sums", n: 2, maxTokens: 8, problems: 4 },
    checkpoint: { everySteps: 2, keepLast: 2 },
  };
  writeFileSync(join(folder, "engine.jsonc"), JSON.stringify(recipe));
  return folder;
}
