//! manifest.json of a checkpoint: every file with its size and BLAKE3, and what made it.
//!
//! Written last into a staged folder; read first when a run resumes.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use gradus_ops::Precision;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Changes when a reader of the old layout would misread the new one.
pub const FORMAT_VERSION: u64 = 1;
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const OPTIMIZER: &str = "optimizer.safetensors";
pub(super) const RECIPE: &str = "recipe.json";
/// Without these a checkpoint cannot be resumed.
pub(super) const REQUIRED: [&str; 4] = ["config.json", "model.safetensors", OPTIMIZER, RECIPE];

/// What a checkpoint consists of and what made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format_version: u64,
    /// Version of the numerics contract (`gradus_ops::CONTRACT_VERSION`).
    pub contract_version: u32,
    pub step: u64,
    /// "cpu" or "cuda".
    pub device_kind: String,
    /// Instruction level or chip.
    pub level: String,
    /// "f32" or "bf16": in what the policy computed and its weights are stored.
    #[serde(default = "default_dtype")]
    pub dtype: String,
    pub commit: Option<String>,
    pub config_hash: Option<String>,
    pub files: Vec<ManifestFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    pub name: String,
    pub bytes: u64,
    /// Hexadecimal.
    pub blake3: String,
}

/// A checkpoint whose every file was read and found as its manifest says.
#[derive(Clone, Debug)]
pub struct VerifiedCheckpoint {
    pub path: PathBuf,
    pub manifest: Manifest,
}

/// Manifests without a dtype are older than bf16.
fn default_dtype() -> String {
    Precision::F32.name().to_owned()
}

/// Sizes and hashes of the files of `folder`, in the order of their names.
pub(super) fn list_files(folder: &Path) -> Result<Vec<ManifestFile>> {
    let io = |source| Error::Io { action: "list", path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (bytes, blake3) = hash_file(&path).map_err(|source| Error::Io { action: "read", path, source })?;
        files.push(ManifestFile { name, bytes, blake3 });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Reads the manifest of `path` and every file it names; damage is [`Error::Damaged`] with the first thing found wrong.
pub fn verify_checkpoint(path: &Path) -> Result<VerifiedCheckpoint> {
    let manifest_path = path.join(MANIFEST);
    let text = match fs::read(&manifest_path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::NotACheckpoint { path: path.to_owned() });
        }
        other => other.map_err(|source| Error::Io { action: "read", path: manifest_path.clone(), source })?,
    };
    let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
    let unreadable = |error: serde_json::Error| damaged(format!("its {MANIFEST} cannot be read: {error}"));
    let json: serde_json::Value = serde_json::from_slice(&text).map_err(unreadable)?;
    if let Some(found) = json.get("format_version").and_then(serde_json::Value::as_u64)
        && found != FORMAT_VERSION
    {
        return Err(Error::Format { path: path.to_owned(), found, expected: FORMAT_VERSION });
    }
    let manifest: Manifest = serde_json::from_value(json).map_err(unreadable)?;
    if let Some(name) = REQUIRED.iter().find(|name| manifest.files.iter().all(|file| file.name != **name)) {
        return Err(damaged(format!("its manifest does not name {name}")));
    }
    for file in &manifest.files {
        check_file(path, file)?;
    }
    Ok(VerifiedCheckpoint { path: path.to_owned(), manifest })
}

fn check_file(folder: &Path, expected: &ManifestFile) -> Result<()> {
    let path = folder.join(&expected.name);
    let damaged = |reason: String| Error::Damaged { path: folder.to_owned(), reason };
    let name = &expected.name;
    let bytes = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(damaged(format!("{name} is missing"))),
        Err(source) => return Err(Error::Io { action: "read", path, source }),
    };
    if bytes != expected.bytes {
        return Err(damaged(format!("{name} has {bytes} bytes, its manifest says {}", expected.bytes)));
    }
    let (_, blake3) = hash_file(&path).map_err(|source| Error::Io { action: "read", path: path.clone(), source })?;
    if blake3 != expected.blake3 {
        return Err(damaged(format!("the content of {name} is not what its manifest says")));
    }
    Ok(())
}

fn hash_file(path: &Path) -> std::io::Result<(u64, String)> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok((hasher.count(), hasher.finalize().to_hex().to_string()))
}
