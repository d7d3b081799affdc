//! What can go wrong in a training step or with a checkpoint.

use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Error>;

/// Every message names the place, what was expected and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Tensor(#[from] gradus_tensor::Error),
    #[error(transparent)]
    Op(#[from] gradus_ops::Error),
    #[error(transparent)]
    Model(#[from] gradus_model::Error),
    #[error("training batch: {reason}")]
    Batch { reason: String },
    #[error("step option {name} is {value}, expected {expected}")]
    Option { name: &'static str, value: String, expected: &'static str },
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("checkpoint {path} is there already; resume from it or use another checkpoints folder")]
    Exists { path: PathBuf },
    #[error("checkpoint {path} is damaged ({reason}); use an older one")]
    Damaged { path: PathBuf, reason: String },
    #[error("{path} is not a checkpoint (it has no manifest.json); give a step-N folder of a run")]
    NotACheckpoint { path: PathBuf },
    #[error(
        "checkpoint {path} has format version {found}, this build reads version {expected}; use the build that wrote it"
    )]
    Format { path: PathBuf, found: u64, expected: u64 },
    #[error("checkpoint file name {name:?} must be a plain name other than the checkpoint's own files")]
    FileName { name: String },
}
