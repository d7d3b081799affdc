//! The scheduler's rules, one by one, without a model.

// A test's own steps may fail loudly.
#![allow(clippy::unwrap_used)]

use gradus_engine::{EngineOptions, PageAllocator, Scheduler, SequenceRequest, StepPlan};

const TOKEN: u32 = 9;

fn scheduler(pages: usize, prefill_chunk: usize, max_batch_tokens: usize) -> Scheduler {
    Scheduler::new(EngineOptions { pages, prefill_chunk, max_batch_tokens }).unwrap()
}

fn request(id: u64, prompt_len: usize, max_tokens: usize, group: Option<u64>) -> SequenceRequest {
    SequenceRequest { id, prompt: vec![1; prompt_len], max_tokens, stop_tokens: vec![], group }
}

/// Plans and commits one step.
fn step(scheduler: &mut Scheduler) -> StepPlan {
    let mut plan = StepPlan::default();
    assert!(scheduler.plan(&mut plan));
    scheduler.commit(&plan, &vec![TOKEN; plan.samples.len()]);
    plan
}

fn sampled_ids(plan: &StepPlan) -> Vec<u64> {
    plan.samples.iter().map(|slot| slot.id).collect()
}

#[test]
fn a_group_computes_and_stores_its_prompt_once() {
    let mut scheduler = scheduler(64, 512, 512);
    for id in 0..4 {
        // 64 tokens fill four pages, the last ten lie in a fifth.
        scheduler.submit(request(id, 74, 5, Some(1))).unwrap();
    }
    let first = step(&mut scheduler);
    assert_eq!((first.inputs.tokens.len(), sampled_ids(&first)), (74, vec![0]));
    let second = step(&mut scheduler);
    // The first one decodes; the others feed only the prompt's last token, each into its own copy of the fifth page.
    assert_eq!((second.inputs.tokens.len(), second.copies.len()), (4, 3));
    assert_eq!(sampled_ids(&second), [0, 1, 2, 3]);
    assert_eq!(scheduler.pages_free(), 64 - 4 - 4);
    while !scheduler.is_idle() {
        step(&mut scheduler);
    }
    assert_eq!(scheduler.pages_free(), 64);
}

#[test]
fn another_prompt_of_the_group_is_not_shared() {
    let mut scheduler = scheduler(64, 512, 512);
    scheduler.submit(request(0, 40, 5, Some(1))).unwrap();
    scheduler.submit(SequenceRequest { prompt: vec![2; 40], ..request(1, 40, 5, Some(1)) }).unwrap();
    scheduler.submit(request(2, 40, 5, Some(2))).unwrap();
    assert_eq!(step(&mut scheduler).inputs.tokens.len(), 120);
}

#[test]
fn decode_rows_go_on_beside_the_chunks_of_a_long_prompt() {
    let mut scheduler = scheduler(64, 8, 12);
    scheduler.submit(request(0, 3, 20, None)).unwrap();
    step(&mut scheduler);
    scheduler.submit(request(1, 30, 20, None)).unwrap();
    let chunks: Vec<usize> = (0..5).map(|_| step(&mut scheduler).inputs.tokens.len()).collect();
    assert_eq!(chunks, [9, 9, 9, 7, 2]);
}

#[test]
fn the_youngest_gives_way_and_the_longest_comes_back_first() {
    let mut scheduler = scheduler(8, 512, 512);
    for id in 0..3 {
        scheduler.submit(request(id, 16, 100, None)).unwrap();
    }
    let mut sampled = [0; 3];
    // Each of three needs a third page: there are eight.
    while scheduler.preemptions() == 0 {
        for id in sampled_ids(&step(&mut scheduler)) {
            sampled[id as usize] += 1;
        }
    }
    assert_eq!(sampled, [18, 18, 17]);
    scheduler.submit(request(3, 1, 5, None)).unwrap();
    assert!(scheduler.cancel(1).is_some());
    let plan = step(&mut scheduler);
    // Request 2 feeds its prompt and all that it had sampled. One page is kept for each of the two, so the newcomer waits.
    assert_eq!(sampled_ids(&plan), [0, 2]);
    assert_eq!(plan.inputs.tokens.len(), 1 + (16 + 17));
}

#[test]
fn cancelling_frees_pages_at_once() {
    let mut scheduler = scheduler(8, 512, 512);
    scheduler.submit(request(0, 40, 10, Some(1))).unwrap();
    step(&mut scheduler);
    assert_eq!(scheduler.pages_free(), 5);
    assert!(scheduler.cancel(0).is_some());
    assert_eq!((scheduler.pages_free(), scheduler.cancel(0)), (8, None));
    assert!(!scheduler.plan(&mut StepPlan::default()));
}

#[test]
#[should_panic(expected = "page 0 is released while free")]
fn a_page_is_freed_once() {
    let mut pages = PageAllocator::new(2);
    let page = pages.allocate().unwrap();
    pages.retain(page);
    pages.release(page);
    pages.release(page);
    pages.release(page);
}
