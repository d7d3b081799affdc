//! What can go wrong with a policy: a config or checkpoint that is refused, bad inputs, or a failing op.

use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Error>;

/// Every message names the field, tensor or argument, what was expected and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("config.json: {field}: {reason}")]
    Config { field: String, reason: String },
    /// A refused field, with the folder of its file before the file's name.
    #[error("{folder}/{source}")]
    ConfigFile { folder: PathBuf, source: Box<Error> },
    #[error("{folder} has no config.json; name a Hugging Face model folder")]
    NoConfig { folder: PathBuf },
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("a policy in {dtype} is for inference only and cannot be {action}; load its folder with dtype f32 or bf16")]
    InferenceOnly { dtype: &'static str, action: &'static str },
    #[error(
        "a pass over {tokens} tokens takes {bytes} bytes of activations even where every layer is computed again, the limit is {limit}; the largest term is the {largest} with {largest_bytes} bytes: lower microBatchTokens (a sequence longer than that passes alone) or raise activationBytesMax"
    )]
    ActivationMemory { tokens: usize, bytes: u64, limit: u64, largest: &'static str, largest_bytes: u64 },
    #[error("{what}: {reason}")]
    Invalid { what: &'static str, reason: String },
    #[error(transparent)]
    Tensor(#[from] gradus_tensor::Error),
    #[error(transparent)]
    Op(#[from] gradus_ops::Error),
}

impl Error {
    /// A refused field of config.json.
    pub(crate) fn config(field: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Config { field: field.into(), reason: reason.into() }
    }

    /// An argument that breaks the documented shape or range.
    pub(crate) fn invalid(what: &'static str, reason: impl Into<String>) -> Error {
        Error::Invalid { what, reason: reason.into() }
    }
}
