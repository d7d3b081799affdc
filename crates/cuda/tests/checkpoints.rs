//! Training on the simulator over a checkpoint: a resumed run is the unbroken one bit for bit, and masters cross between CPU and GPU whole.
#![allow(clippy::unwrap_used)]

mod device;

use device::backend;
use gradus_cpu::CpuBackend;
use gradus_model::{Model, ModelConfig, TokenBatch};
use gradus_ops::{Backend, Precision};
use gradus_tensor::Checkpoint;
use gradus_testing::integers;
use gradus_train::{
    LoadedCheckpoint, OnExisting, SaveRequest, StepOptions, TrainBatch, TrainRow, Trainer, load_checkpoint,
    save_checkpoint, verify_checkpoint,
};
use half::bf16;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CONFIG: &str = r#"{
  "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 16,
  "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 61,
  "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
  "initializer_range": 0.05
}"#;
const OPTIONS: StepOptions = StepOptions {
    learning_rate: 1e-2,
    betas: (0.9, 0.999),
    eps: 1e-8,
    weight_decay: 0.1,
    max_grad_norm: Some(1.0),
    ratio_clip: None,
    micro_batch_tokens: 4096,
    seed: 5,
};

fn model<B: Backend>(backend: B) -> Model<B> {
    Model::random(ModelConfig::from_json(CONFIG).unwrap(), Arc::new(backend), 3, Precision::Bf16).unwrap()
}

fn batch(step: u64) -> TrainBatch {
    let tokens = TokenBatch::pack(&[integers(step, 12, 61), integers(step + 100, 7, 61)]);
    let rows = (0..tokens.tokens.len() as u32 - 1).filter(|row| *row != 11).map(|row| {
        let target = tokens.tokens[row as usize + 1];
        TrainRow { row, target, weight: 1.0 / 17.0, inv_t: 1.0, sampler_logprob: None }
    });
    TrainBatch { rows: rows.collect(), tokens: tokens.clone() }
}

/// The losses of these steps, as bits.
fn train<B: Backend>(
    model: &mut Model<B>,
    trainer: &mut Trainer<B>,
    options: &StepOptions,
    steps: std::ops::Range<u64>,
) -> Vec<u64> {
    steps.map(|step| trainer.step(model, &batch(step), options).unwrap().loss.to_bits()).collect()
}

fn save<B: Backend>(model: &Model<B>, trainer: &Trainer<B>, folder: &Path, step: u64) -> PathBuf {
    let request = SaveRequest {
        folder,
        step,
        recipe_json: "{}",
        extra_files: &[],
        commit: None,
        config_hash: None,
        on_existing: OnExisting::Refuse,
    };
    save_checkpoint(model, trainer, &request).unwrap()
}

fn load<B: Backend>(path: &Path, backend: B) -> LoadedCheckpoint<B> {
    load_checkpoint(&verify_checkpoint(path).unwrap(), Arc::new(backend), None).unwrap()
}

/// A list of optimizer.safetensors, or of the weights beside it, as bits.
fn stored<B: Backend>(checkpoint: &Path, file: &str, prefix: &str, model: &Model<B>) -> Vec<u32> {
    let file = Checkpoint::open_file(&checkpoint.join(file)).unwrap();
    let names = model.parameters.list.iter().flat_map(|parameter| &parameter.hf);
    let values = names.flat_map(|tensor| {
        let name = format!("{prefix}{}", tensor.name);
        let shape = file.shape(&name).unwrap().to_vec();
        file.read_f32(&name, &shape).unwrap()
    });
    values.map(f32::to_bits).collect()
}

const OPTIMIZER: &str = "optimizer.safetensors";
const WEIGHTS: &str = "model.safetensors";

#[test]
fn a_resumed_run_is_the_unbroken_one_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (mut unbroken, mut trainer) = (model(backend(1)), Trainer::new());
    train(&mut unbroken, &mut trainer, &OPTIONS, 0..2);
    let elements = unbroken.parameters.elements() as u64;
    assert_eq!(trainer.memory().optimizer, 6 * elements);
    let second = save(&unbroken, &trainer, folder.path(), 2);
    let losses = train(&mut unbroken, &mut trainer, &OPTIONS, 2..4);
    let fourth = save(&unbroken, &trainer, folder.path(), 4);

    // Masters of four bytes, moments of two.
    let size = std::fs::metadata(second.join(OPTIMIZER)).unwrap().len();
    assert!((8 * elements..9 * elements).contains(&(size - 2_000)), "{size} bytes of {elements} elements");
    let (masters, weights) =
        (stored(&second, OPTIMIZER, "master.", &unbroken), stored(&second, WEIGHTS, "", &unbroken));
    assert_eq!(weights, masters.iter().map(|bits| (bits + 0x8000) & 0xffff_0000).collect::<Vec<_>>());
    let finer = masters.iter().zip(&weights).filter(|(master, weight)| master != weight).count();
    assert!(finer > weights.len() / 2, "{finer} masters are no bf16 numbers");

    let again = tempfile::tempdir().unwrap();
    let LoadedCheckpoint { model: mut resumed, trainer: mut resumed_trainer, warnings, .. } = load(&second, backend(2));
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(train(&mut resumed, &mut resumed_trainer, &OPTIONS, 2..4), losses);
    let redone = save(&resumed, &resumed_trainer, again.path(), 4);
    for file in [OPTIMIZER, WEIGHTS] {
        assert!(std::fs::read(fourth.join(file)).unwrap() == std::fs::read(redone.join(file)).unwrap(), "{file}");
    }

    // Another seed rounds the moments otherwise.
    let LoadedCheckpoint { model: mut other, trainer: mut other_trainer, .. } = load(&second, backend(2));
    train(&mut other, &mut other_trainer, &StepOptions { seed: 6, ..OPTIONS }, 2..4);
    let elsewhere = tempfile::tempdir().unwrap();
    let path = save(&other, &other_trainer, elsewhere.path(), 4);
    assert_ne!(stored(&path, OPTIMIZER, "v.", &other), stored(&fourth, OPTIMIZER, "v.", &unbroken));
}

#[test]
fn a_run_goes_on_on_another_device_from_the_same_masters() {
    let folder = tempfile::tempdir().unwrap();
    let (mut on_cpu, mut trainer) = (model(CpuBackend::new(Some(1)).unwrap()), Trainer::new());
    train(&mut on_cpu, &mut trainer, &OPTIONS, 0..2);
    let of_cpu = save(&on_cpu, &trainer, folder.path(), 2);
    let LoadedCheckpoint { mut model, mut trainer, warnings, .. } = load(&of_cpu, backend(1));
    let kind = model.backend.kind();
    assert!(warnings[0].contains(&format!("written on cpu, this is {kind}")), "{warnings:?}");
    let of_gpu = save(&model, &trainer, folder.path(), 3);
    assert_eq!(stored(&of_gpu, OPTIMIZER, "master.", &model), stored(&of_cpu, OPTIMIZER, "master.", &on_cpu));
    for moment in ["m.", "v."] {
        let nearest = |bits: &u32| bf16::from_f32(f32::from_bits(*bits)).to_f32().to_bits();
        let expected: Vec<u32> = stored(&of_cpu, OPTIMIZER, moment, &on_cpu).iter().map(nearest).collect();
        assert_eq!(stored(&of_gpu, OPTIMIZER, moment, &model), expected, "{moment}");
    }
    assert_eq!(trainer.steps(), 2);
    train(&mut model, &mut trainer, &OPTIONS, 2..3);
    let path = save(&model, &trainer, folder.path(), 4);
    let LoadedCheckpoint { model: mut back, mut trainer, .. } = load(&path, CpuBackend::new(Some(1)).unwrap());
    let of_back = save(&back, &trainer, folder.path(), 5);
    for list in ["master.", "m.", "v."] {
        assert_eq!(stored(&of_back, OPTIMIZER, list, &back), stored(&path, OPTIMIZER, list, &model), "{list}");
    }
    train(&mut back, &mut trainer, &OPTIONS, 3..4);
}
