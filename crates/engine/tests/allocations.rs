//! A step allocates nothing once its memory is there: counted over the whole process, all threads, at fixed shapes.
//!
//! One test alone in its own process: the counter sees every thread, the test harness's too.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod fixture;

use fixture::{model_in, requests as prompts};
use gradus_cpu::{CpuBackend, Level};
use gradus_engine::{Engine, EngineOptions, Request, SamplingOptions};
use gradus_ops::Precision;
use gradus_testing::{Counter, last_request_bytes, requests};

#[global_allocator]
static COUNTER: Counter = Counter;

#[test]
fn a_decode_step_after_the_first_allocates_nothing() {
    assert!(requests(|| drop(vec![1; 10])) == 1, "the counter counts");
    for architecture in ["Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"] {
        for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
            for precision in Precision::ALL {
                check(architecture, level, precision, &SamplingOptions::default());
            }
            let limited = SamplingOptions { top_k: 30, top_p: 0.9, min_p: 0.01, ..SamplingOptions::default() };
            check(architecture, level, Precision::F32, &limited);
            let penalised = SamplingOptions {
                repetition_penalty: 1.2,
                presence_penalty: 0.5,
                frequency_penalty: 0.5,
                logit_bias: vec![(7, -1.0)],
                ..SamplingOptions::default()
            };
            check(architecture, level, Precision::F32, &penalised);
        }
    }
}

fn check(architecture: &str, level: Level, precision: Precision, sampling: &SamplingOptions) {
    let model = model_in(CpuBackend::with_level(level, Some(2)).unwrap(), architecture, 1, precision);
    let options = EngineOptions { pages: 256, prefill_chunk: 64, max_batch_tokens: 64 };
    let mut engine = Engine::new(&model, options).unwrap();
    // 40 tokens each, so that every response crosses the border of a page and most that of a block of keys.
    for request in prompts(12) {
        engine
            .submit(Request { max_tokens: 40, stop_tokens: Vec::new(), sampling: sampling.clone(), ..request })
            .unwrap();
    }
    while engine.step(&model).unwrap().len() < 12 {}
    engine.step(&model).unwrap();
    for step in 0..25 {
        let found = requests(|| assert_eq!(engine.step(&model).unwrap().len(), 12));
        let (level, precision) = (level.name(), precision.name());
        assert_eq!(
            found,
            0,
            "{architecture}, decode step {step} in {precision} at {level}: requests for memory, the last of {} bytes",
            last_request_bytes()
        );
    }
}
