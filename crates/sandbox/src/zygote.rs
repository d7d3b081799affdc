//! What the daemon and a zygote say to each other, one JSON message a packet:
//! daemon `{"config":..}` → zygote `{"ready":true}`; daemon `{"run":..}` with the test's descriptors → zygote
//! `{"started":pid}` with a pidfd, then `{"exited":status,"cpu_us":..,"rss_kib":..}`.

use crate::error::{Error, Result, Step};
use crate::interpreter::Interpreter;
use crate::request::{Limits, Mode, Run};
use crate::rootfs::RUN;
use crate::seccomp;
use crate::spawn::Identity;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde_json::{Value, json};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A zygote's messages are short; the longest has the text of an exception. Heard at every wake of the daemon, so that
/// the space for one lies on the stack.
const MESSAGE_BYTES_MAX: usize = 8 << 10;

/// What a zygote says.
#[derive(Debug)]
pub enum Said {
    Ready,
    /// The test's process exists; it waits for the word on its gate.
    Started {
        pidfd: OwnedFd,
    },
    /// The test's process and all that it started are gone. `status` is as from wait4.
    Exited {
        status: i32,
        cpu_us: u64,
        rss_kib: u64,
    },
    /// The zygote cannot go on.
    Failed(String),
    /// The zygote is gone.
    Gone,
}

/// Tells a new zygote what holds for all of its tests.
pub fn send_config(control: &OwnedFd, interpreter: &Interpreter, identity: Identity, has_cgroup: bool) -> Result<()> {
    let programs: Vec<String> = seccomp::programs(has_cgroup)?.iter().map(|program| hex(program)).collect();
    let (uid, own_processes) = match identity {
        Identity::Dedicated { .. } => (1, 0),
        // The zygote has the same id and counts.
        Identity::Own { .. } => (0, 1),
    };
    let config = json!({
        "path": interpreter.search_path, "run_folder": RUN, "seccomp": programs,
        "uid": uid, "own_processes": own_processes,
    });
    send(control, &json!({ "config": config }), &[])
}

/// Asks for a test. `fds` are stdin, stdout, stderr, the program, the gate and, in mode `calls`, the answers.
pub fn send_run(control: &OwnedFd, run: &Run, nonce: &str, fds: &[RawFd]) -> Result<()> {
    let Limits { cpu_ms, memory_mib, file_mib, processes, output_bytes, .. } = run.limits;
    let entry = match &run.mode {
        Mode::Stdin { .. } => Value::Null,
        Mode::Calls { entry, .. } => json!(entry),
    };
    let message = json!({
        "entry": entry, "nonce": nonce, "code_bytes": run.code.len(), "cpu_ms": cpu_ms, "memory_mib": memory_mib,
        "file_mib": file_mib, "processes": processes, "output_bytes": output_bytes,
    });
    send(control, &json!({ "run": message }), fds)
}

fn send(control: &OwnedFd, message: &Value, fds: &[RawFd]) -> Result<()> {
    let text = message.to_string();
    let rights = [ControlMessage::ScmRights(fds)];
    let rights = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(control.as_raw_fd(), &[IoSlice::new(text.as_bytes())], rights, flags, None)
        .step("send to a zygote")
        .map(|_| ())
}

/// The next message, `None` if there is none at present.
pub fn receive(control: &OwnedFd) -> Result<Option<Said>> {
    let mut text = [0; MESSAGE_BYTES_MAX];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let mut pidfd = None;
    let length = {
        let mut slices = [IoSliceMut::new(&mut text)];
        let message = match recvmsg::<()>(control.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(Errno::ECONNRESET) => return Ok(Some(Said::Gone)),
            other => other.step("receive from a zygote")?,
        };
        for control in message.cmsgs().step("receive from a zygote")? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                for fd in fds {
                    // SAFETY: the kernel has just made this descriptor for us.
                    pidfd = Some(unsafe { OwnedFd::from_raw_fd(fd) });
                }
            }
        }
        message.bytes
    };
    if length == 0 {
        return Ok(Some(Said::Gone));
    }
    let value: Value = serde_json::from_slice(&text[..length])
        .map_err(|error| Error::Worker(format!("a zygote's message is not JSON: {error}")))?;
    Ok(Some(understand(&value, pidfd)))
}

fn understand(value: &Value, pidfd: Option<OwnedFd>) -> Said {
    let natural = |name: &str| value[name].as_u64().unwrap_or(0);
    if let (Some(_), Some(pidfd)) = (value.get("started"), pidfd) {
        return Said::Started { pidfd };
    }
    if let Some(status) = value["exited"].as_i64() {
        return Said::Exited { status: status as i32, cpu_us: natural("cpu_us"), rss_kib: natural("rss_kib") };
    }
    match value.get("ready") {
        Some(_) => Said::Ready,
        None => Said::Failed(value["failed"].as_str().unwrap_or("unknown message").to_owned()),
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// Reads each line as the arguments of a call, writes them back as an answer.
    const ECHO: &str = "
import os, sys
ANSWERS = make_encoder(10000)
decode = make_decoder()
for line in sys.stdin:
    arguments = decode(line.strip())
    expected = eval(arguments[0])
    same = type(expected) is type(arguments[1]) and repr(expected) == repr(arguments[1])
    print(ANSWERS[0](arguments[1]), same)
";

    #[test]
    fn tagged_values_go_in_and_out_unchanged() {
        let values = [
            (r#""None""#, "null"),
            (r#""True""#, "true"),
            (r#""-7""#, "-7"),
            (r#""2**53-1""#, "9007199254740991"),
            (r#""2**53""#, r#"{"i":"9007199254740992"}"#),
            (r#""float('nan')""#, r#"{"f":"nan"}"#),
            (r#""-0.0""#, r#"{"f":"-0.0"}"#),
            (r#""1e22""#, r#"{"f":"1e+22"}"#),
            (r#""'\\ud800'""#, r#""\ud800""#),
            (r#""[1,[2,()]]""#, r#"[1,[2,{"t":[]}]]"#),
            (r#""{1}""#, r#"{"s":[1]}"#),
            (r#""frozenset([()])""#, r#"{"fs":[{"t":[]}]}"#),
            (r#""{(1,):{}}""#, r#"{"d":[[{"t":[1]},{"d":[]}]]}"#),
            (r#""complex(1.5,-0.0)""#, r#"{"c":["1.5","-0.0"]}"#),
            (r#""b'\\0x'""#, r#"{"b":"0078"}"#),
        ];
        let lines: String = values.iter().flat_map(|(text, tagged)| ["[", text, ",", tagged, "]\n"]).collect();
        let script = format!("import sys\n{}{ECHO}", include_str!("../python/tagged.py"));
        let mut python = Command::new("python3")
            .args(["-I", "-X", "utf8=1", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        python.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = python.wait_with_output().unwrap();
        let answers = String::from_utf8(output.stdout).unwrap();
        let expected: String = values.iter().flat_map(|(_, tagged)| ["{\"value\":", tagged, "} True\n"]).collect();
        assert_eq!(answers, expected);
    }
}
