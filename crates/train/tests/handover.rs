//! Gradients and activations in memory that another phase uses between the steps: what it leaves there changes no bit.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod tiny;

use gradus_ops::{Backed, Backend, Precision};
use gradus_tensor::DType;
use gradus_train::{StepMetrics, Trainer};
use tiny::{batch, model_in, options, weight_bits};

/// Metrics of a step that do not depend on the clock, as bits.
fn bits(metrics: &StepMetrics) -> (u64, u64, usize) {
    assert_eq!(metrics.skipped, None);
    (metrics.loss.to_bits(), metrics.grad_norm.to_bits(), metrics.trained_tokens)
}

#[test]
fn steps_are_the_same_whatever_lies_in_their_memory() {
    for precision in [Precision::F32, Precision::Bf16] {
        for limit in [None, Some(1_950_000)] {
            let (mut model, mut shared_model) = (model_in(1, precision), model_in(1, precision));
            let (mut trainer, mut sharing) = (Trainer::new(), Trainer::new());
            if let Some(bytes) = limit {
                trainer.limit_activations(bytes);
                sharing.limit_activations(bytes);
            }
            let backend = shared_model.backend.clone();
            let region = backend.region();
            sharing.share(region.clone());
            // The third batch is larger: its pass takes more than the region has seen.
            for (step, lengths) in [&[9, 4][..], &[5, 8], &[60, 60, 60, 60, 60], &[7]].into_iter().enumerate() {
                let batch = batch(step as u64, lengths);
                let expected = trainer.step(&mut model, &batch, &options()).unwrap();
                let found = sharing.step(&mut shared_model, &batch, &options()).unwrap();
                assert_eq!(bits(&found), bits(&expected), "{precision:?}, step {step}");
                let held = sharing.memory();
                sharing.give_back();
                assert_eq!((sharing.memory().gradients, sharing.memory().activations), (0, 0));
                let len = (held.gradients + held.activations) as usize / 4;
                let mut other = backend.unbacked(DType::F32, len).unwrap();
                other.take_from(&region).unwrap();
                backend.write(&mut other, 0, &vec![f32::NAN; len]).unwrap();
                other.give_back();
            }
            assert_eq!(weight_bits(&shared_model), weight_bits(&model), "{precision:?}");
            assert_eq!(sharing.recomputed_layers(), trainer.recomputed_layers());
        }
    }
}
