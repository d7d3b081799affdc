//! Finds out at start which walls hold on this machine by trying to break them in a real test, and decides the tier.

use crate::cgroup::Subtree;
use crate::error::{Error, Result};
use crate::interpreter::Interpreter;
use crate::outcome::{Ending, Outcome};
use crate::request::{Limits, Mode, Run};
use crate::spawn::Identity;
use crate::worker::{Finished, Worker};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use std::fs;
use std::os::fd::AsFd;
use std::time::Instant;

const ATTEMPTS: &str = include_str!("../python/probe.py");
/// A child takes more than the limit, page by page, and the parent waits: the limits are those of the whole tree.
const TAKE_MEMORY: &str = "import os, time\nif os.fork() == 0:\n    held = [bytearray(1 << 20) for _ in range(160)]\n    \
                           print('took', len(held), 'MiB', flush=True)\n    time.sleep(1)\n    os._exit(0)\nos.wait()\n";
const TAKE_CPU: &str = "import os\nif os.fork() == 0:\n    while True: pass\nos.wait()\n";
const ATTEMPT_COUNT: usize = 10;

/// How strong the walls are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Namespaces and a cgroup.
    A,
    /// Namespaces and rlimits; memory is watched by the daemon.
    B,
}

impl Tier {
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}

/// What to start, as the command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub workers: usize,
    /// The tier that must hold; the best that does without it.
    pub tier: Option<Tier>,
    /// A cgroup that root has prepared.
    pub cgroup: Option<String>,
    /// First of the ids of the host that root's workers use, two each.
    pub first_uid: u32,
}

/// Workers behind walls that were tried.
#[derive(Debug)]
pub struct Ready {
    pub tier: Tier,
    pub workers: Vec<Worker>,
    pub subtree: Option<Subtree>,
    pub walls: Vec<Value>,
}

/// Why nothing may run here.
#[derive(Debug)]
pub struct Refusal {
    pub reason: String,
    pub remedy: String,
    pub walls: Vec<Value>,
}

/// Starts the workers in the best tier that holds.
pub fn prepare(interpreter: &Interpreter, options: &Options) -> std::result::Result<Ready, Refusal> {
    let mut walls_tried = Vec::new();
    let mut reason_against_a = None;
    if options.tier != Some(Tier::B) {
        match Subtree::create(options.cgroup.as_deref()) {
            Ok(subtree) => match try_tier(interpreter, options, Some(subtree)) {
                Ok(ready) => return Ok(ready),
                Err(refusal) => {
                    walls_tried = refusal.walls;
                    walls_tried.push(wall("tier-A", Err(refusal.reason.clone())));
                    reason_against_a = Some(refusal.reason);
                }
            },
            Err(error) => {
                reason_against_a = Some(error.to_string());
                walls_tried.push(wall("cgroup", Err(error.to_string())));
            }
        }
    }
    if options.tier == Some(Tier::A) {
        let reason = reason_against_a.unwrap_or_default();
        let remedy = "run as root, or let root prepare a cgroup with memory and pids and name it with --cgroup PATH \
                      (crates/sandbox/README.md)";
        return Err(Refusal { reason: format!("tier A: {reason}"), remedy: remedy.into(), walls: walls_tried });
    }
    let mut result = try_tier(interpreter, options, None);
    let walls = match &mut result {
        Ok(ready) => &mut ready.walls,
        Err(refusal) => &mut refusal.walls,
    };
    walls.extend(walls_tried.into_iter().filter(|wall| wall["name"] == "cgroup" || wall["name"] == "tier-A"));
    result
}

fn try_tier(
    interpreter: &Interpreter,
    options: &Options,
    subtree: Option<Subtree>,
) -> std::result::Result<Ready, Refusal> {
    let mut ready = Ready {
        tier: if subtree.is_some() { Tier::A } else { Tier::B },
        workers: Vec::new(),
        subtree,
        walls: Vec::new(),
    };
    let tried = start_workers(interpreter, options, &mut ready).and_then(|()| try_walls(interpreter, &mut ready));
    let failed = ready.walls.iter().find(|wall| wall["holds"] == false && wall["name"] != "landlock");
    let refusal = match (tried, failed) {
        (Ok(()), None) => return Ok(ready),
        (Err(error), _) => Refusal { reason: error.to_string(), remedy: remedy(&error), walls: ready.walls },
        (Ok(()), Some(failed)) => Refusal {
            reason: format!("wall {} does not hold: {}", failed["name"], failed["detail"]),
            remedy: "run on Linux 5.13 or newer with user namespaces, seccomp and a writable cgroup".into(),
            walls: ready.walls,
        },
    };
    ready.workers.iter_mut().for_each(Worker::end);
    if let Some(subtree) = &ready.subtree {
        subtree.remove();
    }
    Err(refusal)
}

fn start_workers(interpreter: &Interpreter, options: &Options, ready: &mut Ready) -> Result<()> {
    for index in 0..options.workers {
        let identity = if nix::unistd::geteuid().is_root() {
            Identity::Dedicated { first: options.first_uid + 2 * index as u32 }
        } else {
            Identity::Own { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
        };
        ready.workers.push(Worker::start(interpreter, identity, ready.subtree.as_ref(), index)?);
    }
    Ok(())
}

fn try_walls(interpreter: &Interpreter, ready: &mut Ready) -> Result<()> {
    let Some(worker) = ready.workers.first_mut() else { return Err(Error::Worker("no worker was asked for".into())) };
    let tried = try_program(worker, interpreter, ATTEMPTS, Limits::SMALL)?;
    let lines = String::from_utf8_lossy(&tried.stdout).into_owned();
    ready.walls.extend(lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()));
    if ready.walls.len() != ATTEMPT_COUNT || tried.exit_code != Some(0) {
        let stderr = String::from_utf8_lossy(&tried.stderr_tail).into_owned();
        return Err(Error::Worker(format!("the probe ended with {}: {stderr}", tried.outcome.name())));
    }
    ready.walls.push(landlock_state());
    let limits = Limits { memory_mib: 64, ..Limits::SMALL };
    let tried = try_program(worker, interpreter, TAKE_MEMORY, limits)?;
    ready.walls.push(limit_wall("memory-limit", &tried, Outcome::MemoryLimit));
    let tried = try_program(worker, interpreter, TAKE_CPU, Limits { cpu_ms: 10, ..Limits::SMALL })?;
    ready.walls.push(limit_wall("cpu-limit", &tried, Outcome::CpuLimit));
    Ok(())
}

fn limit_wall(name: &str, tried: &Ending, expected: Outcome) -> Value {
    let said = format!("{} at {:.0} MiB, {:.0} ms", tried.outcome.name(), tried.memory_peak_mib, tried.cpu_ms);
    wall(name, if tried.outcome == expected { Ok(said) } else { Err(said) })
}

fn landlock_state() -> Value {
    // SAFETY: asks for the version alone; no memory is passed.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, 1) };
    wall("landlock", if abi > 0 { Ok(format!("ABI {abi}")) } else { Err("the kernel has no Landlock".into()) })
}

fn wall(name: &str, held: std::result::Result<String, String>) -> Value {
    match held {
        Ok(detail) => json!({"name": name, "holds": true, "detail": detail}),
        Err(detail) => json!({"name": name, "holds": false, "detail": detail}),
    }
}

/// Runs one program to its end on a worker that nothing else uses yet.
fn try_program(worker: &mut Worker, interpreter: &Interpreter, code: &str, limits: Limits) -> Result<Ending> {
    let mode = Mode::Stdin { stdin: Vec::new() };
    let mut run = Some(Box::new(Run { id: 0, code: code.as_bytes().to_vec(), mode, limits }));
    loop {
        let mut finished = None;
        if worker.is_idle()
            && let Some(run) = run.take()
        {
            finished = worker.begin(run, interpreter)?;
        }
        if finished.is_none() {
            wait(worker)?;
            finished = worker.visit(interpreter)?;
        }
        if finished.is_none() {
            finished = worker.check(Instant::now(), interpreter)?;
        }
        match finished {
            Some(Finished::Ended { ending, .. }) => return Ok(ending),
            Some(Finished::Fault { reason, .. }) => return Err(Error::Worker(reason)),
            None => {}
        }
    }
}

fn wait(worker: &Worker) -> Result<()> {
    let (readable, writable) = worker.execution().map(|execution| execution.waiting_on()).unwrap_or_default();
    let mut fds = vec![PollFd::new(worker.control().as_fd(), PollFlags::POLLIN)];
    fds.extend(readable.into_iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
    fds.extend(writable.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLOUT)));
    match poll(&mut fds, poll_timeout(worker.next_check())) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(Error::system("poll", errno)),
    }
}

/// Milliseconds until `at`, rounded up; for ever without it.
pub fn poll_timeout(at: Option<Instant>) -> PollTimeout {
    let Some(at) = at else { return PollTimeout::NONE };
    let left = at.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
    PollTimeout::try_from(left.min(60_000) as i32).unwrap_or(PollTimeout::MAX)
}

/// What the person at this machine can do about a failed start.
fn remedy(error: &Error) -> String {
    let is_set = |file: &str, value: &str| fs::read_to_string(file).is_ok_and(|text| text.trim() == value);
    if is_set("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root".into();
    }
    if is_set("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return "sudo sysctl -w kernel.unprivileged_userns_clone=1, or run as root".into();
    }
    if is_set("/proc/sys/user/max_user_namespaces", "0") {
        return "sudo sysctl -w user.max_user_namespaces=15000".into();
    }
    match error.errno() {
        Some(libc::EPERM | libc::EACCES) if fs::exists("/.dockerenv").unwrap_or(false) => {
            "start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
             --cap-add SYS_ADMIN, or run outside of it"
                .into()
        }
        Some(libc::EPERM | libc::EACCES | libc::ENOSPC) => {
            "allow user namespaces and mounts in them for this user or container, or run as root outside of it; check \
             that the interpreter can be read by this user"
                .into()
        }
        _ => "see the reason; Linux 5.13 or newer with user namespaces and CPython 3.9 or newer are needed".into(),
    }
}
