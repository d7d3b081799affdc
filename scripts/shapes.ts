// The model shapes that benchmarks and random-model.ts speak of, as Hugging Face config.json fields.

/** Qwen2 architecture; sizes as in Qwen2.5's config files, T and S as small relatives of them. */
const sizes = {
  T: { hidden: 256, layers: 4, heads: 4, kvHeads: 2, ffn: 688, vocab: 512, tied: true },
  S: { hidden: 512, layers: 8, heads: 8, kvHeads: 2, ffn: 1408, vocab: 4096, tied: true },
  "qwen2.5-0.5b": { hidden: 896, layers: 24, heads: 14, kvHeads: 2, ffn: 4864, vocab: 151936, tied: true },
  "qwen2.5-1.5b": { hidden: 1536, layers: 28, heads: 12, kvHeads: 2, ffn: 8960, vocab: 151936, tied: true },
  "qwen2.5-7b": { hidden: 3584, layers: 28, heads: 28, kvHeads: 4, ffn: 18944, vocab: 152064, tied: false },
} as const;

export type ShapeName = keyof typeof sizes;

/** The names of all shapes, for messages. */
export const shapeNames: readonly string[] = Object.keys(sizes);

/** Whether a word from the command line names a shape. */
export function isShapeName(name: string): name is ShapeName {
  return shapeNames.includes(name);
}

/** The config.json of a shape. Qwen2.5's end tokens are set where its vocabulary is used. */
export function shapeConfig(name: ShapeName): Record<string, unknown> {
  const size = sizes[name];
  const isQwen = name.startsWith("qwen2.5");
  return {
    architectures: ["Qwen2ForCausalLM"],
    model_type: "qwen2",
    hidden_act: "silu",
    hidden_size: size.hidden,
    num_hidden_layers: size.layers,
    num_attention_heads: size.heads,
    num_key_value_heads: size.kvHeads,
    intermediate_size: size.ffn,
    vocab_size: size.vocab,
    tie_word_embeddings: size.tied,
    max_position_embeddings: 32768,
    rope_theta: isQwen ? 1_000_000 : 10_000,
    rms_norm_eps: 1e-6,
    initializer_range: 0.02,
    use_sliding_window: false,
    torch_dtype: "float32",
    eos_token_id: isQwen ? [151645, 151643] : 1,
    pad_token_id: isQwen ? 151643 : 0,
  };
}
