//! The checkpoints folder of a run: `step-N` folders that appear whole, are found again, set aside when damaged, and pruned.
//!
//! One run writes one folder. Names that start with a dot are never checkpoints: `.step-N.tmp-<pid>` is being written or removed,
//! `.step-N.old-<pid>` is a checkpoint that is being replaced by a redone step.

use std::fs;
use std::path::{Path, PathBuf};

use gradus_tensor::sync_folder;

use super::manifest::{VerifiedCheckpoint, verify_checkpoint};
use crate::{Error, Result};

/// What a save does when `step-N` is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExisting {
    /// Refuse: two runs must not share a folder.
    Refuse,
    /// Replace: a resumed run redoes the step. The old folder goes only when the new one is whole.
    Replace,
}

/// The newest checkpoint that can be trusted, and what had to be set aside to find it.
#[derive(Debug)]
pub struct LatestCheckpoint {
    pub checkpoint: Option<VerifiedCheckpoint>,
    /// One line for each damaged checkpoint, to be shown to the user.
    pub warnings: Vec<String>,
}

/// A folder being filled beside its final place; dropped before [`StagedFolder::publish`], it leaves nothing behind.
pub(super) struct StagedFolder {
    pub path: PathBuf,
    folder: PathBuf,
    step: u64,
    published: bool,
}

impl StagedFolder {
    pub fn create(folder: &Path, step: u64) -> Result<Self> {
        let path = temporary_path(folder, step);
        fs::create_dir(&path).map_err(|source| Error::Io { action: "create", path: path.clone(), source })?;
        Ok(Self { path, folder: folder.to_owned(), step, published: false })
    }

    /// Syncs the folder and gives it its final name.
    pub fn publish(mut self, on_existing: OnExisting) -> Result<PathBuf> {
        sync_folder(&self.path)?;
        let target = step_path(&self.folder, self.step);
        let replaced = old_path(&self.folder, self.step);
        let replace = on_existing == OnExisting::Replace && target.exists();
        if replace {
            rename(&target, &replaced)?;
        }
        // A folder that holds files is never replaced by rename(2): an existing checkpoint stays as it is.
        if let Err(error) = rename(&self.path, &target) {
            if replace {
                rename(&replaced, &target)?;
            }
            return Err(error);
        }
        self.published = true;
        sync_folder(&self.folder)?;
        if replace {
            remove_folder(&replaced)?;
        }
        Ok(target)
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        if !self.published {
            // The error that brought us here is already on its way to the caller; a leftover is cleaned at the next save.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// `step-N` of a checkpoints folder.
pub(super) fn step_path(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("step-{step}"))
}

fn temporary_path(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!(".step-{step}.tmp-{}", std::process::id()))
}

fn old_path(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!(".step-{step}.old-{}", std::process::id()))
}

/// The checkpoints of a folder, oldest first, good or not.
pub fn list_checkpoints(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut steps: Vec<(u64, PathBuf)> = folder_names(folder)?
        .into_iter()
        .filter_map(|name| {
            let step = name.strip_prefix("step-")?.parse::<u64>().ok()?;
            let path = step_path(folder, step);
            (path.file_name()? == name.as_str() && path.is_dir()).then_some((step, path))
        })
        .collect();
    steps.sort_unstable();
    Ok(steps)
}

/// Removes what killed saves left behind, and puts back a checkpoint whose replacement was cut off half way.
pub(super) fn clean(folder: &Path) -> Result<()> {
    for name in folder_names(folder)? {
        let Some((step, kind)) = name.strip_prefix(".step-").and_then(|rest| rest.split_once('.')) else { continue };
        let Ok(step) = step.parse::<u64>() else { continue };
        let path = folder.join(&name);
        if kind.starts_with("tmp-") {
            remove_folder(&path)?;
        } else if kind.starts_with("old-") {
            let target = step_path(folder, step);
            if target.exists() {
                remove_folder(&path)?;
            } else {
                rename(&path, &target)?;
            }
        }
    }
    Ok(())
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
    rename(path, &path.with_file_name(&aside))?;
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
        // Out of sight first: a kill while its files go must not leave half a checkpoint under a good name.
        let hidden = temporary_path(folder, step);
        rename(&path, &hidden)?;
        remove_folder(&hidden)?;
        removed.push(step);
    }
    Ok(removed)
}

fn folder_names(folder: &Path) -> Result<Vec<String>> {
    let io = |source| Error::Io { action: "list", path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(io)?;
    entries.map(|entry| Ok(entry.map_err(io)?.file_name().to_string_lossy().into_owned())).collect()
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|source| match source.kind() {
        std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::AlreadyExists => {
            Error::Exists { path: to.to_owned() }
        }
        _ => Error::Io { action: "rename a checkpoint to", path: to.to_owned(), source },
    })
}

fn remove_folder(path: &Path) -> Result<()> {
    fs::remove_dir_all(path).map_err(|source| Error::Io { action: "remove", path: path.to_owned(), source })
}
