//! The one error that crosses to JavaScript: a stable code, a message that names the value and the remedy.
//!
//! Every error of the crates below becomes a [`Fault`] here; packages/sdk turns it into a `GradusError`.

use std::io::ErrorKind;

pub type Result<T> = std::result::Result<T, Fault>;

/// What a call answers instead of a result. Codes are part of the public API: add, never rename.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    pub code: &'static str,
    pub message: String,
    /// The offending value, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl Fault {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), value: None }
    }

    /// A value that this version refuses by name; `message` says what is available.
    pub fn unsupported(value: &str, message: impl Into<String>) -> Self {
        Self { code: "unsupported", message: message.into(), value: Some(value.to_string()) }
    }

    /// A number or an id that lies outside of what the policy can take.
    pub fn out_of_range(value: &impl ToString, message: impl Into<String>) -> Self {
        Self { code: "out-of-range", message: message.into(), value: Some(value.to_string()) }
    }

    /// Arguments that do not fit together.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::new("bad-input", message)
    }

    /// The policy stopped after a panic: only a new one helps.
    pub fn internal(reason: &str) -> Self {
        Self::new(
            "internal",
            format!("the engine failed ({reason}); this policy is lost, load it again and report the fault"),
        )
    }

    pub fn closed() -> Self {
        Self::new("closed", "the policy is closed; load it again to go on")
    }

    /// An input-output error with what was being done, e.g. "read" and a path.
    pub fn io(message: impl Into<String>, kind: ErrorKind) -> Self {
        Self::new(io_code(kind), message)
    }
}

fn io_code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound | ErrorKind::NotADirectory => "not-found",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => "disk-full",
        ErrorKind::OutOfMemory => "out-of-memory",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "not-permitted",
        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty => "exists",
        _ => "io",
    }
}

/// JavaScript sees the message of an exception alone, so the whole fault travels in it as JSON.
impl From<Fault> for napi::Error {
    fn from(fault: Fault) -> Self {
        let json = serde_json::to_string(&fault).unwrap_or_else(|_| fault.message.clone());
        napi::Error::new(napi::Status::GenericFailure, json)
    }
}

impl From<gradus_ops::Error> for Fault {
    fn from(error: gradus_ops::Error) -> Self {
        let code = match &error {
            gradus_ops::Error::OutOfMemory { .. } => "out-of-memory",
            gradus_ops::Error::Device { .. } => "device",
            _ => "bad-input",
        };
        Fault::new(code, error.to_string())
    }
}

impl From<gradus_tensor::Error> for Fault {
    fn from(error: gradus_tensor::Error) -> Self {
        use gradus_tensor::Error as E;
        let code = match &error {
            E::Io { source, .. } => io_code(source.kind()),
            E::DiskFull { .. } | E::FileLimit { .. } => "disk-full",
            E::NoWeights { .. } | E::MissingShard { .. } => "not-found",
            E::Damaged { .. } | E::MissingTensor { .. } | E::Shape { .. } | E::DType { .. } | E::Rows { .. } => {
                "damaged-file"
            }
            E::Exists { .. } => "exists",
            E::WriteOrder { .. } => "internal",
        };
        Fault::new(code, error.to_string())
    }
}

impl From<gradus_text::Error> for Fault {
    fn from(error: gradus_text::Error) -> Self {
        use gradus_text::Error as E;
        let code = match &error {
            E::Read { source, .. } => io_code(source.kind()),
            E::Invalid { .. } => "damaged-file",
            E::NoChatTemplate { .. } => "unsupported",
            E::Encode { .. } | E::Decode { .. } | E::ChatTemplate { .. } | E::EmptyStop { .. } => "bad-input",
        };
        Fault::new(code, error.to_string())
    }
}

impl From<gradus_model::Error> for Fault {
    fn from(error: gradus_model::Error) -> Self {
        use gradus_model::Error as E;
        let message = error.to_string();
        match error {
            E::Tensor(error) => error.into(),
            E::Op(error) => error.into(),
            E::Io { source, .. } => Fault::io(message, source.kind()),
            E::ConfigFile { source, .. } => Fault { message, ..(*source).into() },
            E::NoConfig { .. } => Fault::new("not-found", message),
            E::Config { .. } => Fault::new("bad-config", message),
            E::Invalid { .. } => Fault::bad_input(message),
            E::InferenceOnly { dtype, .. } => Fault::unsupported(dtype, message),
            E::ActivationMemory { .. } => Fault::new("out-of-memory", message),
        }
    }
}

impl From<gradus_engine::Error> for Fault {
    fn from(error: gradus_engine::Error) -> Self {
        use gradus_engine::Error as E;
        let code = match error {
            E::Model(error) => return error.into(),
            E::TooLarge { .. } => "out-of-memory",
            E::NotFinite { .. } => "non-finite",
            E::UnknownToken { .. }
            | E::TooLong { .. }
            | E::Temperature { .. }
            | E::Sampling { .. }
            | E::UnknownBias { .. }
            | E::AllForbidden => "out-of-range",
            E::EmptyPrompt { .. } | E::NoTokens { .. } | E::DuplicateId { .. } | E::Options { .. } => "bad-input",
        };
        Fault::new(code, error.to_string())
    }
}

impl From<gradus_train::Error> for Fault {
    fn from(error: gradus_train::Error) -> Self {
        use gradus_train::Error as E;
        let message = error.to_string();
        let code = match error {
            E::Tensor(error) => return error.into(),
            E::Op(error) => return error.into(),
            E::Model(error) => return error.into(),
            E::Io { source, .. } => io_code(source.kind()),
            E::Exists { .. } => "exists",
            E::Damaged { .. } => "damaged-file",
            E::NotACheckpoint { .. } => "not-found",
            E::Format { .. } => "unsupported",
            E::Option { .. } => "out-of-range",
            E::Batch { .. } | E::FileName { .. } => "bad-input",
        };
        Fault::new(code, message)
    }
}
