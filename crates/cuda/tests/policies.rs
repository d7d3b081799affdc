//! Whole policies of every family on the simulator: losses and gradients against the f32 golden models and the CPU backend in bf16.

mod device;

use gradus_cpu::CpuBackend;
use gradus_model::{LossRow, LossSums, Model, Parameters, Recompute, TokenBatch, TrainingWorkspace};
use gradus_ops::{Backend, Precision};
use gradus_testing::{GOLDEN_CASES, GOLDEN_POLICY_CASE, Golden, integers, relative_l2};
use std::sync::Arc;

/// The loss of the golden batch and every gradient by its Hugging Face name.
fn loss_and_gradients<B: Backend>(golden: &Golden, backend: B) -> (f64, Vec<(String, Vec<f32>)>) {
    let model = Model::load(&golden.folder, Arc::new(backend), Precision::Bf16).expect("the golden model");
    let batch = TokenBatch { tokens: golden.tokens.clone(), cu_seqlens: golden.cu_seqlens.clone() };
    let rows = golden.loss_rows();
    let weight = 1.0 / rows.len() as f32;
    let rows: Vec<LossRow> =
        rows.into_iter().map(|(row, target)| LossRow { row, target, weight, inv_t: 1.0, old_logprob: None }).collect();
    let mut gradients: Parameters<B> = model.parameters.like(&model.backend).expect("gradients");
    let mut workspace = TrainingWorkspace::new();
    model.forward(&batch, &mut workspace).expect("forward");
    let loss = model.loss_backward(&batch, &rows, None, &mut gradients, &mut workspace).expect("backward").loss;
    let read = |name: &String| gradients.read_tensor(&model.backend, name).expect("a gradient");
    let names = golden.names("gradient.");
    let found = names.iter().map(|name| (name.clone(), read(name))).collect();
    (loss, found)
}

/// The bounds against f32 are those of the CPU backend's bf16 (crates/model/tests/golden.rs), which are PyTorch's own; two
/// bf16 backends round at the same places and are nearer to each other.
#[test]
fn gradients_of_every_family_are_those_of_the_cpu_and_of_pytorch() {
    for case in GOLDEN_CASES {
        let golden = Golden::open(case);
        let (loss, gradients) = loss_and_gradients(&golden, device::backend(7));
        let (cpu_loss, cpu_gradients) = loss_and_gradients(&golden, CpuBackend::new(Some(1)).expect("a backend"));
        assert!((loss / golden.loss - 1.0).abs() <= 1e-3, "{case}: loss {loss}, PyTorch has {}", golden.loss);
        assert!((loss / cpu_loss - 1.0).abs() <= 1e-3, "{case}: loss {loss}, the CPU has {cpu_loss}");
        assert_eq!(gradients.len(), cpu_gradients.len());
        for ((name, found), (_, cpu)) in gradients.iter().zip(&cpu_gradients) {
            let expected = golden.tensor(&format!("gradient.{name}"));
            let cpu: Vec<f64> = cpu.iter().copied().map(f64::from).collect();
            let (to_f32, to_cpu) = (relative_l2(found, &expected), relative_l2(found, &cpu));
            assert!(
                to_f32 <= 4.5e-2 && to_cpu <= 3.5e-2,
                "{case}: {name} is {to_f32:.2e} from PyTorch's in f32, {to_cpu:.2e} from the CPU's in bf16"
            );
        }
    }
}

/// The loss and the bits of every gradient of two sequences, 150 tokens.
fn sums_and_bits<B: Backend>(model: &Model<B>, workspace: TrainingWorkspace<B>) -> (LossSums, Vec<Vec<u32>>) {
    let vocab = model.config.vocab_size as u32;
    let batch = TokenBatch::pack([integers(1, 97, vocab), integers(2, 53, vocab)]);
    let row = |row: u32| {
        let target = batch.tokens[row as usize + 1];
        LossRow { row, target, weight: 0.01, inv_t: 1.0, old_logprob: None }
    };
    let rows: Vec<LossRow> = (0..149).filter(|&index| index != 96).map(row).collect();
    let (mut gradients, mut workspace) = (model.parameters.like(&model.backend).expect("gradients"), workspace);
    model.forward(&batch, &mut workspace).expect("forward");
    let sums = model.loss_backward(&batch, &rows, None, &mut gradients, &mut workspace).expect("backward").clone();
    let bits = |parameter: &gradus_model::Parameter<B>| {
        let mut values = vec![0.0; parameter.rows * parameter.cols];
        model.backend.store_row_major(&parameter.weight, 0, &mut values).expect("a gradient");
        values.into_iter().map(f32::to_bits).collect()
    };
    (sums, gradients.list.iter().map(bits).collect())
}

#[test]
fn chunks_of_the_mlp_change_no_bit() {
    let golden = Golden::open(GOLDEN_POLICY_CASE);
    let backend = Arc::new(device::backend(3));
    let model = Model::load(&golden.folder, backend, Precision::Bf16).expect("the golden model");
    let expected = sums_and_bits(&model, TrainingWorkspace::new());
    for recompute in [Recompute::GateUp, Recompute::Layer] {
        let whole = sums_and_bits(&model, TrainingWorkspace::recomputing(recompute));
        // Chunks of one block of 64 rows: two and a tail.
        let chunked = sums_and_bits(&model, TrainingWorkspace::recomputing(recompute).with_mlp_bytes(0));
        assert!(whole == expected && chunked == expected, "{recompute:?}");
    }
}
