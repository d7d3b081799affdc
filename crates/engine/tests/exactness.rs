//! Token ids, logprobs and entropies of the engine are the same bits whatever the batch, the prefill chunks, the threads, shared prompts
//! and preemptions, and the logprobs and entropies are those of `score`.

// A test's own steps may fail loudly.
#![allow(clippy::unwrap_used)]

mod fixture;

use fixture::{Outcome, VOCAB, alone, generate, model, requests, score};
use gradus_cpu::CpuBackend;
use gradus_engine::{EngineOptions, PlantedFault, Request};
use std::collections::BTreeMap;

const PLENTY: EngineOptions = EngineOptions { pages: 1024, prefill_chunk: 512, max_batch_tokens: 512 };
const ARCHITECTURES: [&str; 3] = ["Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"];

/// Each request by itself, without a group, in one prefill: what every other way must equal.
fn reference(architecture: &str, requests: &[Request]) -> BTreeMap<u64, Outcome> {
    let model = model(architecture, 1, 1);
    requests.iter().map(|request| (request.id, alone(&model, request))).collect()
}

#[test]
fn sampler_equals_score() {
    for architecture in ARCHITECTURES {
        let model = model(architecture, 2, 1);
        let requests = requests(24);
        let outcomes = generate(&model, &requests, PLENTY);
        for request in &requests {
            let outcome = &outcomes[&request.id];
            assert_eq!(score(&model, request, outcome), outcome.scores(), "{architecture} {}", request.id);
        }
    }
}

#[test]
fn batch_sizes_and_shared_prompts_do_not_change_a_bit() {
    for architecture in ARCHITECTURES {
        let all = requests(64);
        let expected = reference(architecture, &all);
        let model = model(architecture, 2, 1);
        for size in [1, 2, 3, 5, 8, 13, 33, 64] {
            for batch in all.chunks(size) {
                for (id, outcome) in generate(&model, batch, PLENTY) {
                    assert_eq!(outcome, expected[&id], "{architecture}, {size} requests at once, request {id}");
                }
            }
        }
        let apart: Vec<Request> = all.iter().map(|request| Request { group: None, ..request.clone() }).collect();
        assert_eq!(generate(&model, &apart, PLENTY), expected, "{architecture} without groups");
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
    let expected = reference(ARCHITECTURES[1], &pair);
    let model = model(ARCHITECTURES[1], 2, 1);
    for prefill_chunk in 1..=pair[0].prompt.len() {
        for max_batch_tokens in [prefill_chunk + 1, 7, 512] {
            let options = EngineOptions { prefill_chunk, max_batch_tokens, ..PLENTY };
            assert_eq!(generate(&model, &pair, options), expected, "{options:?}");
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let requests = requests(16);
    let expected = reference(ARCHITECTURES[0], &requests);
    for threads in 1..=4 {
        let model = model(ARCHITECTURES[0], threads, 1);
        for prefill_chunk in [3, 64] {
            let options = EngineOptions { prefill_chunk, ..PLENTY };
            assert_eq!(generate(&model, &requests, options), expected, "{threads} threads");
        }
    }
}

#[test]
fn preempted_responses_are_the_same_bits() {
    for architecture in ARCHITECTURES {
        let mut requests = requests(20);
        for request in &mut requests {
            // Long responses outgrow the pages that they started with.
            request.max_tokens = request.max_tokens.max(30) + 30;
            request.stop_tokens.clear();
        }
        let expected = reference(architecture, &requests);
        let model = model(architecture, 2, 1);
        let needed = |request: &Request| gradus_engine::pages_needed(request.prompt.len(), request.max_tokens);
        let least = requests.iter().map(needed).max().unwrap();
        let mut preemptions = 0;
        for pages in [least, least + 3, 2 * least] {
            for prefill_chunk in [5, 512] {
                let options = EngineOptions { pages, prefill_chunk, ..PLENTY };
                let (outcomes, preempted) = fixture::generate_counting(&model, &requests, options);
                assert_eq!(outcomes, expected, "{architecture} {options:?}");
                preemptions += preempted;
            }
        }
        assert!(preemptions >= 20, "only {preemptions} preemptions were tested");
    }
}

#[test]
fn a_planted_fault_is_seen() {
    let model = model(ARCHITECTURES[0], 2, 1);
    let requests = requests(8);
    let outcomes = fixture::generate_with_fault(&model, &requests, PLENTY, PlantedFault::InverseTemperatureUlp);
    let differs = |request: &&Request| {
        let outcome = &outcomes[&request.id];
        score(&model, request, outcome) != outcome.scores()
    };
    assert!(requests.iter().filter(differs).count() > 0, "an ulp in 1/T went unseen");
}

#[test]
fn another_order_of_attention_in_decode_is_seen() {
    let backend = CpuBackend::new(Some(2)).unwrap().plant_decode_split();
    let model = fixture::model_on(backend, ARCHITECTURES[0], 1);
    let requests = requests(32);
    let outcomes = generate(&model, &requests, PLENTY);
    for request in &requests {
        let outcome = &outcomes[&request.id];
        // One block of keys is one split either way; only longer sequences can tell.
        let is_long = request.prompt.len() + outcome.tokens.len() > gradus_ops::KEY_BLOCK + 2;
        let differs = score(&model, request, outcome) != outcome.scores();
        assert_eq!(differs, is_long, "request {} of {} prompt tokens", request.id, request.prompt.len());
    }
}
