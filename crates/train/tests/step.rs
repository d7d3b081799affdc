//! Checks one step: the split into micro-batches, what is skipped and moves nothing, what is refused, the planted fault.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod tiny;

use gradus_cpu::CpuBackend;
use gradus_model::Model;
use gradus_ops::Backend;
use gradus_testing::relative_l2;
use gradus_train::{Error, PlantedFault, SkipReason, StepOptions, TrainBatch, Trainer};
use tiny::{batch, model, options, weight_bits};

const LENGTHS: [usize; 5] = [17, 9, 30, 2, 12];

/// Weight changes of one plain-gradient step: with beta 0 and a huge eps AdamW's update is the gradient times a constant.
fn gradient_step(micro_batch_tokens: usize, max_grad_norm: Option<f32>) -> (Vec<f32>, f64) {
    let mut model = model(7);
    let before = weights(&model);
    let plain = StepOptions {
        learning_rate: 1.0,
        betas: (0.0, 0.0),
        eps: 1.0,
        weight_decay: 0.0,
        max_grad_norm,
        micro_batch_tokens,
        ..options()
    };
    let metrics = Trainer::new().step(&mut model, &batch(1, &LENGTHS), &plain).unwrap();
    assert_eq!(metrics.skipped, None);
    assert_eq!((metrics.tokens, metrics.trained_tokens), (70, 65));
    (weights(&model).iter().zip(&before).map(|(after, before)| after - before).collect(), metrics.grad_norm)
}

fn weights(model: &Model<CpuBackend>) -> Vec<f32> {
    tiny::values(model).concat()
}

/// Gives every row the logprob that this model computes for it, as a sampler would.
fn with_sampler_logprobs(model: &Model<CpuBackend>, mut batch: TrainBatch) -> TrainBatch {
    let rows: Vec<_> = batch
        .rows
        .iter()
        .map(|row| gradus_model::ScoreRow { row: row.row, target: row.target, inv_t: row.inv_t })
        .collect();
    let mut workspace = gradus_model::TrainingWorkspace::new();
    model.forward(&batch.tokens, &mut workspace).unwrap();
    let scores = model.score_rows(&rows, &mut workspace).unwrap();
    for (row, score) in batch.rows.iter_mut().zip(scores) {
        row.sampler_logprob = Some(score.logprob);
    }
    batch
}

#[test]
fn a_split_changes_nothing_but_rounding() {
    let (whole, whole_norm) = gradient_step(usize::MAX, None);
    let reference: Vec<f64> = whole.iter().map(|&value| f64::from(value)).collect();
    for micro_batch_tokens in [1, 26, 40] {
        let (split, norm) = gradient_step(micro_batch_tokens, None);
        let distance = relative_l2(&split, &reference);
        assert!(distance <= 1e-6, "{micro_batch_tokens} tokens: {distance}");
        assert!((norm / whole_norm - 1.0).abs() <= 1e-6, "{micro_batch_tokens} tokens: {norm} and {whole_norm}");
    }
}

#[test]
fn the_gradient_is_clipped_to_the_global_norm() {
    // With betas 0 and eps 1 the update of a gradient g is −g / (|g| + 1), which can be taken back.
    let update_of = |gradient: f64| gradient / (gradient.abs() + 1.0);
    let gradient_of = |update: f32| -f64::from(update) / (1.0 - f64::from(update).abs());
    let (plain, norm) = gradient_step(usize::MAX, None);
    for max in [0.1, 0.5, 10.0 * norm as f32] {
        let (clipped, unclipped_norm) = gradient_step(usize::MAX, Some(max));
        assert_eq!(unclipped_norm, norm, "the reported norm is that before clipping");
        let factor = (f64::from(max) / (norm + 1e-6)).min(1.0);
        let expected: Vec<f64> = plain.iter().map(|&update| -update_of(factor * gradient_of(update))).collect();
        let distance = relative_l2(&clipped, &expected);
        assert!(distance < 1e-4, "clipped to {max}: {distance}");
    }
}

#[test]
fn weight_decay_spares_norms_and_biases() {
    let mut model = model(7);
    let before: Vec<Vec<f32>> = tiny::values(&model);
    let mut batch = batch(1, &LENGTHS);
    batch.rows.iter_mut().for_each(|row| row.weight = 1e-30);
    let options = StepOptions { learning_rate: 0.5, weight_decay: 0.5, eps: 1.0, ..options() };
    assert_eq!(Trainer::new().step(&mut model, &batch, &options).unwrap().skipped, None);
    for ((parameter, before), after) in model.parameters.list.iter().zip(before).zip(tiny::values(&model)) {
        let factor = if parameter.cols == 1 { 1.0 } else { 0.75 };
        let expected: Vec<f64> = before.iter().map(|&value| f64::from(value) * factor).collect();
        assert!(relative_l2(&after, &expected) < 1e-6, "{}", parameter.hf[0].name);
    }
}

#[test]
fn the_loss_falls_and_the_version_counts_updates() {
    let (mut model, mut trainer) = (model(3), Trainer::new());
    let batch = batch(2, &LENGTHS);
    let losses: Vec<f64> = (0..20).map(|_| trainer.step(&mut model, &batch, &options()).unwrap().loss).collect();
    assert!(losses[19] < losses[0] - 0.1, "{losses:?}");
    assert!((losses[0] - f64::from(tiny::VOCAB).ln()).abs() < 0.3, "{losses:?}");
    assert_eq!((trainer.steps(), model.version), (20, 20));
}

/// Runs one normal step, then the given one, which must be skipped and move nothing; then checks that the trainer goes on.
fn check_skip(spoil: impl FnOnce(&mut Model<CpuBackend>, &mut TrainBatch), expected: SkipReason) {
    let (mut model, mut trainer) = (model(5), Trainer::new());
    let good = batch(3, &LENGTHS);
    trainer.step(&mut model, &good, &options()).unwrap();
    let mut spoiled = good.clone();
    spoil(&mut model, &mut spoiled);
    let (weights, version) = (weight_bits(&model), model.version);
    let checkpoint = |trainer: &Trainer<CpuBackend>, model: &Model<CpuBackend>| {
        let folder = tempfile::tempdir().unwrap();
        tiny::save(model, trainer, folder.path(), 1).unwrap();
        std::fs::read(folder.path().join("step-1/optimizer.safetensors")).unwrap()
    };
    let moments = checkpoint(&trainer, &model);
    let metrics = trainer.step(&mut model, &spoiled, &options()).unwrap();
    assert_eq!(metrics.skipped, Some(expected));
    assert_eq!(weight_bits(&model), weights, "{expected:?}: weights moved");
    assert_eq!(checkpoint(&trainer, &model), moments, "{expected:?}: moments or step counter moved");
    assert_eq!((trainer.steps(), model.version), (1, version));
}

#[test]
fn a_step_that_cannot_count_is_skipped_and_moves_nothing() {
    check_skip(|_, batch| batch.rows.iter_mut().for_each(|row| row.weight = 0.0), SkipReason::NoWeight);
    check_skip(|_, batch| batch.rows.clear(), SkipReason::NoWeight);
    check_skip(|_, batch| batch.rows[4].sampler_logprob = Some(f32::NAN), SkipReason::NonFiniteLogprob);
    check_skip(|_, batch| batch.rows[4].sampler_logprob = Some(f32::NEG_INFINITY), SkipReason::NonFiniteLogprob);
    check_skip(
        |model, _| {
            let norm = model.parameters.list.iter_mut().rfind(|parameter| parameter.cols == 1).unwrap();
            model.backend.load_row_major(&mut norm.weight, 0, &[f32::INFINITY]).unwrap();
        },
        SkipReason::NonFiniteLogprob,
    );
    check_skip(|_, batch| batch.rows.iter_mut().for_each(|row| row.weight = f32::MAX), SkipReason::NonFiniteGradient);
}

#[test]
fn rows_without_weight_and_their_sequences_cost_nothing() {
    let mut batch = batch(4, &[8, 8, 8]);
    batch.rows.iter_mut().filter(|row| (8..16).contains(&row.row)).for_each(|row| row.weight = 0.0);
    batch.rows[0].weight = 0.0;
    let metrics = Trainer::new().step(&mut model(1), &batch, &options()).unwrap();
    assert_eq!((metrics.tokens, metrics.trained_tokens), (16, 13));
}

#[test]
fn the_logprob_difference_is_zero_until_a_fault_is_planted() {
    let mut model = model(9);
    let batch = with_sampler_logprobs(&model, batch(5, &LENGTHS));
    let still = StepOptions { learning_rate: 0.0, weight_decay: 0.0, micro_batch_tokens: 20, ..options() };
    let mut trainer = Trainer::new();
    assert_eq!(trainer.step(&mut model, &batch, &still).unwrap().logprob_abs_diff_max, 0.0);
    trainer.plant_fault(Some(PlantedFault::WeightUlp));
    let difference = trainer.step(&mut model, &batch, &still).unwrap().logprob_abs_diff_max;
    assert!(difference > 0.0 && difference < 1e-4, "{difference}");
    trainer.plant_fault(None);
}

#[test]
fn with_sampler_logprobs_of_these_weights_the_ratio_is_one() {
    let source = model(9);
    let batch = with_sampler_logprobs(&source, batch(5, &LENGTHS));
    let gradient = |ratio_clip| {
        let mut model = model(9);
        Trainer::new().step(&mut model, &batch, &StepOptions { ratio_clip, ..options() }).unwrap();
        weight_bits(&model)
    };
    assert_eq!(gradient(Some((0.2, 0.28))), gradient(None));
}

#[test]
fn bad_batches_and_options_are_refused_by_name() {
    let refusal = |spoil: fn(&mut TrainBatch, &mut StepOptions)| {
        let (mut batch, mut options) = (batch(6, &[4, 4]), options());
        spoil(&mut batch, &mut options);
        Trainer::new().step(&mut model(1), &batch, &options).unwrap_err()
    };
    let batch_error = |spoil| match refusal(spoil) {
        Error::Batch { reason } => reason,
        other => panic!("{other}"),
    };
    assert_eq!(batch_error(|b, _| b.rows[0].weight = f32::NAN), "weight of row 0 is NaN, expected a finite number");
    assert_eq!(batch_error(|b, _| b.rows[5].row = 8), "row 8 lies outside the 8 tokens");
    assert_eq!(batch_error(|b, _| b.rows[1].row = 0), "rows must ascend, found 0 before 0");
    assert_eq!(batch_error(|b, _| b.rows[1].target = 61), "target of row 1 is 61, expected an id below 61");
    assert_eq!(batch_error(|b, _| b.rows[1].inv_t = 0.0), "inv_t of row 1 is 0, expected a positive number");
    assert!(batch_error(|b, _| b.tokens.cu_seqlens[2] = 9).starts_with("cu_seqlens must rise from 0 to the 8 tokens"));
    assert!(batch_error(|_, o| o.ratio_clip = Some((0.2, 0.2))).starts_with("row 0 has no sampler logprob"));
    assert!(matches!(refusal(|b, _| b.tokens.tokens[3] = 61), Error::Model(_)));
    let option_error = |spoil| refusal(spoil).to_string();
    assert_eq!(
        option_error(|_, o| o.learning_rate = -1.0),
        "step option learning_rate is -1, expected a number of at least 0"
    );
    assert!(option_error(|_, o| o.betas.1 = 1.0).contains("betas is (0.9, 1.0)"));
    assert!(option_error(|_, o| o.eps = 0.0).contains("eps is 0"));
    assert!(option_error(|_, o| o.weight_decay = f32::NAN).contains("weight_decay is NaN"));
    assert!(option_error(|_, o| o.max_grad_norm = Some(0.0)).contains("max_grad_norm is Some(0.0)"));
    assert!(option_error(|_, o| o.micro_batch_tokens = 0).contains("micro_batch_tokens is 0"));
}
