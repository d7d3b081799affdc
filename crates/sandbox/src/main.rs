//! `gradus-sandboxd`: reads the command line, finds out which walls hold, then serves frames on stdin and stdout.

use gradus_sandbox::error::{Error, Result, Step};
use gradus_sandbox::frame;
use gradus_sandbox::interpreter::Interpreter;
use gradus_sandbox::outgoing::Outgoing;
use gradus_sandbox::probe::{self, Options, Ready, Refusal, Tier};
use gradus_sandbox::supervisor::Supervisor;
use gradus_sandbox::worker::Worker;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

const PROTOCOL: u32 = 1;
const REFUSED: u8 = 3;
const BROKEN_FRAME: u8 = 4;
const FAILED: u8 = 5;
const USAGE: u8 = 2;
const FIRST_UID: u32 = 61000;
const USAGE_LINE: &str = "usage: gradus-sandboxd [--python PATH] [--workers N] [--tier A|B] [--cgroup PATH] \
                          [--first-uid N] [--probe]";

struct CommandLine {
    python: PathBuf,
    is_probe: bool,
    options: Options,
}

fn main() -> ExitCode {
    let command_line = match parse(std::env::args().skip(1)) {
        Ok(command_line) => command_line,
        Err(problem) => return complain(&format!("{problem}; {USAGE_LINE}"), USAGE),
    };
    match run(&command_line) {
        Ok(code) => code,
        Err(error @ (Error::Frame(_) | Error::Request(_))) => complain(&error.to_string(), BROKEN_FRAME),
        Err(error) => complain(&error.to_string(), FAILED),
    }
}

fn complain(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "gradus-sandboxd: {message}");
    ExitCode::from(code)
}

fn run(command_line: &CommandLine) -> Result<ExitCode> {
    let signals = watch_signals()?;
    // A client that dies without closing our stdin must not leave us behind; SIGTERM ends us in good order.
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).step("prctl PDEATHSIG")?;
    let (interpreter, prepared) = match Interpreter::discover(&command_line.python) {
        Ok(interpreter) => {
            let prepared = probe::prepare(&interpreter, &command_line.options);
            (Some(interpreter), prepared)
        }
        Err(error) => {
            let remedy = "name a CPython 3.9 or newer with --python PATH".into();
            (None, Err(Refusal { reason: error.to_string(), remedy, walls: Vec::new() }))
        }
    };
    let header = header(&prepared, interpreter.as_ref());
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().step("duplicate stdout")?;
    if command_line.is_probe {
        let line = format!("{}\n", Value::Object(header));
        std::fs::File::from(stdout).write_all(line.as_bytes()).step("write the probe's result")?;
        return Ok(match prepared {
            Ok(mut ready) => {
                end(&mut ready);
                ExitCode::SUCCESS
            }
            Err(_) => ExitCode::from(REFUSED),
        });
    }
    let (Some(interpreter), Ok(ready)) = (interpreter, prepared) else {
        std::fs::File::from(stdout).write_all(&frame::encode(header, &[])).step("write the refusal")?;
        return Ok(ExitCode::from(REFUSED));
    };
    let mut outgoing = Outgoing::new(stdout)?;
    outgoing.push(frame::encode(header, &[]));
    Supervisor::new(interpreter, ready, outgoing).serve(std::io::stdin().as_fd(), &signals)?;
    Ok(ExitCode::SUCCESS)
}

fn end(ready: &mut Ready) {
    ready.workers.iter_mut().for_each(Worker::end);
    if let Some(subtree) = &ready.subtree {
        subtree.remove();
    }
}

/// SIGTERM and SIGHUP end the daemon in good order; SIGINT is the client's to act on.
fn watch_signals() -> Result<SignalFd> {
    let mut watched = SigSet::empty();
    watched.add(Signal::SIGTERM);
    watched.add(Signal::SIGHUP);
    let mut blocked = watched;
    blocked.add(Signal::SIGINT);
    blocked.thread_block().step("block signals")?;
    SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).step("signalfd")
}

fn header(prepared: &std::result::Result<Ready, Refusal>, interpreter: Option<&Interpreter>) -> Map<String, Value> {
    let value = match prepared {
        Ok(ready) => json!({
            "type": "ready", "protocol": PROTOCOL, "tier": ready.tier.name(), "workers": ready.workers.len(),
            "python": interpreter.map(|interpreter| interpreter.version.as_str()), "walls": ready.walls,
        }),
        Err(refusal) => json!({
            "type": "refused", "protocol": PROTOCOL, "reason": refusal.reason, "remedy": refusal.remedy,
            "walls": refusal.walls,
        }),
    };
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> std::result::Result<CommandLine, String> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let options = Options { workers, tier: None, cgroup: None, first_uid: FIRST_UID };
    let mut parsed = CommandLine { python: "python3".into(), is_probe: false, options };
    while let Some(name) = arguments.next() {
        if name == "--probe" {
            parsed.is_probe = true;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{name} is unknown or lacks its value"))?;
        let bad = || format!("{name} {value:?} is not valid");
        match name.as_str() {
            "--python" => parsed.python = value.into(),
            "--workers" => {
                let workers = value.parse::<usize>().ok().filter(|count| (1..=1024).contains(count));
                parsed.options.workers = workers.ok_or_else(bad)?;
            }
            "--tier" => {
                parsed.options.tier = match value.as_str() {
                    "A" => Some(Tier::A),
                    "B" => Some(Tier::B),
                    _ => return Err(bad()),
                };
            }
            "--cgroup" => parsed.options.cgroup = Some(value),
            "--first-uid" => {
                let first = value.parse::<u32>().ok().filter(|first| (1..1 << 30).contains(first));
                parsed.options.first_uid = first.ok_or_else(bad)?;
            }
            _ => return Err(format!("{name} is unknown")),
        }
    }
    Ok(parsed)
}
