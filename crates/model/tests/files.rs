//! The way of weights through files: saved and loaded they are the same bits; damaged files are refused.

use std::path::Path;
use std::sync::Arc;

use gradus_cpu::CpuBackend;
use gradus_model::{Model, ModelConfig, Parameters};
use gradus_ops::Precision;
use gradus_testing::{GOLDEN_CASES, Golden};

fn backend() -> Arc<CpuBackend> {
    Arc::new(CpuBackend::new(Some(2)).expect("a backend"))
}

fn tensors(parameters: &Parameters<CpuBackend>, backend: &CpuBackend) -> Vec<(String, Vec<u32>)> {
    let names = parameters.list.iter().flat_map(|parameter| &parameter.hf).map(|tensor| tensor.name.clone());
    let bits =
        |name: &str| parameters.read_tensor(backend, name).expect("a tensor").into_iter().map(f32::to_bits).collect();
    names.map(|name| (name.clone(), bits(&name))).collect()
}

#[test]
fn saved_weights_load_as_the_same_bits() {
    for (case, precision) in GOLDEN_CASES.into_iter().flat_map(|case| [(case, Precision::F32), (case, Precision::Bf16)])
    {
        let backend = backend();
        let folder = tempfile::tempdir().expect("a folder");
        let model = Model::load(&Golden::open(case).folder, backend.clone(), precision).expect("the golden model");
        model.save_weights(folder.path()).expect("saved");
        // bf16 values are f32 values, so either policy may take them.
        for loaded in [precision, Precision::F32] {
            let again = Model::load(folder.path(), backend.clone(), loaded).expect("loaded");
            assert_eq!(tensors(&again.parameters, &backend), tensors(&model.parameters, &backend), "{case}");
        }
        let bytes = std::fs::metadata(folder.path().join("model.safetensors")).expect("a file").len();
        let values = model.parameters.elements() as u64 * if precision == Precision::Bf16 { 2 } else { 4 };
        assert!((values..values + 8192).contains(&bytes), "{case}: {bytes} bytes for {values} bytes of values");
        let files: Vec<_> =
            std::fs::read_dir(folder.path()).expect("a folder").map(|f| f.expect("a file").file_name()).collect();
        assert_eq!(files.len(), 2, "{files:?}");
    }
}

#[test]
fn a_quantised_policy_is_not_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = Model::load(&Golden::open("qwen3").folder, backend(), Precision::Q8).expect("the golden model");
    let refusal = model.save_weights(folder.path()).expect_err("a refusal").to_string();
    assert!(refusal.contains("q8_0 is for inference only and cannot be saved"), "{refusal}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn the_saved_config_names_the_dtype_of_the_saved_weights() {
    let text = r#"{"model_type": "llama", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 20, "torch_dtype": "bfloat16", "note": "kept"}"#;
    for (precision, dtype) in [(Precision::F32, "float32"), (Precision::Bf16, "bfloat16")] {
        let folder = tempfile::tempdir().expect("a folder");
        let config = ModelConfig::from_json(text).expect("a good config");
        Model::random(config, backend(), 1, precision).expect("a model").save_weights(folder.path()).expect("saved");
        let saved = std::fs::read_to_string(folder.path().join("config.json")).expect("config.json");
        let saved: serde_json::Value = serde_json::from_str(&saved).expect("JSON");
        assert_eq!(
            (&saved["torch_dtype"], &saved["dtype"], &saved["note"]),
            (&dtype.into(), &dtype.into(), &"kept".into())
        );
    }
}

#[test]
fn random_weights_follow_the_seed_and_the_config() {
    let text = r#"{"model_type": "qwen3", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 3001, "initializer_range": 0.05}"#;
    let of = |seed: u64, threads: usize| {
        let backend = Arc::new(CpuBackend::new(Some(threads)).expect("a backend"));
        let model = Model::random(ModelConfig::from_json(text).expect("a good config"), backend, seed, Precision::F32)
            .expect("a model");
        tensors(&model.parameters, &model.backend)
    };
    let first = of(1, 1);
    assert_eq!(first, of(1, 3), "threads change the weights");
    let other = of(2, 1);
    for ((name, bits), (_, other_bits)) in first.iter().zip(&other) {
        let values: Vec<f64> = bits.iter().map(|bits| f64::from(f32::from_bits(*bits))).collect();
        if name.contains("norm") {
            assert!(values.iter().all(|value| *value == 1.0), "{name}");
            continue;
        }
        assert_ne!(bits, other_bits, "{name} is the same for two seeds");
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
        // Five standard errors of mean and deviation.
        let bound = 5.0 * 0.05 / (values.len() as f64).sqrt();
        assert!(mean.abs() < bound && (deviation - 0.05).abs() < bound, "{name}: mean {mean}, deviation {deviation}");
    }
    let distinct: std::collections::HashSet<_> = first.iter().map(|(_, bits)| bits[0]).collect();
    assert!(distinct.len() > first.len() / 2, "tensors share a stream");
}

fn load_error(folder: &Path) -> String {
    let error = Model::load(folder, backend(), Precision::F32).err().expect("a refusal").to_string();
    assert!(!error.contains('\n'), "{error:?} is more than a line");
    error
}

#[test]
fn damaged_and_missing_files_are_refused_by_name() {
    let golden = Golden::open("qwen3").folder;
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    assert!(load_error(folder.path()).contains("has no config.json; name a Hugging Face model folder"));
    std::fs::copy(golden.join("config.json"), at("config.json")).expect("copied");
    assert!(load_error(folder.path()).contains("safetensors"));
    let weights = std::fs::read(golden.join("model.safetensors")).expect("weights");
    for length in [0, 7, 100, weights.len() / 2, weights.len() - 1] {
        std::fs::write(at("model.safetensors"), &weights[..length]).expect("written");
        let error = load_error(folder.path());
        assert!(error.contains("model.safetensors is not a whole safetensors file"), "{length} bytes: {error}");
    }
    std::fs::write(at("model.safetensors"), &weights).expect("written");
    let config = std::fs::read_to_string(golden.join("config.json")).expect("config.json");
    std::fs::write(at("config.json"), config.replace("\"intermediate_size\": 104", "\"intermediate_size\": 96"))
        .expect("written");
    assert!(load_error(folder.path()).contains("mlp.gate_proj.weight"));
    std::fs::write(at("config.json"), config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"))
        .expect("written");
    assert!(load_error(folder.path()).contains("tensor model.layers.2.input_layernorm.weight is not in"));
    std::fs::write(at("config.json"), "{").expect("written");
    assert!(load_error(folder.path()).starts_with(&format!("{}: the file: is not JSON", at("config.json").display())));
}
