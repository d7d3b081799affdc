//! One sequence of 32,768 tokens: a step trains on it within a limit on memory, and its scores are those of decode, bit for bit.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod tiny;

use gradus_cpu::CpuBackend;
use gradus_model::{
    KvCache, Model, ModelConfig, PagedInputs, PagedWorkspace, Recompute, SampleLimits, SampleRow, Sampled, Score,
    ScoreRow, TokenBatch, TrainingWorkspace,
};
use gradus_ops::{KEY_SPLIT, PAGE_TOKENS, Precision};
use gradus_testing::integers;
use gradus_train::{StepOptions, Trainer};
use tiny::{VOCAB, backend, batch, options, weight_bits};

const TOKENS: usize = 32_768;
/// Of a prompt whose response goes on over a border between two splits of the keys.
const PROMPT: usize = 2 * KEY_SPLIT - 3;
const RESPONSE: usize = 8;
const PREFILL: usize = 512;
const LAYERS: usize = 2;

fn long_model(precision: Precision) -> Model<CpuBackend> {
    let text = serde_json::json!({
        "architectures": ["Qwen3ForCausalLM"], "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": LAYERS, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
        "max_position_embeddings": TOKENS, "tie_word_embeddings": true, "initializer_range": 0.1
    });
    Model::random(ModelConfig::from_json(&text.to_string()).unwrap(), backend(), 5, precision).unwrap()
}

/// Runs `tokens[cached..]` and draws the next token.
fn draw(
    model: &Model<CpuBackend>,
    tokens: &[u32],
    cached: usize,
    cache: &mut KvCache<CpuBackend>,
    workspace: &mut PagedWorkspace<CpuBackend>,
) -> Sampled {
    let pages = cache.pages();
    for first in (cached..tokens.len()).step_by(PREFILL) {
        let end = tokens.len().min(first + PREFILL);
        let positions: Vec<u32> = (first as u32..end as u32).collect();
        let inputs = PagedInputs {
            tokens: tokens[first..end].to_vec(),
            sequences: vec![0; end - first],
            // Pages lie in the opposite order.
            slots: positions.iter().map(|&p| ((pages - 1) * PAGE_TOKENS) as u32 - p / 16 * 16 + p % 16).collect(),
            page_table: (0..pages as u32).rev().collect(),
            pages_max: pages,
            logit_rows: if end == tokens.len() { vec![(end - first) as u32 - 1] } else { Vec::new() },
            positions,
        };
        model.forward_paged(&inputs, cache, workspace).unwrap();
    }
    let (position, limits) = (tokens.len() as u32, SampleLimits::NONE);
    let row = SampleRow { inv_t: 1.25, greedy: false, key: 3, stream: 4, position, limits };
    model.sample_rows(workspace, &[row], &[], &[]).unwrap()[0]
}

#[test]
fn scores_of_a_long_sequence_are_those_of_decode() {
    for precision in [Precision::F32, Precision::Bf16] {
        let model = long_model(precision);
        let mut tokens = integers(1, PROMPT, VOCAB);
        let mut cache = KvCache::new(&model, (PROMPT + RESPONSE).div_ceil(PAGE_TOKENS)).unwrap();
        let (mut workspace, mut cached, mut drawn) = (PagedWorkspace::new(), 0, Vec::new());
        for _ in 0..RESPONSE {
            let sampled = draw(&model, &tokens, cached, &mut cache, &mut workspace);
            cached = tokens.len();
            tokens.push(sampled.id);
            drawn.push(Score { logprob: sampled.logprob, entropy: sampled.entropy });
        }
        tokens.extend(integers(2, TOKENS - tokens.len(), VOCAB));
        let row = |row: usize| ScoreRow { row: row as u32, target: tokens[row + 1], inv_t: 1.25 };
        let rows: Vec<ScoreRow> = (PROMPT - 1..PROMPT - 1 + RESPONSE).map(row).collect();
        // Room for some 2,000 tokens in a chunk of the MLP.
        let mut workspace = TrainingWorkspace::recomputing(Recompute::Layer).with_mlp_bytes(4 << 20);
        model.forward(&TokenBatch::pack([&tokens]), &mut workspace).unwrap();
        assert_eq!(model.score_rows(&rows, &mut workspace).unwrap(), drawn, "{}", precision.name());
    }
}

#[test]
fn a_step_trains_on_a_long_sequence_within_its_memory() {
    const BYTES: u64 = 128 << 20;
    let mut model = long_model(Precision::F32);
    let before = weight_bits(&model);
    let mut trainer = Trainer::new();
    trainer.limit_activations(BYTES);
    let options = StepOptions { micro_batch_tokens: TOKENS, ..options() };
    let metrics = trainer.step(&mut model, &batch(1, &[TOKENS]), &options).unwrap();
    assert_eq!((metrics.skipped, metrics.trained_tokens), (None, TOKENS - 1));
    assert!((metrics.loss - f64::from(VOCAB).ln()).abs() < 0.5, "loss {}", metrics.loss);
    assert!(metrics.grad_norm.is_finite() && weight_bits(&model) != before);
    assert!(trainer.memory().activations <= BYTES && trainer.recomputed_layers() == (0, LAYERS));
}
