//! Brings a verified checkpoint back: the policy, its trainer and the recipe's state.

use std::fs;
use std::sync::Arc;

use gradus_model::Model;
use gradus_ops::{Backend, CONTRACT_VERSION};
use gradus_tensor::Checkpoint;

use super::manifest::{Manifest, OPTIMIZER, RECIPE, VerifiedCheckpoint};
use super::save::{FIRST_MOMENT, SECOND_MOMENT, STEPS};
use crate::trainer::Moments;
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

/// Loads what [`super::verify_checkpoint`] or [`super::latest_good`] found whole.
pub fn load_checkpoint<B: Backend>(checkpoint: &VerifiedCheckpoint, backend: Arc<B>) -> Result<LoadedCheckpoint<B>> {
    let path = &checkpoint.path;
    let warnings = warnings(&checkpoint.manifest, backend.as_ref());
    let model = Model::load(path, backend)?;
    let trainer = load_trainer(checkpoint, &model)?;
    let recipe = path.join(RECIPE);
    let recipe_json =
        fs::read_to_string(&recipe).map_err(|source| Error::Io { action: "read", path: recipe, source })?;
    Ok(LoadedCheckpoint { model, trainer, recipe_json, manifest: checkpoint.manifest.clone(), warnings })
}

fn load_trainer<B: Backend>(checkpoint: &VerifiedCheckpoint, model: &Model<B>) -> Result<Trainer<B>> {
    let file = Checkpoint::open_file(&checkpoint.path.join(OPTIMIZER))?;
    let steps = file.metadata().get(STEPS).and_then(|steps| steps.parse::<u64>().ok());
    let steps = steps.ok_or_else(|| Error::Damaged {
        path: checkpoint.path.clone(),
        reason: format!("{OPTIMIZER} does not say how many steps were made"),
    })?;
    if file.names().next().is_none() {
        return Ok(Trainer::resumed(steps, None));
    }
    let mut moments = Moments::zeros(model)?;
    moments.m.read(&model.backend, FIRST_MOMENT, &file)?;
    moments.v.read(&model.backend, SECOND_MOMENT, &file)?;
    Ok(Trainer::resumed(steps, Some(moments)))
}

fn warnings<B: Backend>(manifest: &Manifest, backend: &B) -> Vec<String> {
    let mut warnings = Vec::new();
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
