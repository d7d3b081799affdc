//! Whole policies of every family on the simulator: losses and gradients against the f32 golden models and the CPU backend in bf16.

mod device;

use gradus_cpu::CpuBackend;
use gradus_model::{LossRow, Model, Parameters, TokenBatch, TrainingWorkspace};
use gradus_ops::{Backend, Precision};
use gradus_testing::{GOLDEN_CASES, Golden, relative_l2};
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
