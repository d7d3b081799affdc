//! A step allocates nothing once its memory is there: counted over the whole process, all threads, at fixed shapes.
//!
//! One test alone in its own process: the counter sees every thread, the test harness's too.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod tiny;

use gradus_cpu::{CpuBackend, Level};
use gradus_model::{KvCache, Model, ModelConfig, PagedInputs, PagedWorkspace};
use gradus_ops::{Backend, PAGE_TOKENS, Precision};
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
                check_phases(&mut model(architecture, level, precision));
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
    let level = model.backend.level().to_owned();
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

/// Rollouts and steps in turn, in one region: from the third round on neither they nor the handover between them allocates.
fn check_phases(model: &mut Model<CpuBackend>) {
    let region = model.backend.region();
    let mut trainer = Trainer::new();
    trainer.share(region.clone());
    let pages = 300;
    let mut cache = KvCache::sharing(model, pages, region.clone()).unwrap();
    let mut workspace = PagedWorkspace::new();
    let (options, batch) = (options(), batch(1, &[90, 3, 40, 7]));
    let page = pages as u32 - 1;
    let inputs = PagedInputs {
        tokens: vec![1, 2, 3],
        positions: vec![0, 1, 2],
        sequences: vec![0; 3],
        slots: (0..3).map(|offset| page * PAGE_TOKENS as u32 + offset).collect(),
        page_table: vec![page],
        pages_max: 1,
        logit_rows: vec![2],
    };
    let mut held_max = 0;
    for round in 0..5 {
        let found = requests(|| {
            model.forward_paged(&inputs, &mut cache, &mut workspace).unwrap();
            held_max = held_max.max(cache.bytes());
            assert!(cache.give_back());
            assert_eq!(trainer.step(model, &batch, &options).unwrap().skipped, None);
            held_max = held_max.max((trainer.memory().gradients + trainer.memory().activations) as usize);
            trainer.give_back();
        });
        assert!(round < 2 || found == 0, "round {round}: {found} requests, the last of {} bytes", last_request_bytes());
        assert_eq!((cache.bytes(), trainer.memory().gradients, trainer.memory().activations), (0, 0, 0));
    }
    // Nothing of both phases is held but the larger of the two, with what the parts' borders cost.
    let (bytes, parts) = (model.backend.region_bytes(&region), 4096 * 200);
    assert!((held_max..=held_max + parts).contains(&bytes), "the region has {bytes} bytes, the phases {held_max}");
}
