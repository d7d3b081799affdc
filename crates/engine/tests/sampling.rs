//! Limits, penalties and bias of a request: what is drawn against a reference, and that nothing else sees them.

// A test's own steps may fail loudly.
#![allow(clippy::unwrap_used)]

mod fixture;

use fixture::{Outcome, VOCAB, alone, generate, model, requests, score};
use gradus_cpu::CpuBackend;
use gradus_engine::{Engine, EngineOptions, Request, SamplingOptions};
use gradus_model::{Model, ScoreRow, TokenBatch, TrainingWorkspace};
use gradus_ops::philox::{number, uniform};
use std::collections::BTreeMap;

const ARCHITECTURE: &str = "Qwen3ForCausalLM";
const OPTIONS: EngineOptions = EngineOptions { pages: 1024, prefill_chunk: 512, max_batch_tokens: 512 };

/// Settings of all kinds, one a request in turn.
fn kinds() -> Vec<SamplingOptions> {
    let plain = SamplingOptions::default();
    vec![
        SamplingOptions { top_k: 7, ..plain.clone() },
        plain.clone(),
        SamplingOptions { top_p: 0.8, min_p: 0.05, ..plain.clone() },
        SamplingOptions { presence_penalty: 0.7, frequency_penalty: 0.4, ..plain.clone() },
        SamplingOptions { logit_bias: vec![(5, 3.0), (9, f64::NEG_INFINITY), (0, -1.5)], ..plain.clone() },
        SamplingOptions { repetition_penalty: 1.3, top_k: 40, ..plain.clone() },
        SamplingOptions { top_k: 50, top_p: 0.95, frequency_penalty: -0.5, logit_bias: vec![(17, 2.0)], ..plain },
    ]
}

fn mixed_requests(n: usize) -> Vec<Request> {
    let kinds = kinds();
    let mut requests = requests(n);
    for (index, request) in requests.iter_mut().enumerate() {
        request.sampling = kinds[index % kinds.len()].clone();
        (request.temperature, request.max_tokens) = ([1.0, 0.7, 1.3, 0.0, 1.0][index % 5], 30);
        request.stop_tokens.clear();
    }
    requests
}

fn outcome_of(model: &Model<CpuBackend>, request: &Request, sampling: SamplingOptions) -> Outcome {
    alone(model, &Request { sampling, ..request.clone() })
}

/// log softmax at T = 1 over the vocabulary, at each token of the response.
fn log_probabilities(model: &Model<CpuBackend>, request: &Request, outcome: &Outcome) -> Vec<Vec<f64>> {
    let batch = TokenBatch::pack([[request.prompt.as_slice(), &outcome.tokens].concat()]);
    let mut workspace = TrainingWorkspace::new();
    model.forward(&batch, &mut workspace).unwrap();
    let first = request.prompt.len() - 1;
    let mut by_target: Vec<Vec<f64>> = vec![Vec::new(); outcome.tokens.len()];
    for target in 0..VOCAB {
        let row = |place: usize| ScoreRow { row: (first + place) as u32, target, inv_t: 1.0 };
        let rows: Vec<ScoreRow> = (0..outcome.tokens.len()).map(row).collect();
        let scores = model.score_rows(&rows, &mut workspace).unwrap();
        by_target.iter_mut().zip(scores).for_each(|(row, score)| row.push(f64::from(score.logprob)));
    }
    by_target
}

/// The token that a sampler in f64, which sorts, draws next after `response`.
fn reference_draw(logits: &[f64], request: &Request, response: &[u32]) -> usize {
    let options = &request.sampling;
    let mut z = logits.to_vec();
    options.logit_bias.iter().for_each(|&(token, bias)| z[token as usize] += bias);
    for (token, z) in z.iter_mut().enumerate() {
        let count = response.iter().filter(|&&seen| seen as usize == token).count() as f64;
        *z -= options.frequency_penalty * count + if count > 0.0 { options.presence_penalty } else { 0.0 };
    }
    let mut order: Vec<usize> = (0..z.len()).collect();
    order.sort_by(|a, b| z[*b].total_cmp(&z[*a]));
    if request.temperature == 0.0 {
        return order[0];
    }
    if options.top_k > 0 {
        order.truncate(options.top_k as usize);
    }
    let largest = z[order[0]];
    let share = |token: usize| ((z[token] - largest) / request.temperature).exp();
    let total: f64 = order.iter().map(|&token| share(token)).sum();
    let mut mass = 0.0;
    order.retain(|&token| {
        let before = mass;
        mass += share(token) / total;
        (options.top_p >= 1.0 || before < options.top_p) && share(token) >= options.min_p
    });
    order.sort_unstable();
    let kept: f64 = order.iter().map(|&token| share(token)).sum();
    let position = (request.prompt.len() + response.len()) as u32;
    let goal = f64::from(uniform(number(request.key, request.stream, position, 0)[0])) * kept;
    let mut running = 0.0;
    let drawn = order.iter().copied().find(|&token| {
        running += share(token);
        running > goal
    });
    drawn.unwrap_or(order[order.len() - 1])
}

#[test]
fn tokens_are_those_of_a_reference_sampler() {
    let model = model(ARCHITECTURE, 2, 1);
    let requests = mixed_requests(35);
    let outcomes = generate(&model, &requests, OPTIONS);
    let (mut tokens, mut differing) = (0, 0);
    // A repetition penalty looks at the logit itself, which no logprob tells: its arithmetic is tested in the op.
    for request in requests.iter().filter(|request| request.sampling.repetition_penalty == 1.0) {
        let outcome = &outcomes[&request.id];
        for (place, logits) in log_probabilities(&model, request, outcome).iter().enumerate() {
            let expected = reference_draw(logits, request, &outcome.tokens[..place]);
            tokens += 1;
            differing += usize::from(expected != outcome.tokens[place] as usize);
        }
    }
    // Only where the random number lies within rounding of a border.
    assert!(tokens > 800 && differing <= 1, "{differing} of {tokens} tokens differ from the reference");
}

#[test]
fn reported_numbers_are_those_of_score_whatever_the_limits() {
    let model = model(ARCHITECTURE, 2, 1);
    let requests = mixed_requests(35);
    for (id, outcome) in generate(&model, &requests, OPTIONS) {
        let request = &requests[id as usize];
        assert_eq!(score(&model, request, &outcome), outcome.scores(), "{:?}", request.sampling);
    }
}

#[test]
fn batches_threads_and_preemptions_do_not_change_a_token() {
    let all = mixed_requests(28);
    let reference = model(ARCHITECTURE, 1, 1);
    let expected: BTreeMap<u64, Outcome> = all.iter().map(|request| (request.id, alone(&reference, request))).collect();
    for threads in [1, 3] {
        let model = model(ARCHITECTURE, threads, 1);
        for size in [1, 4, 28] {
            for batch in all.chunks(size) {
                for (id, outcome) in generate(&model, batch, OPTIONS) {
                    assert_eq!(outcome, expected[&id], "{size} requests at once, {threads} threads, request {id}");
                }
            }
        }
        let (outcomes, preemptions) =
            fixture::generate_counting(&model, &all, EngineOptions { pages: 8, prefill_chunk: 9, ..OPTIONS });
        assert_eq!(outcomes, expected);
        assert!(preemptions >= 5, "only {preemptions} preemptions were tested");
    }
}

#[test]
fn a_repetition_penalty_counts_prompt_and_response_the_others_the_response_alone() {
    let model = model(ARCHITECTURE, 2, 1);
    let plain = SamplingOptions::default();
    let request = Request { temperature: 0.0, max_tokens: 40, stop_tokens: vec![], ..requests(1)[0].clone() };
    let seen = request.prompt[3];
    let repeats = |outcome: &Outcome| {
        let mut tokens = outcome.tokens.clone();
        tokens.sort_unstable();
        tokens.windows(2).any(|pair| pair[0] == pair[1])
    };
    assert!(repeats(&outcome_of(&model, &request, plain.clone())), "without penalties this response repeats itself");
    let penalised = outcome_of(&model, &request, SamplingOptions { repetition_penalty: 100.0, ..plain.clone() });
    assert!(!repeats(&penalised));
    assert!(!penalised.tokens.iter().any(|token| request.prompt.contains(token)));
    for penalty in [
        SamplingOptions { presence_penalty: 5000.0, ..plain.clone() },
        SamplingOptions { frequency_penalty: 5000.0, ..plain.clone() },
    ] {
        // A token of the prompt, made the likeliest, comes once: only then is it in the response.
        let outcome = outcome_of(&model, &request, SamplingOptions { logit_bias: vec![(seen, 1000.0)], ..penalty });
        assert_eq!(outcome.tokens[0], seen);
        assert!(!repeats(&outcome));
    }
}

#[test]
fn a_bias_forbids_or_forces_and_an_empty_one_does_nothing() {
    let model = model(ARCHITECTURE, 2, 1);
    let request = Request { max_tokens: 60, stop_tokens: vec![], ..requests(1)[0].clone() };
    let free = outcome_of(&model, &request, SamplingOptions::default());
    let forbidden = free.tokens[0];
    let bias = |logit_bias| SamplingOptions { logit_bias, ..SamplingOptions::default() };
    let without = outcome_of(&model, &request, bias(vec![(forbidden, f64::NEG_INFINITY)]));
    assert!(!without.tokens.contains(&forbidden));
    assert_eq!(outcome_of(&model, &request, bias(vec![(11, 1e4)])).tokens, vec![11; 60]);
    assert_eq!(outcome_of(&model, &request, bias(vec![])), free);
    assert_eq!(outcome_of(&model, &request, bias(vec![(3, 0.0)])).tokens, free.tokens);
}

#[test]
fn meaningless_options_are_refused_by_name() {
    let model = model(ARCHITECTURE, 1, 1);
    let mut engine = Engine::new(&model, OPTIONS).unwrap();
    let plain = SamplingOptions::default();
    let refusals = [
        (SamplingOptions { top_p: 0.0, ..plain.clone() }, "top_p is 0, expected a number above 0 and at most 1"),
        (SamplingOptions { top_p: 1.01, ..plain.clone() }, "top_p is 1.01"),
        (SamplingOptions { top_p: f64::NAN, ..plain.clone() }, "top_p is NaN"),
        (SamplingOptions { min_p: -0.1, ..plain.clone() }, "min_p is -0.1, expected a number from 0 to 1"),
        (SamplingOptions { repetition_penalty: f64::INFINITY, ..plain.clone() }, "repetition_penalty is inf"),
        (SamplingOptions { repetition_penalty: 0.0, ..plain.clone() }, "expected a number from 0.01 to 100"),
        (SamplingOptions { presence_penalty: f64::INFINITY, ..plain.clone() }, "presence_penalty is inf"),
        (SamplingOptions { frequency_penalty: f64::NAN, ..plain.clone() }, "frequency_penalty is NaN"),
        (SamplingOptions { logit_bias: vec![(1, f64::INFINITY)], ..plain.clone() }, "logit_bias is inf"),
        (SamplingOptions { logit_bias: vec![(VOCAB, 1.0)], ..plain.clone() }, "logit_bias names token 211"),
        (
            SamplingOptions { logit_bias: (0..VOCAB).map(|id| (id, f64::NEG_INFINITY)).collect(), ..plain },
            "logit_bias forbids every token",
        ),
    ];
    for (sampling, expected) in refusals {
        let message = engine.submit(Request { sampling, ..requests(1)[0].clone() }).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert!(engine.is_idle());
}
