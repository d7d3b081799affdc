//! A policy in memory: config, parameters and rotary table, made of random numbers or a Hugging Face folder and saved
//! as one.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use gradus_ops::{Backend, Precision};
use gradus_tensor::{Checkpoint, DType, SafetensorsWriter, write_file};

use crate::rope::rope_table;
use crate::{Error, ModelConfig, Parameters, Result, init};

/// The one copy of the weights that generates, scores and is trained.
pub struct Model<B: Backend> {
    pub config: ModelConfig,
    pub backend: Arc<B>,
    pub parameters: Parameters<B>,
    /// Of parameters, activations, keys and values.
    pub precision: Precision,
    /// Grows with every change of the weights: what was computed from others (cached keys and values) is stale.
    pub version: u64,
    /// `[max_position_embeddings, head_dim]` f32
    pub(crate) rope: B::Buffer,
}

impl<B: Backend> Model<B> {
    /// Random weights: matrices and embedding normal(0, initializer_range), norms 1, biases 0; the same for a seed on
    /// every backend, rounded to `precision`.
    pub fn random(config: ModelConfig, backend: Arc<B>, seed: u64, precision: Precision) -> Result<Model<B>> {
        let mut model = Model::zeros(config, backend, precision)?;
        init::randomise(&mut model.parameters, model.backend.as_ref(), model.config.initializer_range as f32, seed)?;
        Ok(model)
    }

    /// Reads config.json and the safetensors files of `folder`; weights stored in f32, bf16 or f16 are rounded to `precision`.
    pub fn load(folder: &Path, backend: Arc<B>, precision: Precision) -> Result<Model<B>> {
        let config = read_config(folder)?;
        let checkpoint = Checkpoint::open(folder)?;
        let mut model = Model::zeros(config, backend, precision)?;
        model.parameters.read(model.backend.as_ref(), "", &checkpoint)?;
        Ok(model)
    }

    /// Writes config.json and model.safetensors, in f32 or bf16 as the policy is, into `folder`, which must exist.
    ///
    /// Refuses q8_0: its rounded weights would pass for those they were made from.
    pub fn save_weights(&self, folder: &Path) -> Result<()> {
        self.refuse_quantised("saved")?;
        // transformers and vLLM look for this entry before they read a file.
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let specs = self.parameters.tensor_specs("");
        let mut writer = SafetensorsWriter::create(&folder.join("model.safetensors"), specs, &metadata)?;
        self.parameters.write(self.backend.as_ref(), "", &mut writer)?;
        writer.finish()?;
        Ok(write_file(&folder.join("config.json"), self.config.to_json_of_weights(self.precision.saved()).as_bytes())?)
    }

    /// An error for a q8_0 policy, which cannot be what `action` says.
    pub fn refuse_quantised(&self, action: &'static str) -> Result<()> {
        if self.precision.is_trainable() {
            return Ok(());
        }
        Err(Error::InferenceOnly { dtype: self.precision.name(), action })
    }

    fn zeros(config: ModelConfig, backend: Arc<B>, precision: Precision) -> Result<Model<B>> {
        let parameters = Parameters::zeros(&config, backend.as_ref(), precision)?;
        let table = rope_table(&config);
        let mut rope = backend.alloc(DType::F32, table.len())?;
        backend.write(&mut rope, 0, &table)?;
        Ok(Model { config, backend, parameters, precision, version: 0, rope })
    }
}

fn read_config(folder: &Path) -> Result<ModelConfig> {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::NoConfig { folder: folder.to_owned() },
        _ => Error::Io { action: "read", path, source },
    })?;
    ModelConfig::from_json(&text)
        .map_err(|source| Error::ConfigFile { folder: folder.to_owned(), source: Box::new(source) })
}
