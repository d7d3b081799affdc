//! What happens to requests around their tokens: refusals, cancellation, changed weights, failing steps.

// A test's own steps may fail loudly.
#![allow(clippy::unwrap_used)]

mod fixture;

use fixture::{POSITIONS, VOCAB, alone, model, requests, run};
use gradus_engine::{Engine, EngineOptions, Error, Finish, Request, SamplingOptions, TokenEvent};
use gradus_ops::Backend;

const ARCHITECTURE: &str = "Qwen2ForCausalLM";
const OPTIONS: EngineOptions = EngineOptions { pages: 64, prefill_chunk: 16, max_batch_tokens: 64 };

#[test]
fn impossible_requests_are_refused_by_name() {
    let model = model(ARCHITECTURE, 1, 1);
    let small = EngineOptions { pages: 4, ..OPTIONS };
    let mut engine = Engine::new(&model, small).unwrap();
    let good = Request { prompt: vec![1, 2, 3], max_tokens: 8, temperature: 1.0, ..requests(1)[0].clone() };
    let refusals = [
        (Request { prompt: vec![], ..good.clone() }, "the prompt is empty"),
        (Request { max_tokens: 0, ..good.clone() }, "max_tokens is 0"),
        (
            Request { prompt: vec![1, VOCAB], ..good.clone() },
            "prompt token 1 is 211, ids must be below vocab_size = 211",
        ),
        (Request { max_tokens: POSITIONS - 2, ..good.clone() }, "exceed max_position_embeddings = 192"),
        (Request { max_tokens: usize::MAX, ..good.clone() }, "exceed max_position_embeddings = 192"),
        (Request { max_tokens: 63, ..good.clone() }, "needs 5 KV pages, there are 4 in all"),
        (Request { temperature: -0.5, ..good.clone() }, "temperature is -0.5"),
        (Request { temperature: f64::NAN, ..good.clone() }, "temperature is NaN"),
        (Request { temperature: 9e-5, ..good.clone() }, "temperature is 0.00009"),
    ];
    for (request, expected) in refusals {
        let message = engine.submit(request).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert!(engine.is_idle());
    engine.submit(Request { max_tokens: 62, ..good.clone() }).unwrap();
    assert!(matches!(engine.submit(good), Err(Error::DuplicateId { id: 0 })));
    let no_chunk = EngineOptions { prefill_chunk: 0, ..OPTIONS };
    assert!(matches!(Engine::new(&model, no_chunk), Err(Error::Options { option: "prefill_chunk" })));
}

#[test]
fn cancelling_frees_pages_at_once_and_leaves_the_others_alone() {
    let model = model(ARCHITECTURE, 2, 1);
    let requests = requests(12);
    let mut engine = Engine::new(&model, OPTIONS).unwrap();
    for request in &requests {
        engine.submit(request.clone()).unwrap();
    }
    let mut early: Vec<TokenEvent> = Vec::new();
    for _ in 0..3 {
        early.extend(engine.step(&model).unwrap());
    }
    // Leaders and followers of a group, running and waiting ones.
    let cancelled = [0, 5, 8, 11];
    for id in cancelled {
        let still_live = !early.iter().any(|event| event.id == id && event.finish.is_some());
        assert_eq!(engine.cancel(id), still_live.then_some(Finish::Abort));
        assert_eq!(engine.cancel(id), None);
    }
    let late = run_from(&mut engine, &model);
    assert_eq!(engine.pages_free(), OPTIONS.pages);
    for request in requests.iter().filter(|request| !cancelled.contains(&request.id)) {
        let mut tokens: Vec<u32> =
            early.iter().filter(|event| event.id == request.id).map(|event| event.token).collect();
        tokens.extend(late.iter().filter(|event| event.id == request.id).map(|event| event.token));
        assert_eq!(tokens, alone(&model, request).tokens, "request {}", request.id);
    }
    assert!(!late.iter().any(|event| cancelled.contains(&event.id)));
}

fn run_from(
    engine: &mut Engine<gradus_cpu::CpuBackend>,
    model: &gradus_model::Model<gradus_cpu::CpuBackend>,
) -> Vec<TokenEvent> {
    let mut events = Vec::new();
    while !engine.is_idle() {
        events.extend(engine.step(model).unwrap());
    }
    events
}

#[test]
fn nothing_of_the_old_weights_is_read_after_a_change() {
    let old = model(ARCHITECTURE, 2, 1);
    let mut new = model(ARCHITECTURE, 2, 2);
    new.version = old.version + 1;
    let mut requests = requests(8);
    for request in &mut requests {
        request.max_tokens = 12;
        request.stop_tokens.clear();
    }
    let mut engine = Engine::new(&old, OPTIONS).unwrap();
    for request in &requests[..6] {
        engine.submit(request.clone()).unwrap();
    }
    let mut first: Vec<TokenEvent> = Vec::new();
    for _ in 0..5 {
        first.extend(engine.step(&old).unwrap());
    }
    // These find the prompt of their group, computed with the old weights.
    for request in &requests[6..] {
        engine.submit(request.clone()).unwrap();
    }
    let rest = run(&mut engine, &new);
    for request in &requests {
        // What was sampled before belongs to the prompt as the new weights see it.
        let before: Vec<u32> = first.iter().filter(|event| event.id == request.id).map(|event| event.token).collect();
        let prompt = [request.prompt.as_slice(), &before].concat();
        let continued = Request { prompt, max_tokens: 12 - before.len(), ..request.clone() };
        assert_eq!(rest[&request.id], alone(&new, &continued), "request {}", request.id);
    }
}

#[test]
fn a_request_whose_logits_are_not_finite_ends_alone() {
    let mut model = model("LlamaForCausalLM", 2, 1);
    assert!(!model.config.tie_word_embeddings, "a damaged embedding would be a damaged head");
    let (damaged, hurt) = (VOCAB - 1, 5);
    let width = model.config.hidden_size;
    let embedding = &mut model.parameters.list[0].weight;
    model.backend.load_row_major(embedding, damaged as usize, &vec![f32::NAN; width]).unwrap();
    let never = SamplingOptions { logit_bias: vec![(damaged, f64::NEG_INFINITY)], ..SamplingOptions::default() };
    let mut requests: Vec<Request> =
        requests(12).into_iter().map(|request| Request { sampling: never.clone(), ..request }).collect();
    requests.iter_mut().flat_map(|request| &mut request.prompt).for_each(|token| *token %= damaged);
    requests[hurt].prompt[0] = damaged;
    requests[hurt].group = None;
    let mut engine = Engine::new(&model, OPTIONS).unwrap();
    for request in &requests {
        engine.submit(request.clone()).unwrap();
    }
    let (mut events, mut failed): (Vec<TokenEvent>, Vec<u64>) = (Vec::new(), Vec::new());
    while !engine.is_idle() {
        events.extend(engine.step(&model).unwrap());
        failed.extend(engine.failed());
    }
    assert_eq!(failed, [hurt as u64]);
    assert_eq!(engine.pages_free(), OPTIONS.pages);
    for request in requests.iter().filter(|request| request.id != hurt as u64) {
        let tokens: Vec<u32> = events.iter().filter(|event| event.id == request.id).map(|event| event.token).collect();
        assert_eq!(tokens, alone(&model, request).tokens, "request {}", request.id);
    }
}

#[test]
fn a_failed_step_loses_no_request() {
    let good = model(ARCHITECTURE, 1, 1);
    let mut broken = model(ARCHITECTURE, 1, 1);
    // One position fewer than the prompt has.
    broken.config.max_position_embeddings = 15;
    let request = requests(1).remove(0);
    let mut engine = Engine::new(&good, OPTIONS).unwrap();
    engine.submit(request.clone()).unwrap();
    assert!(engine.step(&broken).is_err());
    let outcomes = run(&mut engine, &good);
    assert_eq!(outcomes[&request.id], alone(&good, &request));
}
