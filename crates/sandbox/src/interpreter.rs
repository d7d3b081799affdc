//! The Python interpreter that tests run in: what it is made of, asked from itself before any sandbox exists.

use crate::error::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DISCOVER: &str = include_str!("../python/discover.py");

/// An interpreter and the folders that it needs, all by absolute path on the host; the sandbox shows them under the
/// same paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    pub executable: PathBuf,
    pub version: String,
    /// Standard library and installed packages.
    pub folders: Vec<PathBuf>,
    /// `sys.path` of a test, a subset of what lies in `folders`.
    pub search_path: Vec<String>,
    /// Folders of the shared libraries that it maps.
    pub library_folders: Vec<PathBuf>,
}

impl Interpreter {
    /// Asks `python` (a path, or a name to be looked up in PATH) what it is.
    pub fn discover(python: &Path) -> Result<Self> {
        let problem = |problem: String| Error::Interpreter { path: python.display().to_string(), problem };
        let output = Command::new(python)
            .args(["-I", "-c", DISCOVER])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| problem(error.to_string()))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(problem(format!("{}: {}", output.status, stderr.lines().last().unwrap_or("no message"))));
        }
        let value: Value = serde_json::from_slice(&output.stdout).map_err(|error| problem(error.to_string()))?;
        if value["implementation"] != "cpython" || value["new_enough"] != true {
            return Err(problem(format!("is {} {}", value["implementation"], value["version"])));
        }
        let strings = |name: &str| -> Vec<String> {
            let list = value[name].as_array().map_or(&[][..], Vec::as_slice);
            list.iter().filter_map(|entry| entry.as_str().map(str::to_owned)).collect()
        };
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let mut library_folders: Vec<PathBuf> =
            strings("libraries").iter().filter_map(|path| Path::new(path).parent().map(Path::to_path_buf)).collect();
        library_folders.sort();
        library_folders.dedup();
        Ok(Self {
            executable: text("executable").into(),
            version: text("version"),
            folders: strings("folders").into_iter().map(PathBuf::from).collect(),
            search_path: strings("path"),
            library_folders,
        })
    }
}
