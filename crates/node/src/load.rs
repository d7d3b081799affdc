//! Makes the policy of an engine thread: from a config with random weights, from a Hugging Face folder, or from a checkpoint.

use crate::device::Device;
use crate::fault::{Fault, Result};
use crate::generation::Generation;
use crate::inputs::NativePolicyOptions;
use crate::memory::kv_bytes_default;
use crate::outputs::{NativePolicyInfo, NativeResumed};
use crate::worker::{EventSink, Worker};
use gradus_model::{Model, ModelConfig, Recompute, TrainingWorkspace};
use gradus_ops::{Backend, Precision};
use gradus_tensor::put_back_folder;
use gradus_text::Tokenizer;
use gradus_train::{LoadedCheckpoint, Trainer, VerifiedCheckpoint, latest_good, load_checkpoint, verify_checkpoint};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files of a Hugging Face folder that a saved policy keeps beside those of the tokenizer.
const COMPANION_FILES: [&str; 5] =
    ["generation_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"];

/// Where a policy comes from.
pub enum Source {
    /// A config.json's text; the tokenizer is a tokenizer.json or a folder that holds one.
    Config {
        json: String,
        seed: u64,
        tokenizer: Option<PathBuf>,
    },
    Folder(PathBuf),
    /// A `step-N` folder, or a checkpoints folder of which the newest good one is taken.
    Checkpoint(PathBuf),
    /// A checkpoint that is whole, with a line for each damaged one that was set aside.
    Verified(Box<VerifiedCheckpoint>, Vec<String>),
}

impl Source {
    /// Finds the checkpoint, and gives the precision that it was written in.
    pub fn verify(self) -> Result<(Source, Option<Precision>)> {
        let Source::Checkpoint(path) = self else { return Ok((self, None)) };
        let (checkpoint, warnings) = find_checkpoint(&path)?;
        // A dtype that is unknown is the loader's to refuse.
        let stored = precision_of(&checkpoint.manifest.dtype).ok();
        Ok((Source::Verified(Box::new(checkpoint), warnings), stored))
    }
}

/// The options of a policy, checked.
#[derive(Clone, Copy)]
pub struct Placement {
    pub device: Device,
    /// None: that of the checkpoint which is resumed, else the device's own.
    pub precision: Option<Precision>,
    pub threads: Option<usize>,
    pub kv_bytes_max: Option<u64>,
    pub activation_bytes_max: Option<u64>,
}

impl TryFrom<NativePolicyOptions> for Placement {
    type Error = Fault;

    fn try_from(options: NativePolicyOptions) -> Result<Self> {
        Ok(Placement {
            device: Device::from_name(&options.device)?,
            precision: options.dtype.as_deref().map(precision_of).transpose()?,
            threads: options.threads.map(|threads| threads as usize),
            kv_bytes_max: options.kv_bytes_max.map(|bytes| bytes as u64),
            activation_bytes_max: options.activation_bytes_max.map(|bytes| bytes as u64),
        })
    }
}

fn precision_of(dtype: &str) -> Result<Precision> {
    Precision::ALL.into_iter().find(|precision| precision.name() == dtype).ok_or_else(|| {
        let available = Precision::ALL.map(|precision| format!("{:?}", precision.name())).join(", ");
        Fault::unsupported(dtype, format!("dtype {dtype:?} is unknown; available: {available}"))
    })
}

/// What a policy is made of before its caches: weights, optimizer state, files.
struct Parts<B: Backend> {
    model: Model<B>,
    trainer: Trainer<B>,
    tokenizer: Option<Tokenizer>,
    folder: Option<PathBuf>,
    resumed: Option<NativeResumed>,
}

/// Makes the worker, and tells what a resumed one was resumed from.
pub fn make_worker<B: Backend>(
    source: Source,
    placement: &Placement,
    precision: Precision,
    backend: Arc<B>,
    events: EventSink,
) -> Result<(Worker<B>, Option<NativeResumed>)> {
    let kv_bytes_max = placement.kv_bytes_max.map_or_else(|| kv_bytes_default(backend.as_ref()), Ok)?;
    let parts = match source {
        Source::Config { json, seed, tokenizer } => create(&json, seed, tokenizer.as_deref(), backend, precision)?,
        Source::Folder(folder) => load(folder, backend, precision)?,
        Source::Checkpoint(path) => {
            let (checkpoint, warnings) = find_checkpoint(&path)?;
            resume(&checkpoint, warnings, backend, precision)?
        }
        Source::Verified(checkpoint, warnings) => resume(&checkpoint, warnings, backend, precision)?,
    };
    let Parts { model, mut trainer, tokenizer, folder, resumed } = parts;
    if let Some(tokenizer) = &tokenizer
        && tokenizer.vocab_size() > model.config.vocab_size
    {
        let (tokens, rows) = (tokenizer.vocab_size(), model.config.vocab_size);
        return Err(Fault::new(
            "bad-config",
            format!(
                "the tokenizer has {tokens} tokens and the config's vocab_size is {rows}; take the tokenizer of this model or raise vocab_size to {tokens}"
            ),
        ));
    }
    let companion_files = folder.as_deref().map(read_companions).transpose()?.unwrap_or_default();
    let region = model.backend.region();
    trainer.share(region.clone());
    let worker = Worker {
        stop_tokens: stop_tokens(&model.config, tokenizer.as_ref(), &companion_files)?,
        generation: Generation::new(&model, kv_bytes_max, region.clone()),
        region,
        kv_bytes_max,
        // No backward follows a score.
        scoring: TrainingWorkspace::recomputing(Recompute::Layer),
        activation_bytes_max: placement.activation_bytes_max,
        model,
        trainer,
        tokenizer,
        companion_files,
        events,
    };
    Ok((worker, resumed))
}

/// The fixed facts of a policy.
pub fn describe<B: Backend>(worker: &Worker<B>) -> NativePolicyInfo {
    let (config, backend) = (&worker.model.config, worker.model.backend.as_ref());
    NativePolicyInfo {
        architecture: config.architecture.name().to_string(),
        parameters: worker.model.parameters.elements() as f64,
        vocab_size: config.vocab_size as u32,
        max_positions: config.max_position_embeddings as u32,
        eos_token_ids: worker.stop_tokens.clone(),
        has_tokenizer: worker.tokenizer.is_some(),
        device: backend.kind().to_string(),
        level: backend.level().to_string(),
        dtype: worker.model.precision.name().to_string(),
        threads: backend.threads() as u32,
        kv_bytes_max: worker.kv_bytes_max as f64,
        config: config.to_json(),
    }
}

fn create<B: Backend>(
    json: &str,
    seed: u64,
    tokenizer: Option<&Path>,
    backend: Arc<B>,
    precision: Precision,
) -> Result<Parts<B>> {
    let config = ModelConfig::from_json(json)?;
    let tokenizer = match tokenizer {
        Some(path) if path.is_dir() => Some(Tokenizer::from_folder(path)?.ok_or_else(|| {
            Fault::new(
                "not-found",
                format!("{} has no tokenizer.json; name a tokenizer.json or a folder with one", path.display()),
            )
        })?),
        Some(path) => Some(Tokenizer::from_file(path)?),
        None => None,
    };
    let model = Model::random(config, backend, seed, precision)?;
    Ok(Parts { model, trainer: Trainer::new(), tokenizer, folder: None, resumed: None })
}

fn load<B: Backend>(folder: PathBuf, backend: Arc<B>, precision: Precision) -> Result<Parts<B>> {
    put_back_folder(&folder)?;
    if !folder.is_dir() {
        let path = folder.display();
        let message = format!(
            "there is no model folder {path}; give the path of a Hugging Face folder (config.json, model.safetensors)"
        );
        return Err(Fault { code: "not-found", message, value: Some(path.to_string()) });
    }
    let tokenizer = Tokenizer::from_folder(&folder)?;
    let model = Model::load(&folder, backend, precision)?;
    let trainer = Trainer::of_folder(&folder, precision)?;
    Ok(Parts { model, trainer, tokenizer, folder: Some(folder), resumed: None })
}

fn resume<B: Backend>(
    checkpoint: &VerifiedCheckpoint,
    mut warnings: Vec<String>,
    backend: Arc<B>,
    precision: Precision,
) -> Result<Parts<B>> {
    let LoadedCheckpoint { model, trainer, recipe_json, manifest, warnings: differences } =
        load_checkpoint(checkpoint, backend, Some(precision))?;
    warnings.extend(differences);
    let resumed = NativeResumed {
        folder: checkpoint.path.to_string_lossy().into_owned(),
        step: manifest.step as f64,
        recipe_state: recipe_json,
        config_hash: manifest.config_hash,
        warnings,
    };
    let tokenizer = Tokenizer::from_folder(&checkpoint.path)?;
    Ok(Parts { model, trainer, tokenizer, folder: Some(checkpoint.path.clone()), resumed: Some(resumed) })
}

/// The checkpoint that `path` is, or the newest good one in it, with a line for each damaged one that was set aside: in
/// the fault's message where none is left.
fn find_checkpoint(path: &Path) -> Result<(VerifiedCheckpoint, Vec<String>)> {
    let not_found = |what: &str| {
        let message = format!("{what} {}; give a step-N folder of a run or its checkpoints folder", path.display());
        Fault { code: "not-found", message, value: Some(path.display().to_string()) }
    };
    put_back_folder(path)?;
    if !path.is_dir() {
        return Err(not_found("there is no checkpoint"));
    }
    let is_step = path.join("manifest.json").is_file() || path.join("config.json").is_file();
    if is_step {
        return Ok((verify_checkpoint(path)?, Vec::new()));
    }
    let latest = latest_good(path)?;
    if let Some(checkpoint) = latest.checkpoint {
        return Ok((checkpoint, latest.warnings));
    }
    let mut fault = not_found("there is no whole checkpoint in");
    for warning in latest.warnings {
        fault.message.push_str("; ");
        fault.message.push_str(&warning);
    }
    Err(fault)
}

fn read_companions(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for name in COMPANION_FILES {
        let path = folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => files.push((name.to_string(), bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Fault::io(format!("cannot read {}: {error}", path.display()), error.kind())),
        }
    }
    Ok(files)
}

/// End tokens of the tokenizer, the config and generation_config.json, in this order: the first is what a sample for SFT ends in.
fn stop_tokens(
    config: &ModelConfig,
    tokenizer: Option<&Tokenizer>,
    companion_files: &[(String, Vec<u8>)],
) -> Result<Vec<u32>> {
    let mut ids: Vec<u32> =
        tokenizer.and_then(|tokenizer| tokenizer.token_to_id(tokenizer.eos_token()?)).into_iter().collect();
    ids.extend(&config.eos_token_ids);
    if let Some((name, bytes)) = companion_files.iter().find(|(name, _)| name == "generation_config.json") {
        let json: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| {
            Fault::new("damaged-file", format!("{name} is not JSON ({error}); copy or download it again"))
        })?;
        let eos = &json["eos_token_id"];
        let listed = eos.as_array().map_or_else(|| std::slice::from_ref(eos), Vec::as_slice);
        ids.extend(listed.iter().filter_map(serde_json::Value::as_u64).map(|id| id as u32));
    }
    let mut seen = HashSet::new();
    ids.retain(|&id| (id as usize) < config.vocab_size && seen.insert(id));
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus_cpu::CpuBackend;

    #[test]
    fn damaged_checkpoints_are_named_even_where_none_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for step in ["step-1", "step-2"] {
            std::fs::create_dir(root.join(step)).unwrap();
            std::fs::write(root.join(step).join("manifest.json"), "{").unwrap();
        }
        let fault = find_checkpoint(root).unwrap_err();
        assert_eq!(fault.code, "not-found");
        for words in ["no whole checkpoint in", "step-1 is damaged", "step-2 is damaged", "set aside as step-2.damaged"]
        {
            assert!(fault.message.contains(words), "{} does not say {words:?}", fault.message);
        }
    }

    #[test]
    fn a_folder_whose_replacement_was_killed_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".out.old-77")).unwrap();
        let backend = Arc::new(CpuBackend::new(Some(1)).unwrap());
        // It is there again, and lacks a config.
        let Err(fault) = load(folder.path().join("out"), backend, Precision::F32) else {
            panic!("an empty folder was loaded")
        };
        assert!(fault.message.contains("no config.json"), "{}", fault.message);
        assert!(folder.path().join("out").is_dir());
    }
}
