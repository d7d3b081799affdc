//! Writes a policy as a Hugging Face folder that appears whole: filled beside its final place, then renamed.

use crate::fault::{Fault, Result};
use gradus_model::Model;
use gradus_ops::Backend;
use gradus_tensor::{file_bytes, free_bytes, sync_folder, write_file};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Writes `folder`: new, empty, or a policy's folder that is replaced. A failed save leaves what was there.
pub fn save_folder<B: Backend>(model: &Model<B>, files: &[(String, Vec<u8>)], folder: &Path) -> Result<()> {
    let is_filled = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if folder.is_file() || (is_filled && !folder.join("config.json").is_file()) {
        let message =
            format!("{} is there already and holds no model; choose another folder or remove it", folder.display());
        return Err(Fault::new("exists", message));
    }
    let folder = absolute(folder)?;
    let parent = folder.parent().unwrap_or(&folder);
    fs::create_dir_all(parent).map_err(|error| io_fault("create", parent, &error))?;
    let needed = needed_bytes(model, files);
    let free = free_bytes(parent)?;
    if needed > free {
        return Err(gradus_tensor::Error::DiskFull { path: folder, needed, free }.into());
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let staged = Staged { path: parent.join(format!(".{name}.tmp-{}", std::process::id())) };
    let replaced = Staged { path: parent.join(format!(".{name}.old-{}", std::process::id())) };
    fs::create_dir(&staged.path).map_err(|error| io_fault("create", &staged.path, &error))?;
    model.save_weights(&staged.path)?;
    for (name, bytes) in files {
        write_file(&staged.path.join(name), bytes)?;
    }
    sync_folder(&staged.path)?;
    if is_filled {
        rename(&folder, &replaced.path)?;
    }
    if let Err(fault) = rename(&staged.path, &folder) {
        if is_filled {
            rename(&replaced.path, &folder)?;
        }
        return Err(fault);
    }
    sync_folder(parent)?;
    Ok(())
}

/// Bytes of the weights and of the other files; config.json is small beside them.
fn needed_bytes<B: Backend>(model: &Model<B>, files: &[(String, Vec<u8>)]) -> u64 {
    let weights = file_bytes(&model.parameters.tensor_specs(""), &BTreeMap::new());
    weights + files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>()
}

/// A folder that must be gone in the end: one being filled, or one that was replaced.
struct Staged {
    path: PathBuf,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // The error that brought us here is already on its way to the caller.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| io_fault("rename a folder to", to, &error))
}

fn absolute(folder: &Path) -> Result<PathBuf> {
    std::path::absolute(folder).map_err(|error| io_fault("find", folder, &error))
}

fn io_fault(action: &str, path: &Path, error: &std::io::Error) -> Fault {
    let remedy = match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => "; a file is in the way, choose another folder",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "; choose a folder that you may write to",
        _ => "",
    };
    Fault::io(format!("cannot {action} {}: {error}{remedy}", path.display()), error.kind())
}
