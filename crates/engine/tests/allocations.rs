//! A step allocates nothing once its memory is there: counted over the whole process, all threads, at fixed shapes.
//!
//! One test alone in its own process: the counter sees every thread, the test harness's too.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod fixture;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use fixture::{model_in, requests as prompts};
use gradus_cpu::{CpuBackend, Level};
use gradus_engine::{Engine, EngineOptions, Request, SamplingOptions};
use gradus_ops::Precision;

/// Counts every request for memory of every thread while `COUNTING` is set. Memory that the backend maps (buffers of 2 MiB and more)
/// does not come here: the tiny policies of this test have none.
struct Counter;

static COUNTING: AtomicBool = AtomicBool::new(false);
static REQUESTS: AtomicUsize = AtomicUsize::new(0);
/// Of the last request: tells who asked.
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTER: Counter = Counter;

fn note(bytes: usize) {
    if COUNTING.load(Relaxed) {
        REQUESTS.fetch_add(1, Relaxed);
        BYTES.store(bytes, Relaxed);
    }
}

/// Requests for memory during `work`.
fn requests(work: impl FnOnce()) -> usize {
    REQUESTS.store(0, Relaxed);
    COUNTING.store(true, Relaxed);
    work();
    COUNTING.store(false, Relaxed);
    REQUESTS.load(Relaxed)
}

#[test]
fn a_decode_step_after_the_first_allocates_nothing() {
    assert!(requests(|| drop(vec![1; 10])) == 1, "the counter counts");
    for architecture in ["Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"] {
        for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
            for precision in Precision::ALL {
                check(architecture, level, precision, &SamplingOptions::default());
            }
            // Penalties are not in the promise: they keep a table of the response's tokens, which grows with it.
            let limited = SamplingOptions { top_k: 30, top_p: 0.9, min_p: 0.01, ..SamplingOptions::default() };
            check(architecture, level, Precision::F32, &limited);
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
            BYTES.load(Relaxed)
        );
    }
}
