//! Pages whose memory is a region's: what lies there when they take it, and losing it half-way, change no bit.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod fixture;

use fixture::{model_in, requests};
use gradus_cpu::{CpuBackend, Region};
use gradus_engine::{Engine, EngineOptions, TokenEvent};
use gradus_model::Model;
use gradus_ops::{Backed, Backend, Precision};
use gradus_tensor::DType;
use std::collections::BTreeMap;

const OPTIONS: EngineOptions = EngineOptions { pages: 96, prefill_chunk: 16, max_batch_tokens: 48 };

/// Another phase: takes the whole region and leaves NaN in every byte of it.
fn use_otherwise(backend: &CpuBackend, region: &Region, bytes: usize) {
    let mut other = backend.unbacked(DType::F32, bytes / 4).unwrap();
    other.take_from(region).unwrap();
    backend.write(&mut other, 0, &vec![f32::NAN; bytes / 4]).unwrap();
    other.give_back();
}

/// All tokens of each request, in order, as bits.
fn run(
    engine: &mut Engine<CpuBackend>,
    model: &Model<CpuBackend>,
    mut between: impl FnMut(usize, &mut Engine<CpuBackend>),
) -> BTreeMap<u64, Vec<(u32, u32, u32)>> {
    for request in requests(16) {
        engine.submit(request).unwrap();
    }
    let mut found: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for step in 0.. {
        between(step, engine);
        for &TokenEvent { id, token, logprob, entropy, .. } in engine.step(model).unwrap() {
            found.entry(id).or_default().push((token, logprob.to_bits(), entropy.to_bits()));
        }
        if engine.is_idle() {
            break;
        }
    }
    found
}

#[test]
fn responses_are_the_same_whatever_happens_to_the_memory_of_the_pages() {
    for precision in Precision::ALL {
        let model = model_in(CpuBackend::new(Some(2)).unwrap(), "Qwen3ForCausalLM", 1, precision);
        let backend = &model.backend;
        let expected = run(&mut Engine::new(&model, OPTIONS).unwrap(), &model, |_, _| {});
        let region = backend.region();
        let mut engine = Engine::sharing(&model, OPTIONS, region.clone()).unwrap();
        assert_eq!(engine.kv_bytes(), 0);
        let mut held = 0;
        let found = run(&mut engine, &model, |step, engine| {
            if [3, 40, 41, 90].contains(&step) {
                held = engine.kv_bytes();
                engine.give_back();
                assert_eq!(engine.kv_bytes(), 0);
                use_otherwise(backend, &region, held);
            }
        });
        assert!(found == expected, "{precision:?}");
        assert_eq!(engine.pages_free(), OPTIONS.pages);
        assert!(held > 0 && backend.region_bytes(&region) >= held, "the pages are in the region");
    }
}

#[test]
fn pages_without_a_region_keep_their_memory() {
    let model = model_in(CpuBackend::new(Some(1)).unwrap(), "Qwen2ForCausalLM", 1, Precision::F32);
    let mut engine = Engine::new(&model, OPTIONS).unwrap();
    let held = engine.kv_bytes();
    engine.give_back();
    assert!(held > 0 && engine.kv_bytes() == held);
}
