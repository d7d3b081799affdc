//! Writes a checkpoint: free space first, then every file into a staged folder, the manifest last, then the final name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gradus_model::Model;
use gradus_ops::{Backend, CONTRACT_VERSION};
use gradus_tensor::{OnExisting, SafetensorsWriter, StagedFolder, file_bytes, free_bytes, write_file};

use super::folder::{clean, step_path};
use super::manifest::{FORMAT_VERSION, MANIFEST, Manifest, OPTIMIZER, RECIPE, REQUIRED, list_files};
use crate::{Error, Result, Trainer};

/// Metadata entry of optimizer.safetensors: updates made, the exponent of the bias corrections.
pub(super) const STEPS: &str = "steps";
/// Room for config.json, the manifest and the folders themselves.
const SMALL_FILES_BYTES: u64 = 1 << 20;

/// What belongs to a checkpoint beside weights and optimizer state.
pub struct SaveRequest<'a> {
    /// The run's checkpoints folder; made if it is not there.
    pub folder: &'a Path,
    /// N of `step-N`.
    pub step: u64,
    /// The recipe's state as JSON, kept as it is.
    pub recipe_json: &'a str,
    /// Name and content of the tokenizer's files.
    pub extra_files: &'a [(String, Vec<u8>)],
    /// Commit of this build and hash of the resolved config, where they are known.
    pub commit: Option<&'a str>,
    pub config_hash: Option<&'a str>,
    /// Two runs must not share a folder, so a first run refuses; a resumed run redoes the step and replaces.
    pub on_existing: OnExisting,
}

/// Writes `step-N` and returns its path. A q8_0 policy is refused. A failed save leaves nothing behind, and an existing checkpoint as it was.
pub fn save_checkpoint<B: Backend>(
    model: &Model<B>,
    trainer: &Trainer<B>,
    request: &SaveRequest<'_>,
) -> Result<PathBuf> {
    model.refuse_quantised("saved")?;
    check_names(request.extra_files)?;
    let folder = request.folder;
    fs::create_dir_all(folder).map_err(|source| Error::Io { action: "create", path: folder.to_owned(), source })?;
    clean(folder)?;
    let target = step_path(folder, request.step);
    if target.exists() && request.on_existing == OnExisting::Refuse {
        return Err(Error::Exists { path: target });
    }
    check_space(&target, needed_bytes(model, trainer, request), free_bytes(folder)?)?;

    let staged = StagedFolder::create(&target)?;
    model.save_weights(staged.path())?;
    for (name, content) in request.extra_files {
        write_file(&staged.path().join(name), content)?;
    }
    write_optimizer(model, trainer, &staged.path().join(OPTIMIZER))?;
    write_file(&staged.path().join(RECIPE), request.recipe_json.as_bytes())?;
    write_manifest(model, request, staged.path())?;
    staged.publish(request.on_existing).map_err(|error| match error {
        gradus_tensor::Error::Exists { path } => Error::Exists { path },
        error => error.into(),
    })?;
    Ok(target)
}

/// Refuses names that would leave the folder or hide one of the checkpoint's own files.
fn check_names(files: &[(String, Vec<u8>)]) -> Result<()> {
    let is_plain = |name: &str| Path::new(name).file_name().is_some_and(|file| file == name) && !name.starts_with('.');
    let wrong = |name: &str| !is_plain(name) || name == MANIFEST || REQUIRED.contains(&name);
    match files.iter().find(|(name, _)| wrong(name)) {
        Some((name, _)) => Err(Error::FileName { name: name.clone() }),
        None => Ok(()),
    }
}

fn check_space(target: &Path, needed: u64, free: u64) -> Result<()> {
    if needed > free {
        return Err(gradus_tensor::Error::DiskFull { path: target.to_owned(), needed, free }.into());
    }
    Ok(())
}

fn needed_bytes<B: Backend>(model: &Model<B>, trainer: &Trainer<B>, request: &SaveRequest<'_>) -> u64 {
    let no_metadata = BTreeMap::new();
    let weights = file_bytes(&model.parameters.tensor_specs(""), &no_metadata);
    let optimizer = file_bytes(&trainer.optimizer.tensor_specs(model), &no_metadata);
    let extra: usize = request.extra_files.iter().map(|(_, content)| content.len()).sum();
    weights + optimizer + (extra + request.recipe_json.len()) as u64 + SMALL_FILES_BYTES
}

fn write_optimizer<B: Backend>(model: &Model<B>, trainer: &Trainer<B>, path: &Path) -> Result<()> {
    let metadata = BTreeMap::from([(STEPS.to_owned(), trainer.steps().to_string())]);
    let mut writer = SafetensorsWriter::create(path, trainer.optimizer.tensor_specs(model), &metadata)?;
    trainer.optimizer.write(model, &mut writer)?;
    Ok(writer.finish()?)
}

fn write_manifest<B: Backend>(model: &Model<B>, request: &SaveRequest<'_>, folder: &Path) -> Result<()> {
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        contract_version: CONTRACT_VERSION,
        step: request.step,
        device_kind: model.backend.kind().to_owned(),
        level: model.backend.level().to_owned(),
        dtype: model.precision.name().to_owned(),
        commit: request.commit.map(str::to_owned),
        config_hash: request.config_hash.map(str::to_owned),
        files: list_files(folder)?,
    };
    let text = serde_json::to_string_pretty(&manifest).expect("a manifest of strings and numbers is valid JSON");
    write_file(&folder.join(MANIFEST), text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_space_is_refused_with_both_figures() {
        let target = Path::new("checkpoints/step-5");
        assert!(check_space(target, 100, 100).is_ok());
        let message = check_space(target, 100, 99).unwrap_err().to_string();
        assert_eq!(
            message,
            "cannot write checkpoints/step-5: the disk is full (100 bytes needed, 99 bytes free); free space or choose another folder"
        );
    }

    #[test]
    fn extra_files_stay_in_the_folder_and_hide_nothing() {
        let check = |name: &str| check_names(&[(name.to_owned(), Vec::new())]);
        assert!(check("tokenizer.json").is_ok());
        for name in ["../tokenizer.json", "a/b", "", ".", "model.safetensors", "manifest.json", ".hidden"] {
            assert!(matches!(check(name), Err(Error::FileName { .. })), "{name}");
        }
    }
}
