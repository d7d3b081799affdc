//! What can go wrong in the sandbox itself. None of these is ever a program's fault.

use std::io;

/// A failure of the sandbox or of its caller, never of the program that runs in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("broken frame: {0}")]
    Frame(String),
    #[error("bad request: {0}; the protocol is described in crates/sandbox/README.md")]
    Request(String),
    #[error("{step}: {source}")]
    System { step: String, source: io::Error },
    #[error("interpreter {path}: {problem}; name a CPython 3.9 or newer with --python PATH")]
    Interpreter { path: String, problem: String },
    #[error("worker: {0}")]
    Worker(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failed system call, with the step that it belonged to.
    pub fn system(step: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::System { step: step.into(), source: source.into() }
    }

    /// The errno of a failed system call, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::System { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// Adds to an error of the system the step that failed.
pub trait Step<T> {
    /// `step` says what was attempted, as in "mount /box".
    fn step(self, step: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Step<T> for std::result::Result<T, E> {
    fn step(self, step: impl Into<String>) -> Result<T> {
        self.map_err(|source| Error::system(step, source))
    }
}
