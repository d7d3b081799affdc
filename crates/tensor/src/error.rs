//! What can go wrong with a file of tensors.

use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Error>;

/// Every message names the file or tensor, what was expected and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} is not a whole safetensors file ({reason}); copy or download it again")]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "{folder} has neither model.safetensors nor model.safetensors.index.json; give the folder of a Hugging Face model"
    )]
    NoWeights { folder: PathBuf },
    #[error("{shard} is named by {index} but is not there; copy or download it again")]
    MissingShard { shard: PathBuf, index: PathBuf },
    #[error("tensor {name} is not in {path}")]
    MissingTensor { name: String, path: PathBuf },
    #[error("tensor {name} in {path} has shape {found:?}, expected {expected:?}")]
    Shape { name: String, path: PathBuf, found: Vec<usize>, expected: Vec<usize> },
    #[error("tensor {name} in {path} has dtype {found}, expected F32, BF16 or F16")]
    DType { name: String, path: PathBuf, found: String },
    #[error("tensor {name} in {path} has {rows} rows, cannot read rows {start}..{end}")]
    Rows { name: String, path: PathBuf, rows: usize, start: usize, end: usize },
    #[error(
        "cannot write {path}: the disk is full ({needed} bytes needed, {free} bytes free); free space or choose another folder"
    )]
    DiskFull { path: PathBuf, needed: u64, free: u64 },
    #[error(
        "cannot write {path}: the file may not grow to {needed} bytes under this process's limits or quota; raise them (ulimit -f, quota) or choose another folder"
    )]
    FileLimit { path: PathBuf, needed: u64 },
    #[error("{path} is there already; choose another folder or remove it")]
    Exists { path: PathBuf },
    #[error("cannot write {path}: {reason}")]
    WriteOrder { path: PathBuf, reason: String },
}
