//! Which parameters a config has: their order, shapes and Hugging Face names.
//!
//! Query, key and value are one matrix, gate and up another; a Hugging Face tensor is a range of rows of a parameter.

use crate::ModelConfig;

/// How a parameter is initialised and regularised: weight decay spares norms and biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    Matrix,
    Norm,
    Bias,
    Embedding,
}

impl ParameterKind {
    /// Norms and biases are vectors in Hugging Face files and `[rows, 1]` weights here.
    pub fn is_vector(self) -> bool {
        matches!(self, ParameterKind::Norm | ParameterKind::Bias)
    }
}

/// A tensor of a Hugging Face checkpoint: rows `row_offset..row_offset + rows` of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HfTensor {
    pub name: String,
    pub row_offset: usize,
    pub rows: usize,
}

pub(crate) struct ParameterSpec {
    pub kind: ParameterKind,
    pub rows: usize,
    pub cols: usize,
    pub hf: Vec<HfTensor>,
}

/// Where in the list the parameters of one layer are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerIndex {
    pub attention_norm: usize,
    pub qkv: usize,
    pub qkv_bias: Option<usize>,
    /// Qwen3's (query norm, key norm).
    pub qk_norm: Option<(usize, usize)>,
    pub output: usize,
    pub output_bias: Option<usize>,
    pub mlp_norm: usize,
    pub gate_up: usize,
    pub gate_up_bias: Option<usize>,
    pub down: usize,
    pub down_bias: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct ParameterIndex {
    pub embedding: usize,
    pub layers: Vec<LayerIndex>,
    pub final_norm: usize,
    /// The embedding where the head is tied to it.
    pub head: usize,
}

/// The whole list, and where everything is in it.
pub(crate) fn layout(config: &ModelConfig) -> (Vec<ParameterSpec>, ParameterIndex) {
    let mut specs = Vec::new();
    let (hidden, vocab) = (config.hidden_size, config.vocab_size);
    let embedding = push(&mut specs, ParameterKind::Embedding, hidden, &[("model.embed_tokens.weight".into(), vocab)]);
    let layers = (0..config.num_hidden_layers).map(|layer| push_layer(&mut specs, config, layer)).collect();
    let final_norm = push(&mut specs, ParameterKind::Norm, 1, &[("model.norm.weight".into(), hidden)]);
    let head = if config.tie_word_embeddings {
        embedding
    } else {
        push(&mut specs, ParameterKind::Matrix, hidden, &[("lm_head.weight".into(), vocab)])
    };
    (specs, ParameterIndex { embedding, layers, final_norm, head })
}

fn push_layer(specs: &mut Vec<ParameterSpec>, config: &ModelConfig, layer: usize) -> LayerIndex {
    let (hidden, ffn) = (config.hidden_size, config.intermediate_size);
    let q_dim = config.num_attention_heads * config.head_dim;
    let kv_dim = config.num_key_value_heads * config.head_dim;
    let name = |module: &str, tensor: &str| format!("model.layers.{layer}.{module}.{tensor}");
    let attention = [("self_attn.q_proj", q_dim), ("self_attn.k_proj", kv_dim), ("self_attn.v_proj", kv_dim)];
    let gate_up = [("mlp.gate_proj", ffn), ("mlp.up_proj", ffn)];
    let mut norm = |module: &str, rows: usize| push(specs, ParameterKind::Norm, 1, &[(name(module, "weight"), rows)]);
    let attention_norm = norm("input_layernorm", hidden);
    let mlp_norm = norm("post_attention_layernorm", hidden);
    let qk_norm =
        config.qk_norm.then(|| (norm("self_attn.q_norm", config.head_dim), norm("self_attn.k_norm", config.head_dim)));
    let mut linear = |modules: &[(&str, usize)], cols: usize, has_bias: bool| {
        let tensors = |tensor: &str| -> Vec<(String, usize)> {
            modules.iter().map(|&(module, rows)| (name(module, tensor), rows)).collect()
        };
        let matrix = push(specs, ParameterKind::Matrix, cols, &tensors("weight"));
        (matrix, has_bias.then(|| push(specs, ParameterKind::Bias, 1, &tensors("bias"))))
    };
    let (qkv, qkv_bias) = linear(&attention, hidden, config.qkv_bias);
    let (output, output_bias) = linear(&[("self_attn.o_proj", hidden)], q_dim, config.output_bias);
    let (gate_up, gate_up_bias) = linear(&gate_up, hidden, config.mlp_bias);
    let (down, down_bias) = linear(&[("mlp.down_proj", hidden)], ffn, config.mlp_bias);
    LayerIndex {
        attention_norm,
        qkv,
        qkv_bias,
        qk_norm,
        output,
        output_bias,
        mlp_norm,
        gate_up,
        gate_up_bias,
        down,
        down_bias,
    }
}

/// Appends the parameter whose rows are those of `tensors` one after another, and returns its index.
fn push(specs: &mut Vec<ParameterSpec>, kind: ParameterKind, cols: usize, tensors: &[(String, usize)]) -> usize {
    let mut rows_total = 0;
    let hf = tensors
        .iter()
        .map(|(name, rows)| {
            let row_offset = rows_total;
            rows_total += rows;
            HfTensor { name: name.clone(), row_offset, rows: *rows }
        })
        .collect();
    specs.push(ParameterSpec { kind, rows: rows_total, cols, hf });
    specs.len() - 1
}
