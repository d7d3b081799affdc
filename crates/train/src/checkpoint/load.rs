//! Brings a verified checkpoint back: the policy, its trainer and the recipe's state.

use std::fs;
use std::sync::Arc;

use gradus_model::Model;
use gradus_ops::{Backend, CONTRACT_VERSION, Precision};
use gradus_tensor::Checkpoint;

use super::manifest::{Manifest, OPTIMIZER, RECIPE, VerifiedCheckpoint};
use super::save::{FIRST_MOMENT, MASTER, SECOND_MOMENT, STEPS};
use crate::trainer::OptimizerState;
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
    let file = Checkpoint::open_file(&checkpoint.path.join(OPTIMIZER))?;
    let steps = file.metadata().get(STEPS).and_then(|steps| steps.parse::<u64>().ok());
    let steps = steps.ok_or_else(|| Error::Damaged {
        path: checkpoint.path.clone(),
        reason: format!("{OPTIMIZER} does not say how many steps were made"),
    })?;
    let has_masters = file.names().any(|name| name.starts_with(MASTER));
    if has_masters && model.precision != Precision::Bf16 {
        model.parameters.read(&model.backend, MASTER, &file)?;
    }
    let has_moments = file.names().next().is_some();
    // Without moments the first step makes the state, unless the weights hold more than a bf16 policy's parameters do.
    let has_state = has_moments || checkpoint.manifest.dtype != model.precision.name();
    if model.precision == Precision::Q8 || !has_state {
        return Ok(Trainer::resumed(steps, None));
    }
    let mut state = OptimizerState::new(model)?;
    if let Some(masters) = &mut state.masters {
        if has_masters {
            masters.read(&model.backend, MASTER, &file)?;
        } else {
            masters.read(&model.backend, "", &Checkpoint::open(&checkpoint.path)?)?;
        }
    }
    if has_moments {
        state.m.read(&model.backend, FIRST_MOMENT, &file)?;
        state.v.read(&model.backend, SECOND_MOMENT, &file)?;
    }
    Ok(Trainer::resumed(steps, Some(state)))
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
