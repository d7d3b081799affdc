//! A step allocates nothing once its memory is there: counted over the whole process, all threads, at fixed shapes.
//!
//! One test alone in its own process: the counter sees every thread, the test harness's too.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod tiny;

use gradus_cpu::{CpuBackend, Level};
use gradus_model::{Model, ModelConfig};
use gradus_ops::Precision;
use gradus_testing::{Counter, last_request_bytes, requests};
use gradus_train::{StepOptions, Trainer};
use std::sync::Arc;
use tiny::{batch, options};

#[global_allocator]
static COUNTER: Counter = Counter;

/// Query and key norms, groups of heads, biases and an untied head: every op of a step.
fn model(architecture: &str, level: Level, precision: Precision) -> Model<CpuBackend> {
    let text = serde_json::json!({
        "architectures": [architecture], "vocab_size": tiny::VOCAB, "hidden_size": 40, "intermediate_size": 56,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "max_position_embeddings": 128, "mlp_bias": true
    });
    let config = ModelConfig::from_json(&text.to_string()).unwrap();
    let backend = Arc::new(CpuBackend::with_level(level, Some(2)).unwrap());
    Model::random(config, backend, 3, precision).unwrap()
}

#[test]
fn a_training_step_after_the_first_allocates_nothing() {
    assert!(requests(|| drop(vec![1; 10])) == 1, "the counter counts");
    for architecture in ["Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"] {
        for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
            for precision in [Precision::F32, Precision::Bf16] {
                let activations = check(&mut model(architecture, level, precision), None);
                check(&mut model(architecture, level, precision), Some(activations - activations / 20));
            }
        }
    }
}

/// Returns the bytes of activations.
fn check(model: &mut Model<CpuBackend>, limit: Option<u64>) -> u64 {
    let mut trainer = Trainer::new();
    if let Some(bytes) = limit {
        trainer.limit_activations(bytes);
    }
    // Two parts, one of them with more than a block of keys.
    let options = StepOptions { micro_batch_tokens: 100, ..options() };
    let batch = batch(1, &[90, 3, 40, 7]);
    assert_eq!(trainer.step(model, &batch, &options).unwrap().skipped, None);
    let level = gradus_ops::Backend::level(model.backend.as_ref()).to_owned();
    let precision = model.precision.name();
    for step in 2..5 {
        let found = requests(|| assert_eq!(trainer.step(model, &batch, &options).unwrap().skipped, None));
        assert_eq!(
            found,
            0,
            "step {step} in {precision} at {level}, limit {limit:?}: requests for memory, the last of {} bytes",
            last_request_bytes()
        );
    }
    assert_eq!(trainer.recomputed_layers() != (0, 0), limit.is_some());
    trainer.memory().activations
}
