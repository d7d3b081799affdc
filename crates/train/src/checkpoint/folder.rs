//! The checkpoints folder of a run: `step-N` folders that appear whole, are found again, set aside when damaged, and pruned.
//!
//! One run writes one folder. Names that start with a dot are never checkpoints: see [`gradus_tensor::StagedFolder`].

use std::fs;
use std::path::{Path, PathBuf};

use gradus_tensor::{recover_folders, remove_folder};

use super::manifest::{VerifiedCheckpoint, verify_checkpoint};
use crate::{Error, Result};

/// The newest checkpoint that can be trusted, and what had to be set aside to find it.
#[derive(Debug)]
pub struct LatestCheckpoint {
    pub checkpoint: Option<VerifiedCheckpoint>,
    /// One line for each damaged checkpoint, to be shown to the user.
    pub warnings: Vec<String>,
}

/// `step-N` of a checkpoints folder.
pub(super) fn step_path(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("step-{step}"))
}

/// N of the name `step-N`, written as [`step_path`] writes it.
fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse::<u64>().ok()?;
    (name == format!("step-{step}")).then_some(step)
}

/// The checkpoints of a folder, oldest first, good or not.
pub fn list_checkpoints(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut steps: Vec<(u64, PathBuf)> = folder_names(folder)?
        .into_iter()
        .filter_map(|name| {
            let step = step_of(&name)?;
            let path = step_path(folder, step);
            path.is_dir().then_some((step, path))
        })
        .collect();
    steps.sort_unstable();
    Ok(steps)
}

/// Puts right what killed saves left behind in a checkpoints folder.
pub(super) fn clean(folder: &Path) -> Result<()> {
    Ok(recover_folders(folder, |name| step_of(name).is_some())?)
}

/// Finds the highest `step-N` whose manifest holds. Damaged newer ones are renamed `step-N.damaged`, with a warning each.
/// A folder that does not exist has no checkpoint.
pub fn latest_good(folder: &Path) -> Result<LatestCheckpoint> {
    let mut warnings = Vec::new();
    if !folder.exists() {
        return Ok(LatestCheckpoint { checkpoint: None, warnings });
    }
    clean(folder)?;
    for (_, path) in list_checkpoints(folder)?.into_iter().rev() {
        match verify_checkpoint(&path) {
            Ok(checkpoint) => return Ok(LatestCheckpoint { checkpoint: Some(checkpoint), warnings }),
            Err(error @ (Error::Damaged { .. } | Error::NotACheckpoint { .. })) => {
                warnings.push(set_aside(&path, &error)?);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(LatestCheckpoint { checkpoint: None, warnings })
}

/// Renames a damaged checkpoint to a name that is never resumed from, and says so in one line.
fn set_aside(path: &Path, error: &Error) -> Result<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let taken = |candidate: &String| path.with_file_name(candidate).exists();
    let later = (2..).map(|count: u64| format!("{name}.damaged-{count}"));
    let aside = std::iter::once(format!("{name}.damaged")).chain(later).find(|candidate| !taken(candidate));
    let aside = aside.expect("an endless list of names has a free one");
    let to = path.with_file_name(&aside);
    fs::rename(path, &to).map_err(|source| Error::Io { action: "rename a checkpoint to", path: to, source })?;
    let reason = match error {
        Error::Damaged { reason, .. } => reason.clone(),
        _ => "it has no manifest.json".to_owned(),
    };
    Ok(format!("checkpoint {} is damaged ({reason}); it was set aside as {aside}", path.display()))
}

/// Removes all checkpoints but the newest `keep_last` and the `protected` steps; returns the removed steps, oldest first.
/// Before anything goes, one of those that stay is verified, so that the only good checkpoint is never removed.
pub fn prune_checkpoints(folder: &Path, keep_last: usize, protected: &[u64]) -> Result<Vec<u64>> {
    let all = list_checkpoints(folder)?;
    let newest = all.len().saturating_sub(keep_last.max(1));
    let stays = |index: usize, step: u64| index >= newest || protected.contains(&step);
    let (kept, mut candidates): (Vec<_>, Vec<_>) =
        all.into_iter().enumerate().partition(|(index, (step, _))| stays(*index, *step));
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let is_good = |path: &Path| verify_checkpoint(path).is_ok();
    if !kept.iter().rev().any(|(_, (_, path))| is_good(path)) {
        let newest_good = candidates.iter().rposition(|(_, (_, path))| is_good(path));
        match newest_good {
            Some(index) => drop(candidates.remove(index)),
            None => return Ok(Vec::new()),
        }
    }
    let mut removed = Vec::new();
    for (_, (step, path)) in candidates {
        remove_folder(&path)?;
        removed.push(step);
    }
    Ok(removed)
}

fn folder_names(folder: &Path) -> Result<Vec<String>> {
    let io = |source| Error::Io { action: "list", path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(io)?;
    entries.map(|entry| Ok(entry.map_err(io)?.file_name().to_string_lossy().into_owned())).collect()
}
