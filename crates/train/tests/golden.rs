//! Checks the step against PyTorch: ten AdamW steps on each family, and the policy-gradient losses (scripts/golden/model.py).

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod tiny;

use gradus_cpu::CpuBackend;
use gradus_model::{Model, TokenBatch};
use gradus_ops::Precision;
use gradus_testing::{GOLDEN_CASES, GOLDEN_POLICY_CASE, Golden};
use gradus_train::{StepOptions, TrainBatch, TrainRow, Trainer};
use tiny::backend;

fn load(golden: &Golden) -> Model<CpuBackend> {
    Model::load(&golden.folder, backend(), Precision::F32).unwrap()
}

fn token_batch(golden: &Golden) -> TokenBatch {
    TokenBatch { tokens: golden.tokens.clone(), cu_seqlens: golden.cu_seqlens.clone() }
}

fn options() -> StepOptions {
    StepOptions { weight_decay: 0.01, ..tiny::options() }
}

fn assert_close(found: f64, expected: f64, what: &str) {
    let distance = (found / expected - 1.0).abs();
    assert!(distance <= 1e-5, "{what}: {found}, PyTorch has {expected} ({distance:e})");
}

#[test]
fn ten_adamw_steps_have_the_losses_of_pytorch() {
    for case in GOLDEN_CASES {
        let golden = Golden::open(case);
        let rows = golden.loss_rows();
        let weight = 1.0 / rows.len() as f32;
        let rows =
            rows.into_iter().map(|(row, target)| TrainRow { row, target, weight, inv_t: 1.0, sampler_logprob: None });
        let batch = TrainBatch { tokens: token_batch(&golden), rows: rows.collect() };
        let (mut model, mut trainer) = (load(&golden), Trainer::new());
        for step in 0..10 {
            let metrics = trainer.step(&mut model, &batch, &options()).unwrap();
            assert_close(metrics.loss, golden.step_losses[step], &format!("{case}, loss of step {step}"));
            let norm = golden.step_gradient_norms[step];
            assert_close(metrics.grad_norm, norm, &format!("{case}, gradient norm of step {step}"));
        }
    }
}

#[test]
fn policy_losses_are_those_of_pytorch() {
    let golden = Golden::open(GOLDEN_POLICY_CASE);
    let (weights, old) = (golden.policy_numbers("weights"), golden.policy_numbers("old_logprobs"));
    let inv_t = (1.0 / golden.policy_number("temperature")) as f32;
    let rows = golden.loss_rows().into_iter().zip(weights.iter().zip(&old)).map(|((row, target), (weight, old))| {
        TrainRow { row, target, weight: *weight as f32, inv_t, sampler_logprob: Some(*old as f32) }
    });
    let batch = TrainBatch { tokens: token_batch(&golden), rows: rows.collect() };
    let clip = golden.policy_numbers("clip");
    let clip = Some((clip[0] as f32, clip[1] as f32));
    for (ratio_clip, loss) in [(None, "loss"), (clip, "clipped_loss")] {
        let options = StepOptions { ratio_clip, micro_batch_tokens: 80, ..options() };
        let metrics = Trainer::new().step(&mut load(&golden), &batch, &options).unwrap();
        assert_close(metrics.loss, golden.policy_number(loss), loss);
        let trained = |values: Vec<f64>| -> Vec<f64> {
            values.into_iter().zip(&weights).filter(|(_, weight)| **weight != 0.0).map(|(value, _)| value).collect()
        };
        let entropies = trained(golden.policy_numbers("entropies"));
        assert_eq!(metrics.trained_tokens, entropies.len());
        assert_close(metrics.entropy, entropies.iter().sum::<f64>() / entropies.len() as f64, "entropy");
        let logprobs = golden.policy_numbers("logprobs");
        let differences = trained(logprobs.iter().zip(&old).map(|(new, old)| (new - old).abs()).collect());
        let largest = differences.into_iter().fold(0.0, f64::max);
        assert!((f64::from(metrics.logprob_abs_diff_max) - largest).abs() < 1e-5, "{metrics:?}, expected {largest}");
    }
}
