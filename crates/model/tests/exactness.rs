//! The sampler's logprob is the trainer's and `score`'s, bit for bit, whatever the batch, the prefill chunks, the
//! threads and the instruction level.

use std::sync::Arc;

use gradus_cpu::{CpuBackend, Level};
use gradus_model::{
    KvCache, LossRow, Model, ModelConfig, PagedInputs, PagedWorkspace, SampleLimits, SampleRow, Sampled, Score,
    ScoreRow, TokenBatch, TrainingWorkspace, stream,
};
use gradus_ops::{PAGE_TOKENS, Precision};
use gradus_testing::integers;

const SEED: u64 = 11;
const NEW_TOKENS: usize = 20;
const PAGES_MAX: usize = 8;

/// Some more than a block of 64 keys, with odd sizes and tails.
const PROMPTS: [usize; 5] = [1, 17, 75, 30, 64];
const TEMPERATURES: [f64; 5] = [0.85, 1.0, 0.6, 0.0, 1.3];

fn config(architecture: &str) -> ModelConfig {
    let text = serde_json::json!({
        "architectures": [architecture], "vocab_size": 307, "hidden_size": 72, "intermediate_size": 88,
        "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16,
        "max_position_embeddings": 128, "initializer_range": 0.15
    });
    ModelConfig::from_json(&text.to_string()).expect("a good config")
}

fn random(architecture: &str, threads: usize, precision: Precision) -> Model<CpuBackend> {
    random_on(architecture, CpuBackend::new(Some(threads)).expect("a backend"), precision)
}

fn random_on(architecture: &str, backend: CpuBackend, precision: Precision) -> Model<CpuBackend> {
    Model::random(config(architecture), Arc::new(backend), SEED, precision).expect("a model")
}

/// One sequence on its way: what it holds, how much of it is in the cache, and what was drawn.
struct Sequence {
    number: usize,
    tokens: Vec<u32>,
    prompt: usize,
    cached: usize,
    drawn: Vec<Sampled>,
}

impl Sequence {
    fn new(number: usize) -> Sequence {
        let tokens = integers(number as u64, PROMPTS[number], 307);
        Sequence { number, prompt: tokens.len(), tokens, cached: 0, drawn: Vec::new() }
    }

    fn inv_t(&self) -> f32 {
        let temperature = TEMPERATURES[self.number];
        if temperature == 0.0 { 1.0 } else { (1.0 / temperature) as f32 }
    }

    fn sample_row(&self) -> SampleRow {
        SampleRow {
            inv_t: self.inv_t(),
            greedy: TEMPERATURES[self.number] == 0.0,
            key: SEED,
            stream: stream("rollout", 1, 1, b"prompt", self.number as u64, 0),
            position: self.tokens.len() as u32,
            limits: SampleLimits::NONE,
        }
    }

    /// Adds its next at most `chunk` tokens to a step; true where the step gives it a token.
    fn add_to(&self, row: usize, chunk: usize, inputs: &mut PagedInputs) -> bool {
        let end = (self.cached + chunk).min(self.tokens.len());
        for position in self.cached..end {
            // Pages in an order of their own, so that a page is not where its position says.
            let page = self.number * PAGES_MAX + (PAGES_MAX - 1 - position / PAGE_TOKENS);
            inputs.tokens.push(self.tokens[position]);
            inputs.positions.push(position as u32);
            inputs.sequences.push(row as u32);
            inputs.slots.push((page * PAGE_TOKENS + position % PAGE_TOKENS) as u32);
        }
        inputs.page_table.extend((0..PAGES_MAX).rev().map(|page| (self.number * PAGES_MAX + page) as u32));
        if end == self.tokens.len() {
            inputs.logit_rows.push(inputs.tokens.len() as u32 - 1);
        }
        end == self.tokens.len()
    }
}

/// Generates the sequences of `group` together, prefilling at most `chunk` tokens of each in a step.
fn generate(model: &Model<CpuBackend>, group: &[usize], chunk: usize) -> Vec<Sequence> {
    let mut cache = KvCache::new(model, PROMPTS.len() * PAGES_MAX).expect("a cache");
    let mut workspace = PagedWorkspace::new();
    let mut sequences: Vec<Sequence> = group.iter().map(|&number| Sequence::new(number)).collect();
    while sequences.iter().any(|sequence| sequence.drawn.len() < NEW_TOKENS) {
        let mut inputs = PagedInputs { pages_max: PAGES_MAX, ..PagedInputs::default() };
        let mut sampled_rows = Vec::new();
        let mut active: Vec<&mut Sequence> = sequences.iter_mut().filter(|s| s.drawn.len() < NEW_TOKENS).collect();
        for (row, sequence) in active.iter_mut().enumerate() {
            if sequence.add_to(row, chunk, &mut inputs) {
                sampled_rows.push(row);
            }
            sequence.cached = (sequence.cached + chunk).min(sequence.tokens.len());
        }
        model.forward_paged(&inputs, &mut cache, &mut workspace).expect("forward");
        let rows: Vec<SampleRow> = sampled_rows.iter().map(|&row| active[row].sample_row()).collect();
        let drawn = model.sample_rows(&mut workspace, &rows, &[], &[]).expect("samples");
        for (row, &sampled) in sampled_rows.into_iter().zip(drawn) {
            active[row].tokens.push(sampled.id);
            active[row].drawn.push(sampled);
        }
    }
    sequences
}

/// Rows of the drawn tokens of `sequences`, packed one after another.
fn score_rows_of(sequences: &[&Sequence]) -> (TokenBatch, Vec<ScoreRow>) {
    let batch = TokenBatch::pack(sequences.iter().map(|sequence| &sequence.tokens));
    let mut rows = Vec::new();
    for (sequence, start) in sequences.iter().zip(&batch.cu_seqlens) {
        for position in sequence.prompt..sequence.tokens.len() {
            let row = start + position as u32 - 1;
            rows.push(ScoreRow { row, target: sequence.tokens[position], inv_t: sequence.inv_t() });
        }
    }
    (batch, rows)
}

fn score(model: &Model<CpuBackend>, sequences: &[&Sequence]) -> Vec<Score> {
    let (batch, rows) = score_rows_of(sequences);
    let mut workspace = TrainingWorkspace::new();
    model.forward(&batch, &mut workspace).expect("forward");
    model.score_rows(&rows, &mut workspace).expect("scores")
}

fn drawn_scores(sequences: &[&Sequence]) -> Vec<Score> {
    let drawn = sequences.iter().flat_map(|sequence| &sequence.drawn);
    drawn.map(|sampled| Score { logprob: sampled.logprob, entropy: sampled.entropy }).collect()
}

#[test]
fn what_the_sampler_reports_is_what_score_and_the_loss_compute() {
    for precision in Precision::ALL {
        for architecture in ["Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"] {
            check_scores(architecture, precision);
        }
    }
}

fn check_scores(architecture: &str, precision: Precision) {
    let model = random(architecture, 2, precision);
    let what = format!("{architecture} in {}", precision.name());
    let sequences = generate(&model, &[0, 1, 2, 3, 4], 33);
    let in_order: Vec<&Sequence> = sequences.iter().collect();
    assert_eq!(score(&model, &in_order), drawn_scores(&in_order), "{what}");
    let shuffled = [in_order[3], in_order[0], in_order[4], in_order[2]];
    assert_eq!(score(&model, &shuffled), drawn_scores(&shuffled), "{what}, another batch");
    for sequence in in_order {
        assert_eq!(score(&model, &[sequence]), drawn_scores(&[sequence]), "{what}, alone");
    }
    if precision != Precision::Q8 {
        check_loss(&model, &shuffled);
    }
}

fn check_loss(model: &Model<CpuBackend>, sequences: &[&Sequence]) {
    let (batch, rows) = score_rows_of(sequences);
    let rows: Vec<LossRow> = rows
        .iter()
        .map(|row| LossRow { row: row.row, target: row.target, weight: 0.25, inv_t: row.inv_t, old_logprob: None })
        .collect();
    let mut workspace = TrainingWorkspace::new();
    let mut gradients = model.parameters.like(&model.backend).expect("gradients");
    model.forward(&batch, &mut workspace).expect("forward");
    let sums = model.loss_backward(&batch, &rows, None, &mut gradients, &mut workspace).expect("backward");
    let expected = drawn_scores(sequences);
    assert_eq!(sums.logprobs, expected.iter().map(|score| score.logprob).collect::<Vec<_>>());
    assert_eq!(sums.entropies, expected.iter().map(|score| score.entropy).collect::<Vec<_>>());
}

#[test]
fn batches_prefill_chunks_threads_and_levels_change_no_bit() {
    for precision in Precision::ALL {
        check_ways(precision);
    }
}

fn check_ways(precision: Precision) {
    const FAMILY: &str = "Qwen3ForCausalLM";
    let all = [0, 1, 2, 3, 4];
    let reference = generate(&random(FAMILY, 1, precision), &all, 128);
    let check = |sequences: Vec<Sequence>, what: &str| {
        for sequence in sequences {
            let (expected, what) = (&reference[sequence.number], format!("{}, {what}", precision.name()));
            assert_eq!(sequence.tokens, expected.tokens, "{what}: tokens of sequence {}", sequence.number);
            assert_eq!(sequence.drawn, expected.drawn, "{what}: draws of sequence {}", sequence.number);
        }
    };
    for threads in 1..=4 {
        let model = random(FAMILY, threads, precision);
        check(generate(&model, &all, 128), &format!("{threads} threads"));
        check(generate(&model, &[4, 2], 16), &format!("{threads} threads, two sequences"));
    }
    let model = random(FAMILY, 2, precision);
    for chunk in [1, 7, 16, 64, 65] {
        check(generate(&model, &all, chunk), &format!("chunks of {chunk}"));
    }
    for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
        let backend = CpuBackend::with_level(level, Some(2)).expect("a backend");
        check(generate(&random_on(FAMILY, backend, precision), &all, 128), level.name());
    }
    for number in all {
        check(generate(&model, &[number], 40), "alone");
    }
}

#[test]
fn the_entropy_at_temperature_one_is_that_of_a_score_at_one() {
    let model = random("LlamaForCausalLM", 2, Precision::F32);
    let sequences = generate(&model, &[0, 2], 64);
    let in_order: Vec<&Sequence> = sequences.iter().collect();
    let (batch, mut rows) = score_rows_of(&in_order);
    for row in &mut rows {
        row.inv_t = 1.0;
    }
    let mut workspace = TrainingWorkspace::new();
    model.forward(&batch, &mut workspace).expect("forward");
    let entropies: Vec<f32> =
        model.score_rows(&rows, &mut workspace).expect("scores").iter().map(|score| score.entropy).collect();
    let raw: Vec<f32> = in_order.iter().flat_map(|s| &s.drawn).map(|sampled| sampled.entropy_raw).collect();
    assert_eq!(entropies, raw);
}
