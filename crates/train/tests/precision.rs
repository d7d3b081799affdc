//! Training in bf16: f32 masters carry what 8 bits cannot, checkpoints cross from one precision to another by a rule, q8_0 is refused.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod tiny;

use std::path::Path;

use gradus_cpu::CpuBackend;
use gradus_model::{Model, ScoreRow, TrainingWorkspace};
use gradus_ops::Precision;
use gradus_tensor::Checkpoint;
use gradus_testing::{GOLDEN_CASES, Golden};
use gradus_train::{
    LoadedCheckpoint, PlantedFault, StepOptions, TrainBatch, TrainRow, Trainer, TrainerMemory, load_checkpoint,
    verify_checkpoint,
};
use tiny::{backend, batch, model_in, options, save, weight_bits};

const LENGTHS: [usize; 3] = [12, 7, 20];

fn train(model: &mut Model<CpuBackend>, trainer: &mut Trainer<CpuBackend>, steps: std::ops::Range<u64>) -> Vec<f64> {
    steps.map(|step| trainer.step(model, &batch(step, &LENGTHS), &options()).unwrap().loss).collect()
}

fn load(path: &Path, precision: Option<Precision>) -> LoadedCheckpoint<CpuBackend> {
    load_checkpoint(&verify_checkpoint(path).unwrap(), backend(), precision).unwrap()
}

/// The values of every tensor of a file whose name begins with `prefix`, in the order of the policy's parameters.
fn stored(file: &Path, prefix: &str, model: &Model<CpuBackend>) -> Vec<u32> {
    let file = Checkpoint::open_file(file).unwrap();
    let names = model.parameters.list.iter().flat_map(|parameter| &parameter.hf);
    let values = names.flat_map(|tensor| {
        let name = format!("{prefix}{}", tensor.name);
        let shape = file.shape(&name).unwrap().to_vec();
        file.read_f32(&name, &shape).unwrap()
    });
    values.map(f32::to_bits).collect()
}

fn rounded(bits: u32) -> u32 {
    half::bf16::from_f32(f32::from_bits(bits)).to_f32().to_bits()
}

#[test]
fn weights_are_the_masters_rounded_and_masters_carry_small_updates() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, mut trainer) = (model_in(1, Precision::Bf16), Trainer::new());
    let before = weight_bits(&model);
    // An update of a thousandth of a weight's last place.
    let options = StepOptions { learning_rate: 1e-7, weight_decay: 0.0, ..options() };
    for step in 0..3 {
        trainer.step(&mut model, &batch(step, &LENGTHS), &options).unwrap();
    }
    let path = save(&model, &trainer, folder.path(), 1).unwrap();
    let masters = stored(&path.join("optimizer.safetensors"), "master.", &model);
    assert_eq!(weight_bits(&model), masters.iter().map(|&bits| rounded(bits)).collect::<Vec<_>>());
    let moved = before.iter().zip(&masters).filter(|(before, after)| before != after).count();
    assert!(moved > before.len() / 2, "{moved} of {} masters moved", before.len());
}

/// With the f32 weights as masters, as in PyTorch's mixed precision, whose losses (autocast, 2.15, residual in f32) are up to 1.7e-3 from those
/// in f32 here; ours are up to 2.9e-3 away.
/// (Masters made of rounded weights begin on bf16's grid, so that all first updates are rounded alike; the losses are then up to 8e-3 away.)
#[test]
fn losses_in_bf16_follow_those_of_pytorch_in_f32() {
    for case in GOLDEN_CASES {
        let golden = Golden::open(case);
        let rows = golden.loss_rows();
        let weight = 1.0 / rows.len() as f32;
        let row = |&(row, target): &(u32, u32)| TrainRow { row, target, weight, inv_t: 1.0, sampler_logprob: None };
        let tokens = gradus_model::TokenBatch { tokens: golden.tokens.clone(), cu_seqlens: golden.cu_seqlens.clone() };
        let batch = TrainBatch { tokens, rows: rows.iter().map(row).collect() };
        let mut model = Model::load(&golden.folder, backend(), Precision::Bf16).unwrap();
        let mut trainer = Trainer::of_folder(&golden.folder, Precision::Bf16).unwrap();
        for (step, expected) in golden.step_losses.iter().enumerate() {
            let options = StepOptions { weight_decay: 0.01, ..options() };
            let loss = trainer.step(&mut model, &batch, &options).unwrap().loss;
            assert!((loss / expected - 1.0).abs() < 4e-3, "{case}, step {step}: {loss}, PyTorch has {expected}");
        }
    }
}

/// Also where the policy is saved before its first step, and goes on from there.
#[test]
fn masters_begin_as_the_values_of_an_f32_folder() {
    let folder = tempfile::tempdir().unwrap();
    let exact = model_in(4, Precision::F32);
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    exact.save_weights(&source).unwrap();
    let mut model = Model::load(&source, backend(), Precision::Bf16).unwrap();
    let mut trainer = Trainer::of_folder(&source, Precision::Bf16).unwrap();
    assert_eq!(trainer.memory().optimizer, 0);
    let start = save(&model, &trainer, folder.path(), 0).unwrap();
    assert_eq!(stored(&start.join("optimizer.safetensors"), "master.", &model), weight_bits(&exact));
    // The files are open: the folder may go.
    std::fs::remove_dir_all(&source).unwrap();
    let still = StepOptions { learning_rate: 0.0, ..options() };
    trainer.step(&mut model, &batch(0, &LENGTHS), &still).unwrap();
    let path = save(&model, &trainer, folder.path(), 1).unwrap();
    assert_eq!(stored(&path.join("optimizer.safetensors"), "master.", &model), weight_bits(&exact));

    let losses = train(&mut model, &mut trainer, 1..3);
    let LoadedCheckpoint { mut model, mut trainer, .. } = load(&start, None);
    assert_eq!(trainer.memory().optimizer, 0);
    trainer.step(&mut model, &batch(0, &LENGTHS), &still).unwrap();
    assert_eq!(train(&mut model, &mut trainer, 1..3), losses);
}

#[test]
fn a_bf16_checkpoint_goes_on_in_f32_from_its_masters() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, mut trainer) = (model_in(2, Precision::Bf16), Trainer::new());
    train(&mut model, &mut trainer, 0..3);
    let path = save(&model, &trainer, folder.path(), 3).unwrap();
    let mut loaded = load(&path, Some(Precision::F32));
    assert_eq!(weight_bits(&loaded.model), stored(&path.join("optimizer.safetensors"), "master.", &model));
    assert_ne!(weight_bits(&loaded.model), weight_bits(&model));
    assert_eq!((loaded.trainer.steps(), loaded.warnings.len()), (3, 1));
    assert!(loaded.warnings[0].contains("written in bf16, this is f32"), "{}", loaded.warnings[0]);
    train(&mut loaded.model, &mut loaded.trainer, 3..4);
    let quantised = load(&path, Some(Precision::Q8));
    assert_eq!((quantised.model.precision, quantised.trainer.memory()), (Precision::Q8, TrainerMemory::default()));
}

#[test]
fn an_f32_checkpoint_goes_on_in_bf16_with_its_weights_as_masters() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, mut trainer) = (model_in(2, Precision::F32), Trainer::new());
    train(&mut model, &mut trainer, 0..3);
    let path = save(&model, &trainer, folder.path(), 3).unwrap();
    let loaded = load(&path, Some(Precision::Bf16));
    let expected: Vec<u32> = weight_bits(&model).into_iter().map(rounded).collect();
    assert_eq!(weight_bits(&loaded.model), expected);
    let again = save(&loaded.model, &loaded.trainer, folder.path(), 4).unwrap();
    assert_eq!(stored(&again.join("optimizer.safetensors"), "master.", &model), weight_bits(&model));
    assert_eq!(load(&again, None).model.precision, Precision::Bf16);
}

#[test]
fn a_quantised_policy_is_neither_trained_nor_saved() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = model_in(1, Precision::Q8);
    let refusal = Trainer::new().step(&mut model, &batch(1, &LENGTHS), &options()).unwrap_err().to_string();
    assert!(refusal.starts_with("a policy in q8_0 is for inference only and cannot be trained"), "{refusal}");
    let refusal = save(&model, &Trainer::new(), folder.path(), 1).unwrap_err().to_string();
    assert!(refusal.contains("cannot be saved; load its folder with dtype f32 or bf16"), "{refusal}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_planted_ulp_of_bf16_is_seen() {
    let mut model = model_in(9, Precision::Bf16);
    let mut batch = batch(5, &LENGTHS);
    let rows: Vec<ScoreRow> =
        batch.rows.iter().map(|row| ScoreRow { row: row.row, target: row.target, inv_t: row.inv_t }).collect();
    let mut workspace = TrainingWorkspace::new();
    model.forward(&batch.tokens, &mut workspace).unwrap();
    let scores = model.score_rows(&rows, &mut workspace).unwrap();
    batch.rows.iter_mut().zip(scores).for_each(|(row, score)| row.sampler_logprob = Some(score.logprob));
    let still = StepOptions { learning_rate: 0.0, weight_decay: 0.0, micro_batch_tokens: 20, ..options() };
    let mut trainer = Trainer::new();
    assert_eq!(trainer.step(&mut model, &batch, &still).unwrap().logprob_abs_diff_max, 0.0);
    trainer.plant_fault(Some(PlantedFault::WeightUlp));
    let difference = trainer.step(&mut model, &batch, &still).unwrap().logprob_abs_diff_max;
    assert!(difference > 0.0 && difference < 0.1, "{difference}");
}

#[test]
fn memory_is_counted_by_class() {
    let (mut model, mut trainer) = (model_in(1, Precision::Bf16), Trainer::new());
    assert_eq!(trainer.memory(), TrainerMemory::default());
    train(&mut model, &mut trainer, 0..1);
    let values = 4 * model.parameters.elements() as u64;
    let TrainerMemory { gradients, optimizer, activations } = trainer.memory();
    assert_eq!((gradients, optimizer), (values, 3 * values));
    assert!(activations > 0);
    let mut limited = Trainer::new();
    limited.limit_activations(activations - 1);
    train(&mut model, &mut limited, 0..1);
    assert!(limited.memory().activations < activations);
    assert_eq!(trainer.recomputed_layers(), (0, 0));
    assert_ne!(limited.recomputed_layers(), (0, 0));
}
