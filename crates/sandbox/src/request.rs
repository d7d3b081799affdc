//! What a client may ask for: run a program, cancel a run. Checked here, so that the rest may trust it.

use crate::error::{Error, Result};
use crate::frame::{BODY_BYTES_MAX, Frame};
use serde_json::{Map, Value};
use std::time::Duration;

/// Bytes of stderr that a result carries.
pub const STDERR_BYTES: usize = 4 << 10;
/// Most that `outputBytes` may be: stdout, the answers and the end of stderr fit one frame together.
const OUTPUT_BYTES_MAX: u64 = (BODY_BYTES_MAX - STDERR_BYTES) as u64 / 2;

/// Limits of one test. Exceeding one ends the test with the outcome that is named after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// CPU time of the whole process tree.
    pub cpu_ms: u64,
    /// Time in which no thread of the test was running or ready to run.
    pub wall_ms: u64,
    pub memory_mib: u64,
    /// Bytes of stdout, and as many of the answers of mode `calls`.
    pub output_bytes: u64,
    /// Size of the working directory, which lies in memory.
    pub file_mib: u64,
    /// Processes and threads at one time, the program itself included.
    pub processes: u64,
}

impl Limits {
    /// What a probe and the tests run with.
    pub const SMALL: Self =
        Self { cpu_ms: 2000, wall_ms: 2000, memory_mib: 256, output_bytes: 1 << 20, file_mib: 4, processes: 16 };

    /// Time by the clock after which a test ends whatever it did, so that no run is without an end. Far above what a
    /// test within its limits takes on a busy machine.
    pub fn real_time(&self) -> Duration {
        Duration::from_millis(10 * (self.cpu_ms + self.wall_ms))
    }
}

/// How the program is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// As `__main__`, with `stdin` on descriptor 0.
    Stdin { stdin: Vec<u8> },
    /// As module `solution`; then `entry` is called once for each line of `calls`.
    Calls { entry: String, calls: Vec<u8> },
}

/// One run, as it was asked for: a program, what it is given, its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: u64,
    pub code: Vec<u8>,
    pub mode: Mode,
    pub limits: Limits,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Run(Box<Run>),
    Cancel { id: u64 },
}

impl Request {
    /// Reads a frame; the error names the field.
    pub fn from_frame(frame: Frame) -> Result<Self> {
        let Frame { header, blobs } = frame;
        let id = natural(&header, "id", (1 << 53) - 1)?;
        match text(&header, "type")? {
            "cancel" => Ok(Self::Cancel { id }),
            "run" => {
                let count = blobs.len();
                let Ok([code, second]) = <[Vec<u8>; 2]>::try_from(blobs) else {
                    return Err(Error::Request(format!("run has two blobs, here are {count}")));
                };
                let mode = match text(&header, "mode")? {
                    "stdin" => Mode::Stdin { stdin: second },
                    "calls" => Mode::Calls { entry: text(&header, "entry")?.to_owned(), calls: second },
                    other => return Err(Error::Request(format!("mode {other:?} is neither stdin nor calls"))),
                };
                Ok(Self::Run(Box::new(Run { id, code, mode, limits: limits(&header)? })))
            }
            other => Err(Error::Request(format!("type {other:?} is neither run nor cancel"))),
        }
    }
}

fn limits(header: &Map<String, Value>) -> Result<Limits> {
    let Some(Value::Object(limits)) = header.get("limits") else {
        return Err(Error::Request("limits is missing".into()));
    };
    // The ceilings keep sums and shifts far from overflow; each is beyond what a machine of today can give.
    let limits = Limits {
        cpu_ms: natural(limits, "cpuMs", 1 << 32)?,
        wall_ms: natural(limits, "wallMs", 1 << 32)?,
        memory_mib: natural(limits, "memoryMiB", 1 << 24)?,
        output_bytes: natural(limits, "outputBytes", OUTPUT_BYTES_MAX)?,
        file_mib: natural(limits, "fileMiB", 1 << 20)?,
        processes: natural(limits, "processes", 1 << 15)?,
    };
    if limits.processes == 0 || limits.memory_mib == 0 || limits.cpu_ms == 0 || limits.file_mib == 0 {
        return Err(Error::Request("cpuMs, memoryMiB, fileMiB and processes are at least 1".into()));
    }
    Ok(limits)
}

fn text<'a>(header: &'a Map<String, Value>, name: &str) -> Result<&'a str> {
    header.get(name).and_then(Value::as_str).ok_or_else(|| Error::Request(format!("{name} is not a string")))
}

fn natural(header: &Map<String, Value>, name: &str, most: u64) -> Result<u64> {
    let value = header.get(name).and_then(Value::as_u64).filter(|value| *value <= most);
    value.ok_or_else(|| Error::Request(format!("{name} is not a whole number from 0 to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn frame(header: &Value, blob_count: usize) -> Frame {
        Frame { header: header.as_object().unwrap().clone(), blobs: vec![b"x".to_vec(); blob_count] }
    }

    fn limits_json() -> Value {
        json!({"cpuMs": 6000, "wallMs": 13000, "memoryMiB": 4096, "outputBytes": 8_388_608, "fileMiB": 64, "processes": 64})
    }

    #[test]
    fn a_whole_request_is_read() {
        let header = json!({"type": "run", "id": 3, "mode": "calls", "entry": "f", "limits": limits_json()});
        let Request::Run(run) = Request::from_frame(frame(&header, 2)).unwrap() else { panic!() };
        assert_eq!(run.limits.wall_ms, 13000);
        assert_eq!(run.mode, Mode::Calls { entry: "f".into(), calls: b"x".to_vec() });
    }

    #[test]
    fn each_bad_field_is_named() {
        let whole = json!({"type": "run", "id": 3, "mode": "calls", "entry": "f", "limits": limits_json()});
        for (name, value) in [("id", json!(-1)), ("type", json!("walk")), ("mode", json!(1)), ("entry", json!(null))] {
            let mut header = whole.clone();
            header[name] = value;
            let message = Request::from_frame(frame(&header, 2)).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
        for name in ["cpuMs", "wallMs", "memoryMiB", "outputBytes", "fileMiB", "processes"] {
            let mut header = whole.clone();
            header["limits"][name] = json!(1.5);
            let message = Request::from_frame(frame(&header, 2)).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
        assert!(Request::from_frame(frame(&whole, 1)).is_err());
    }

    #[test]
    fn the_largest_result_fits_a_frame() {
        const { assert!(2 * OUTPUT_BYTES_MAX as usize + STDERR_BYTES <= BODY_BYTES_MAX) };
        let mut header = json!({"type": "run", "id": 3, "mode": "stdin", "limits": limits_json()});
        header["limits"]["outputBytes"] = json!(OUTPUT_BYTES_MAX);
        assert!(Request::from_frame(frame(&header, 2)).is_ok());
        header["limits"]["outputBytes"] = json!(OUTPUT_BYTES_MAX + 1);
        assert!(Request::from_frame(frame(&header, 2)).is_err());
    }
}
