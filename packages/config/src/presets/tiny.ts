// The default of `bun run train`: a policy of 0.6 M parameters learns sums from scratch in minutes on two cores.
import type { ConfigInput } from "../config-input.ts";

export const tiny = {
  name: "tiny",
  policy: {
    // Qwen3 for its normed queries and keys: copying forms in about a third of the steps that Qwen2 needs.
    config: {
      architectures: ["Qwen3ForCausalLM"],
      model_type: "qwen3",
      vocab_size: 18,
      hidden_size: 128,
      intermediate_size: 336,
      num_hidden_layers: 3,
      num_attention_heads: 4,
      num_key_value_heads: 4,
      head_dim: 32,
      hidden_act: "silu",
      max_position_embeddings: 128,
      rms_norm_eps: 1e-6,
      rope_theta: 10_000,
      initializer_range: 0.02,
      tie_word_embeddings: true,
      eos_token_id: 1,
      pad_token_id: 0,
    },
    tokenizer: "datasets/sums/tokenizer.json",
  },
  frame: "raw",
  data: { sft: "datasets/sums/sft.jsonl", rl: "datasets/sums/rl.jsonl", eval: "datasets/sums/eval.jsonl" },
  reward: "exact",
  sft: { steps: 4000, batchSize: 16, learningRate: 3e-3, schedule: "cosine", warmupSteps: 100, floorShare: 0.1 },
  rl: {
    promptsPerStep: 16,
    groupSize: 8,
    learningRate: 1e-4,
    stages: [
      { name: "short", maxResponseLength: 40, end: { steps: 60 } },
      { name: "long", maxResponseLength: 60, end: { steps: 60 } },
    ],
  },
  eval: { task: "sums", n: 8, temperature: 1, maxTokens: 60, problems: 256 },
  checkpoint: { everySteps: 500, keepLast: 2 },
} satisfies ConfigInput;
