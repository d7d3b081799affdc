//! A tiny policy and batches for the tests of this folder.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gradus_cpu::CpuBackend;
use gradus_model::{Model, ModelConfig, Parameter, TokenBatch};
use gradus_ops::{Backend, Precision};
use gradus_testing::integers;
use gradus_train::{OnExisting, SaveRequest, StepOptions, TrainBatch, TrainRow, Trainer, save_checkpoint};

pub const VOCAB: u32 = 61;

const CONFIG: &str = r#"{
  "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 32,
  "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 61,
  "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
  "initializer_range": 0.05
}"#;

pub fn backend() -> Arc<CpuBackend> {
    Arc::new(CpuBackend::new(Some(2)).unwrap())
}

pub fn model(seed: u64) -> Model<CpuBackend> {
    model_in(seed, Precision::F32)
}

pub fn model_in(seed: u64, precision: Precision) -> Model<CpuBackend> {
    Model::random(ModelConfig::from_json(CONFIG).unwrap(), backend(), seed, precision).unwrap()
}

pub fn options() -> StepOptions {
    StepOptions {
        learning_rate: 1e-3,
        betas: (0.9, 0.95),
        eps: 1e-8,
        weight_decay: 0.1,
        max_grad_norm: Some(1.0),
        ratio_clip: None,
        micro_batch_tokens: 4096,
        seed: 1,
    }
}

/// Sequences of random ids, every token but the first of each trained with weight 1/rows.
pub fn batch(seed: u64, lengths: &[usize]) -> TrainBatch {
    let sequences: Vec<Vec<u32>> =
        lengths.iter().enumerate().map(|(i, &length)| integers(seed * 1000 + i as u64, length, VOCAB)).collect();
    let tokens = TokenBatch::pack(&sequences);
    let count: usize = lengths.iter().map(|length| length - 1).sum();
    let mut rows = Vec::new();
    for bounds in tokens.cu_seqlens.windows(2) {
        for row in bounds[0]..bounds[1] - 1 {
            let target = tokens.tokens[row as usize + 1];
            rows.push(TrainRow { row, target, weight: 1.0 / count as f32, inv_t: 1.0, sampler_logprob: None });
        }
    }
    TrainBatch { tokens, rows }
}

/// The values of every parameter, in the order of the list.
pub fn values(model: &Model<CpuBackend>) -> Vec<Vec<f32>> {
    let read = |parameter: &Parameter<CpuBackend>| {
        let mut values = vec![0.0f32; parameter.rows * parameter.cols];
        model.backend.store_row_major(&parameter.weight, 0, &mut values).unwrap();
        values
    };
    model.parameters.list.iter().map(read).collect()
}

/// All weights, to be compared with `==`.
pub fn weight_bits(model: &Model<CpuBackend>) -> Vec<u32> {
    values(model).concat().into_iter().map(f32::to_bits).collect()
}

/// Saves a checkpoint as a first run does.
pub fn save(
    model: &Model<CpuBackend>,
    trainer: &Trainer<CpuBackend>,
    folder: &Path,
    step: u64,
) -> gradus_train::Result<PathBuf> {
    save_checkpoint(model, trainer, &request(folder, step))
}

pub fn request(folder: &Path, step: u64) -> SaveRequest<'_> {
    SaveRequest {
        folder,
        step,
        recipe_json: r#"{"stage": 1}"#,
        extra_files: &[],
        commit: Some("abc"),
        config_hash: None,
        on_existing: OnExisting::Refuse,
    }
}
