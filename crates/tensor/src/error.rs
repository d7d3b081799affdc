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
    #[error("tensor {name} is not in {path}")]
    MissingTensor { name: String, path: PathBuf },
    #[error("tensor {name} in {path} has shape {found:?}, expected {expected:?}")]
    Shape { name: String, path: PathBuf, found: Vec<usize>, expected: Vec<usize> },
    #[error("tensor {name} in {path} has dtype {found}, expected F32, BF16 or F16")]
    DType { name: String, path: PathBuf, found: String },
}
