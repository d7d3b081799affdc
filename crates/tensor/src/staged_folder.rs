//! Folders that appear whole or not at all: filled beside their final place, synced, renamed; an older folder of the name
//! goes only when the new one has its place.
//!
//! Checkpoints and saved models go to disk through [`StagedFolder`]. Beside a folder `name` a killed process may leave
//! `.name.tmp-<pid>`, which was being filled or removed, and `.name.old-<pid>`, which was being replaced. Between the two
//! renames of a replacement the old folder is the only copy: [`put_back_folder`] and [`recover_folders`] bring it back.
//! One process at a time writes a folder.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::durable::{folder_of, sync_folder};
use crate::{Error, Result};

/// What [`StagedFolder::publish`] does when a folder of the name is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExisting {
    /// An error; the folder that is there stays as it is.
    Refuse,
    /// The old folder is removed when the new one has its place.
    Replace,
}

/// A folder being filled at a temporary name beside `target`; dropped before [`StagedFolder::publish`], it leaves nothing behind.
pub struct StagedFolder {
    path: PathBuf,
    target: PathBuf,
    published: bool,
}

impl StagedFolder {
    /// Makes the temporary folder; the folder around `target` must be there.
    pub fn create(target: &Path) -> Result<Self> {
        let path = hidden_path(target, Leftover::Temporary);
        fs::create_dir(&path).map_err(|source| Error::Io { action: "create", path: path.clone(), source })?;
        Ok(Self { path, target: target.to_owned(), published: false })
    }

    /// Where the files go.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the folder and gives it its final name. After an error what was there before has its name.
    pub fn publish(mut self, on_existing: OnExisting) -> Result<()> {
        sync_folder(&self.path)?;
        let (target, old) = (&self.target, hidden_path(&self.target, Leftover::Old));
        let replaces = on_existing == OnExisting::Replace && target.exists();
        if replaces {
            rename(target, &old)?;
        }
        // A folder that holds files is never replaced by rename(2): one that may not be replaced stays as it is.
        if let Err(error) = rename(&self.path, target) {
            if replaces {
                rename(&old, target)?;
            }
            return Err(error);
        }
        self.published = true;
        sync_folder(folder_of(target))?;
        if replaces { remove(&old) } else { Ok(()) }
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

/// Removes a folder; it leaves its name first, so that a kill while its files go leaves no part of it under that name.
pub fn remove_folder(target: &Path) -> Result<()> {
    let hidden = hidden_path(target, Leftover::Temporary);
    rename(target, &hidden)?;
    remove(&hidden)
}

/// Gives `target` back its name where a killed process left it without one. Nothing is removed: for those who only read.
pub fn put_back_folder(target: &Path) -> Result<()> {
    if target.exists() {
        return Ok(());
    }
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let leftovers = leftovers(folder_of(target), |found| found == name)?;
    match leftovers.into_iter().find(|(_, leftover, _)| *leftover == Leftover::Old) {
        Some((path, ..)) => rename(&path, target),
        None => Ok(()),
    }
}

/// Cleans up after killed processes in `folder`, for the names that `is_target` takes: a replaced folder whose successor
/// is missing gets its name back, everything else that they left goes.
pub fn recover_folders(folder: &Path, is_target: impl Fn(&str) -> bool) -> Result<()> {
    for (path, leftover, target) in leftovers(folder, is_target)? {
        if leftover == Leftover::Old && !target.exists() {
            rename(&path, &target)?;
        } else {
            remove(&path)?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leftover {
    /// Being filled or removed.
    Temporary,
    /// Being replaced.
    Old,
}

impl Leftover {
    const ALL: [Leftover; 2] = [Leftover::Temporary, Leftover::Old];

    fn mark(self) -> &'static str {
        match self {
            Leftover::Temporary => "tmp",
            Leftover::Old => "old",
        }
    }
}

fn hidden_path(target: &Path, leftover: Leftover) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{}-{}", leftover.mark(), std::process::id()))
}

/// The hidden folders in `folder`, each with the folder it stands for; none where `folder` is missing.
fn leftovers(folder: &Path, is_target: impl Fn(&str) -> bool) -> Result<Vec<(PathBuf, Leftover, PathBuf)>> {
    let io = |source| Error::Io { action: "list", path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some((target, leftover)) = parse(&name)
            && is_target(target)
            && entry.file_type().map_err(io)?.is_dir()
        {
            found.push((entry.path(), leftover, folder.join(target)));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// The name and the kind in `.name.tmp-<pid>` or `.name.old-<pid>`.
fn parse(hidden: &str) -> Option<(&str, Leftover)> {
    let (name, rest) = hidden.strip_prefix('.')?.rsplit_once('.')?;
    let (mark, process) = rest.split_once('-')?;
    process.parse::<u32>().ok()?;
    Some((name, Leftover::ALL.into_iter().find(|leftover| leftover.mark() == mark)?))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|source| match source.kind() {
        ErrorKind::DirectoryNotEmpty => Error::Exists { path: to.to_owned() },
        _ => Error::Io { action: "rename a folder to", path: to.to_owned(), source },
    })
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_dir_all(path).map_err(|source| Error::Io { action: "remove", path: path.to_owned(), source })
}
