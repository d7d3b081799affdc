//! How a test ended, and the result frame that says so.

use crate::frame;
use serde_json::{Map, Value, json};

/// How a test ended. All but `Fault` are the program's doing or the caller's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Exited,
    Signalled,
    CpuLimit,
    WallLimit,
    MemoryLimit,
    OutputLimit,
    Cancelled,
    Fault,
}

impl Outcome {
    /// The name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signalled => "signalled",
            Self::CpuLimit => "cpu-limit",
            Self::WallLimit => "wall-limit",
            Self::MemoryLimit => "memory-limit",
            Self::OutputLimit => "output-limit",
            Self::Cancelled => "cancelled",
            Self::Fault => "fault",
        }
    }
}

/// Everything that is known about a test that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    pub outcome: Outcome,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// CPU time of the program and all that it started, without the set-up of the walls.
    pub cpu_ms: f64,
    /// Time by the clock from the start of the program to its end.
    pub wall_ms: f64,
    pub memory_peak_mib: f64,
    /// What happened, in a sentence; empty where the outcome says it all.
    pub reason: String,
    pub stdout: Vec<u8>,
    /// The last bytes of stderr.
    pub stderr_tail: Vec<u8>,
    /// The answers of mode `calls`, a line each.
    pub answers: Vec<u8>,
}

impl Ending {
    /// An ending without output: cancelled before it ran, or a fault.
    pub fn without_output(outcome: Outcome, reason: String) -> Self {
        Self {
            outcome,
            exit_code: None,
            signal: None,
            cpu_ms: 0.0,
            wall_ms: 0.0,
            memory_peak_mib: 0.0,
            reason,
            stdout: Vec::new(),
            stderr_tail: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// The result frame for the run `id`.
    pub fn frame(&self, id: u64) -> Vec<u8> {
        let mut header = Map::new();
        header.insert("type".into(), json!("result"));
        header.insert("id".into(), json!(id));
        header.insert("outcome".into(), json!(self.outcome.name()));
        header.insert("exitCode".into(), json!(self.exit_code));
        header.insert("signal".into(), json!(self.signal));
        header.insert("cpuMs".into(), json!(rounded(self.cpu_ms)));
        header.insert("wallMs".into(), json!(rounded(self.wall_ms)));
        header.insert("memoryPeakMiB".into(), json!(rounded(self.memory_peak_mib)));
        header.insert("reason".into(), Value::from(self.reason.as_str()));
        frame::encode(header, &[&self.stdout, &self.stderr_tail, &self.answers])
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
