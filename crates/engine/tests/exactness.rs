//! Token ids, logprobs and entropies of the engine are the same bits whatever the batch, the prefill chunks, the threads, shared prompts
//! and preemptions, and the logprobs and entropies are those of `score`.

// A test's own steps may fail loudly.
#![allow(clippy::unwrap_used)]

mod fixture;

use fixture::{Outcome, VOCAB, alone, generate, requests, score};
use gradus_cpu::{CpuBackend, Level};
use gradus_engine::{EngineOptions, PlantedFault, Request};
use gradus_model::Model;
use gradus_ops::Precision;
use std::collections::BTreeMap;

const PLENTY: EngineOptions = EngineOptions { pages: 1024, prefill_chunk: 512, max_batch_tokens: 512 };
const ARCHITECTURES: [&str; 3] = ["Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"];

fn model(architecture: &str, threads: usize, precision: Precision) -> Model<CpuBackend> {
    fixture::model_in(CpuBackend::new(Some(threads)).unwrap(), architecture, 1, precision)
}

/// Every family in every precision.
fn policies() -> impl Iterator<Item = (&'static str, Precision)> {
    ARCHITECTURES.into_iter().flat_map(|architecture| Precision::ALL.map(|precision| (architecture, precision)))
}

/// Each request by itself, without a group, in one prefill: what every other way must equal.
fn reference(architecture: &str, precision: Precision, requests: &[Request]) -> BTreeMap<u64, Outcome> {
    let model = model(architecture, 1, precision);
    requests.iter().map(|request| (request.id, alone(&model, request))).collect()
}

#[test]
fn sampler_equals_score() {
    for (architecture, precision) in policies() {
        let model = model(architecture, 2, precision);
        let requests = requests(24);
        let outcomes = generate(&model, &requests, PLENTY);
        for request in &requests {
            let outcome = &outcomes[&request.id];
            assert_eq!(
                score(&model, request, outcome),
                outcome.scores(),
                "{architecture} in {}, {}",
                precision.name(),
                request.id
            );
        }
    }
}

#[test]
fn batch_sizes_and_shared_prompts_do_not_change_a_bit() {
    for (architecture, precision) in policies() {
        let all = requests(64);
        let expected = reference(architecture, precision, &all);
        let model = model(architecture, 2, precision);
        for size in [1, 2, 3, 5, 8, 13, 33, 64] {
            for batch in all.chunks(size) {
                for (id, outcome) in generate(&model, batch, PLENTY) {
                    assert_eq!(
                        outcome, expected[&id],
                        "{architecture} in {precision:?}, {size} requests at once, request {id}"
                    );
                }
            }
        }
        let apart: Vec<Request> = all.iter().map(|request| Request { group: None, ..request.clone() }).collect();
        assert_eq!(generate(&model, &apart, PLENTY), expected, "{architecture} in {precision:?} without groups");
    }
}

#[test]
fn every_prefill_chunk_gives_the_same_bits() {
    let mut pair = requests(2);
    pair[0].prompt = gradus_testing::integers(5, 83, VOCAB);
    (pair[0].max_tokens, pair[0].temperature) = (4, 0.9);
    // The second one decodes while the first is still in prefill.
    pair[1].prompt.truncate(2);
    (pair[1].max_tokens, pair[1].group) = (40, None);
    for precision in Precision::ALL {
        let expected = reference(ARCHITECTURES[1], precision, &pair);
        let model = model(ARCHITECTURES[1], 2, precision);
        for prefill_chunk in 1..=pair[0].prompt.len() {
            for max_batch_tokens in [prefill_chunk + 1, 7, 512] {
                let options = EngineOptions { prefill_chunk, max_batch_tokens, ..PLENTY };
                assert_eq!(generate(&model, &pair, options), expected, "{precision:?}, {options:?}");
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let requests = requests(16);
    for precision in Precision::ALL {
        let expected = reference(ARCHITECTURES[0], precision, &requests);
        for threads in 1..=4 {
            let model = model(ARCHITECTURES[0], threads, precision);
            for prefill_chunk in [3, 64] {
                let options = EngineOptions { prefill_chunk, ..PLENTY };
                assert_eq!(generate(&model, &requests, options), expected, "{precision:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn preempted_responses_are_the_same_bits() {
    for (architecture, precision) in policies() {
        let mut requests = requests(20);
        for request in &mut requests {
            // Long responses outgrow the pages that they started with.
            request.max_tokens = request.max_tokens.max(30) + 30;
            request.stop_tokens.clear();
        }
        let expected = reference(architecture, precision, &requests);
        let model = model(architecture, 2, precision);
        let needed = |request: &Request| gradus_engine::pages_needed(request.prompt.len(), request.max_tokens);
        let least = requests.iter().map(needed).max().unwrap();
        let mut preemptions = 0;
        for pages in [least, least + 3, 2 * least] {
            for prefill_chunk in [5, 512] {
                let options = EngineOptions { pages, prefill_chunk, ..PLENTY };
                let (outcomes, preempted) = fixture::generate_counting(&model, &requests, options);
                assert_eq!(outcomes, expected, "{architecture} in {precision:?}, {options:?}");
                preemptions += preempted;
            }
        }
        assert!(preemptions >= 20, "only {preemptions} preemptions were tested");
    }
}

#[test]
fn levels_do_not_change_a_bit() {
    let requests = requests(16);
    for precision in Precision::ALL {
        let expected = reference(ARCHITECTURES[1], precision, &requests);
        for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
            let backend = CpuBackend::with_level(level, Some(2)).unwrap();
            let model = fixture::model_in(backend, ARCHITECTURES[1], 1, precision);
            assert_eq!(generate(&model, &requests, PLENTY), expected, "{precision:?} at {}", level.name());
        }
    }
}

#[test]
fn a_planted_fault_is_seen() {
    for precision in Precision::ALL {
        let model = model(ARCHITECTURES[0], 2, precision);
        let requests = requests(8);
        let outcomes = fixture::generate_with_fault(&model, &requests, PLENTY, PlantedFault::InverseTemperatureUlp);
        let differs = |request: &&Request| {
            let outcome = &outcomes[&request.id];
            score(&model, request, outcome) != outcome.scores()
        };
        assert!(requests.iter().filter(differs).count() > 0, "{precision:?}: an ulp in 1/T went unseen");
    }
}

#[test]
fn another_order_of_attention_in_decode_is_seen() {
    for precision in Precision::ALL {
        let backend = CpuBackend::new(Some(2)).unwrap().plant_decode_split();
        let model = fixture::model_in(backend, ARCHITECTURES[0], 1, precision);
        let requests = requests(32);
        let outcomes = generate(&model, &requests, PLENTY);
        // One block of keys is one split either way; only longer sequences can tell.
        let is_long =
            |request: &Request| request.prompt.len() + outcomes[&request.id].tokens.len() > gradus_ops::KEY_BLOCK + 2;
        let differs = |request: &Request| {
            let outcome = &outcomes[&request.id];
            score(&model, request, outcome) != outcome.scores()
        };
        let (long, short): (Vec<_>, Vec<_>) = requests.iter().partition(|request| is_long(request));
        assert!(!short.iter().any(|request| differs(request)), "{precision:?}: a short one differs");
        let seen = long.iter().filter(|request| differs(request)).count();
        // Rounding of outputs, or of a product's inputs, hides the fault here and there.
        let least = if precision == Precision::F32 { long.len() } else { 1 };
        assert!(seen >= least, "{precision:?}: {seen} of {} long ones differ", long.len());
    }
}
