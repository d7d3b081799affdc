//! What a layer does not keep for its backward is computed again to the same bits, on every instruction level; a limit on memory is kept or
//! refused by name.

use std::sync::Arc;

use gradus_cpu::{CpuBackend, Level};
use gradus_model::{Error, LossRow, LossSums, Model, ModelConfig, Recompute, TokenBatch, TrainingWorkspace};
use gradus_ops::{Backend, Precision};
use gradus_testing::integers;

const VOCAB: u32 = 97;
const LAYERS: usize = 3;
const HIDDEN: u64 = 40;
const FFN: u64 = 56;
/// More than a block of keys.
const FEW: &[usize] = &[70, 3];
/// Nearly what a workspace has room for, 256 tokens and as many rows of the head, so that it holds what its plan counted.
const FULL: &[usize] = &[120, 3, 128];
/// Several chunks of the MLP and a tail, in room for 256 tokens and as many rows of the head.
const LONG: &[usize] = &[120, 3, 90];

fn model(architecture: &str, level: Level, precision: Precision) -> Model<CpuBackend> {
    let text = serde_json::json!({
        "architectures": [architecture], "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": FFN,
        "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "max_position_embeddings": 128, "initializer_range": 0.15, "mlp_bias": true
    });
    let config = ModelConfig::from_json(&text.to_string()).expect("a good config");
    let backend = Arc::new(CpuBackend::with_level(level, Some(2)).expect("a backend"));
    Model::random(config, backend, 3, precision).expect("a model")
}

fn batch(lengths: &[usize]) -> (TokenBatch, Vec<LossRow>) {
    let sequences = lengths.iter().zip(1..).map(|(&length, seed)| integers(seed, length, VOCAB));
    let batch = TokenBatch::pack(sequences);
    let row = |row: u32| LossRow {
        row,
        target: batch.tokens[row as usize + 1],
        weight: if row.is_multiple_of(3) { -0.02 } else { 0.05 },
        inv_t: 1.25,
        old_logprob: None,
    };
    let rows = batch.cu_seqlens.windows(2).flat_map(|ends| ends[0]..ends[1] - 1).map(row).collect();
    (batch, rows)
}

/// Loss sums and the bits of every gradient.
fn gradients(
    model: &Model<CpuBackend>,
    lengths: &[usize],
    workspace: &mut TrainingWorkspace<CpuBackend>,
) -> Result<(LossSums, Vec<Vec<u32>>), Error> {
    let (batch, rows) = batch(lengths);
    let mut gradients = model.parameters.like(&model.backend)?;
    model.forward(&batch, workspace)?;
    let sums = model.loss_backward(&batch, &rows, None, &mut gradients, workspace)?.clone();
    let bits = gradients.list.iter().map(|parameter| {
        let mut values = vec![0.0_f32; parameter.rows * parameter.cols];
        model.backend.store_row_major(&parameter.weight, 0, &mut values).expect("values");
        values.into_iter().map(f32::to_bits).collect()
    });
    Ok((sums, bits.collect()))
}

#[test]
fn every_plan_gives_the_same_gradients_on_every_level() {
    for architecture in ["Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"] {
        for precision in [Precision::F32, Precision::Bf16] {
            let mut expected = None;
            for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
                let model = model(architecture, level, precision);
                for recompute in [Recompute::Nothing, Recompute::GateUp, Recompute::Layer] {
                    let mut workspace = TrainingWorkspace::recomputing(recompute);
                    let found = gradients(&model, FEW, &mut workspace).expect("a backward");
                    let again = gradients(&model, FEW, &mut workspace).expect("a backward");
                    assert_eq!(found, again, "the workspace keeps something of the pass before");
                    let what = format!("{architecture} in {} at {}, {recompute:?}", precision.name(), level.name());
                    let expected = expected.get_or_insert_with(|| found.clone());
                    assert_eq!(expected.0, found.0, "{what}");
                    assert!(expected.1 == found.1, "{what}: gradients differ");
                }
            }
        }
    }
}

#[test]
fn a_limit_is_kept_by_computing_more_again_and_changes_no_bit() {
    for precision in [Precision::F32, Precision::Bf16] {
        let model = model("Qwen3ForCausalLM", Level::Avx2, precision);
        let mut whole = TrainingWorkspace::new();
        let expected = gradients(&model, FULL, &mut whole).expect("a backward");
        let bytes_of = |recompute| {
            let mut workspace = TrainingWorkspace::recomputing(recompute);
            gradients(&model, FULL, &mut workspace).expect("a backward");
            workspace.bytes()
        };
        let (most, least) = (whole.bytes(), bytes_of(Recompute::Layer));
        assert!(bytes_of(Recompute::GateUp) < most && least < bytes_of(Recompute::GateUp));
        let mut plans = Vec::new();
        for limit in (least..=most).step_by(24 * 1024).chain([most]) {
            let mut workspace = TrainingWorkspace::limited(limit);
            assert!(gradients(&model, FULL, &mut workspace).expect("a backward") == expected, "limit {limit}");
            assert!(workspace.bytes() <= limit, "{} bytes held, limit {limit}", workspace.bytes());
            if plans.last().is_none_or(|plan: &Vec<Recompute>| plan != workspace.plan()) {
                plans.push(workspace.plan().to_vec());
            }
        }
        // The first layer of a kind only moves its memory into the shared set, so that plan never helps.
        assert_eq!(
            (plans.len(), plans.first(), plans.last()),
            (2 * LAYERS - 1, Some(&vec![Recompute::Layer; LAYERS]), Some(&vec![Recompute::Nothing; LAYERS]))
        );
        let refusal =
            gradients(&model, FULL, &mut TrainingWorkspace::limited(least - 1)).expect_err("one byte less").to_string();
        assert!(
            refusal.contains("a pass over 256 tokens takes") && refusal.contains("lower microBatchTokens"),
            "{refusal}"
        );
    }
}

/// Bytes of the MLP's values in a row, of which a chunk holds fewer rows, and of the stream that only chunks copy.
fn row_bytes(precision: Precision) -> (u64, u64) {
    let stored = precision.activations().bytes() as u64;
    (3 * FFN * (stored + 4), HIDDEN * (stored + 8))
}

#[test]
fn chunks_of_the_mlp_change_no_bit_on_any_level() {
    for architecture in ["Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"] {
        for precision in [Precision::F32, Precision::Bf16] {
            let (wide, stream) = row_bytes(precision);
            for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
                let model = model(architecture, level, precision);
                let expected = gradients(&model, LONG, &mut TrainingWorkspace::new()).expect("a backward");
                for (recompute, blocks) in [(Recompute::GateUp, 0), (Recompute::GateUp, 2), (Recompute::Layer, 1)] {
                    let bytes = blocks * 64 * (wide + stream);
                    let mut workspace = TrainingWorkspace::recomputing(recompute).with_mlp_bytes(bytes);
                    let found = gradients(&model, LONG, &mut workspace).expect("a backward");
                    let what = format!(
                        "{architecture} in {} at {}, {recompute:?}, chunks of {blocks} blocks",
                        precision.name(),
                        level.name()
                    );
                    assert_eq!(expected.0, found.0, "{what}");
                    assert!(expected.1 == found.1, "{what}: gradients differ");
                }
            }
        }
    }
}

#[test]
fn chunks_of_the_mlp_take_room_for_their_own_rows_alone() {
    for precision in [Precision::F32, Precision::Bf16] {
        let model = model("LlamaForCausalLM", Level::Avx2, precision);
        let bytes_of = |workspace: TrainingWorkspace<CpuBackend>| {
            let mut workspace = workspace;
            gradients(&model, LONG, &mut workspace).expect("a backward");
            workspace.bytes()
        };
        let (wide, stream) = row_bytes(precision);
        for recompute in [Recompute::GateUp, Recompute::Layer] {
            let whole = bytes_of(TrainingWorkspace::recomputing(recompute));
            for rows in [64, 128, 192] {
                let limit = (rows + 63) * (wide + stream);
                let chunked = bytes_of(TrainingWorkspace::recomputing(recompute).with_mlp_bytes(limit));
                assert_eq!(chunked + (256 - rows) * wide, whole + rows * stream, "{recompute:?}, {rows} rows");
            }
        }
        let kept = bytes_of(TrainingWorkspace::new());
        assert_eq!(bytes_of(TrainingWorkspace::new().with_mlp_bytes(0)), kept, "where nothing is computed again");
        // A limit that only chunks can keep.
        let least = bytes_of(TrainingWorkspace::recomputing(Recompute::Layer).with_mlp_bytes(0));
        assert_eq!(bytes_of(TrainingWorkspace::limited(least).with_mlp_bytes(0)), least);
        assert!(gradients(&model, LONG, &mut TrainingWorkspace::limited(least)).is_err());
    }
}

#[test]
fn a_quantised_policy_has_no_backward() {
    let model = model("Qwen3ForCausalLM", Level::Avx2, Precision::Q8);
    let refusal = gradients(&model, FULL, &mut TrainingWorkspace::new()).expect_err("a refusal").to_string();
    assert_eq!(
        refusal,
        "a policy in q8_0 is for inference only and cannot be trained; load its folder with dtype f32 or bf16"
    );
}
