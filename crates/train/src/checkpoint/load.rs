//! Brings a verified checkpoint back: the policy, its trainer and the recipe's state.

use std::fs;
use std::sync::Arc;

use gradus_model::Model;
use gradus_ops::{Backend, CONTRACT_VERSION, OptimizerValues, Precision};
use gradus_tensor::Checkpoint;

use super::manifest::{Manifest, OPTIMIZER, RECIPE, VerifiedCheckpoint};
use super::save::STEPS;
use crate::optimizer::{FIRST_MOMENT, MASTER, Masters, Optimizer, OptimizerState, SECOND_MOMENT};
use crate::{Error, Result, Trainer};

/// All that a resumed run goes on with.
pub struct LoadedCheckpoint<B: Backend> {
    pub model: Model<B>,
    pub trainer: Trainer<B>,
    pub recipe_json: String,
    pub manifest: Manifest,
    /// One line for each reason why the resumed run may differ in bits from the unbroken one.
    pub warnings: Vec<String>,
}

/// Loads what [`super::verify_checkpoint`] or [`super::latest_good`] found whole, in the precision it was written in or in another one.
///
/// The exact weights are the masters where there are some, else those of model.safetensors: an f32 policy from a bf16 checkpoint goes on
/// from them, and a bf16 policy from an f32 checkpoint has them as masters. A q8_0 policy has no optimizer state.
pub fn load_checkpoint<B: Backend>(
    checkpoint: &VerifiedCheckpoint,
    backend: Arc<B>,
    precision: Option<Precision>,
) -> Result<LoadedCheckpoint<B>> {
    let (path, manifest) = (&checkpoint.path, &checkpoint.manifest);
    let stored = Precision::ALL.into_iter().find(|precision| precision.name() == manifest.dtype);
    let stored = stored.ok_or_else(|| Error::Damaged {
        path: path.clone(),
        reason: format!("its manifest has the unknown dtype {:?}", manifest.dtype),
    })?;
    let precision = precision.unwrap_or(stored);
    let warnings = warnings(manifest, backend.as_ref(), precision);
    let mut model = Model::load(path, backend, precision)?;
    let trainer = load_trainer(checkpoint, &mut model)?;
    let recipe = path.join(RECIPE);
    let recipe_json =
        fs::read_to_string(&recipe).map_err(|source| Error::Io { action: "read", path: recipe, source })?;
    Ok(LoadedCheckpoint { model, trainer, recipe_json, manifest: checkpoint.manifest.clone(), warnings })
}

fn load_trainer<B: Backend>(checkpoint: &VerifiedCheckpoint, model: &mut Model<B>) -> Result<Trainer<B>> {
    let path = checkpoint.path.join(OPTIMIZER);
    let file = Checkpoint::open_file(&path)?;
    let steps = file.metadata().get(STEPS).and_then(|steps| steps.parse::<u64>().ok());
    let steps = steps.ok_or_else(|| Error::Damaged {
        path: checkpoint.path.clone(),
        reason: format!("{OPTIMIZER} does not say how many steps were made"),
    })?;
    let has = |prefix: &str| file.names().any(|name| name.starts_with(prefix));
    let (has_masters, has_moments) = (has(MASTER), has(FIRST_MOMENT));
    if !model.precision.has_masters() {
        if has_masters {
            model.parameters.read(&model.backend, MASTER, &file)?;
        }
        if !model.precision.is_trainable() || !has_moments {
            return Ok(Trainer::resumed(steps, Optimizer::Unmade(None)));
        }
    }
    let masters = match model.precision {
        Precision::Bf16 if has_masters => Some(Masters::of_file(Checkpoint::open_file(&path)?, MASTER)),
        Precision::Bf16 => Masters::of_folder(&checkpoint.path)?,
        Precision::F32 | Precision::Q8 => None,
    };
    if !has_moments {
        return Ok(Trainer::resumed(steps, Optimizer::Unmade(masters)));
    }
    let mut state = OptimizerState::new(model, masters.as_ref())?;
    state.read(OptimizerValues::FirstMoment, FIRST_MOMENT, model, &file)?;
    state.read(OptimizerValues::SecondMoment, SECOND_MOMENT, model, &file)?;
    Ok(Trainer::resumed(steps, Optimizer::Made(state)))
}

fn warnings<B: Backend>(manifest: &Manifest, backend: &B, precision: Precision) -> Vec<String> {
    let mut warnings = Vec::new();
    if manifest.dtype != precision.name() {
        let (found, now) = (&manifest.dtype, precision.name());
        warnings.push(format!(
            "the checkpoint was written in {found}, this is {now}: results differ from the unbroken run's"
        ));
    }
    if manifest.contract_version != CONTRACT_VERSION {
        let found = manifest.contract_version;
        warnings.push(format!(
            "the checkpoint was written under numerics contract {found}, this build has {CONTRACT_VERSION}: results may differ in their last bits"
        ));
    }
    if manifest.device_kind != backend.kind() {
        let (found, now) = (&manifest.device_kind, backend.kind());
        warnings.push(format!(
            "the checkpoint was written on {found}, this is {now}: results may differ in their last bits"
        ));
    }
    warnings
}
