//! Starts the process of one worker: namespaces, the sandbox's root, user ids, and at the end Python with the zygote.
//!
//! As root, a short-lived builder process makes the mounts with the host's rights and then clones the zygote into a
//! user namespace in which two dedicated ids are all that exists. As a plain user the zygote makes its user namespace
//! first and builds the mounts inside. Either way the zygote is a child of the daemon and init of its own PID
//! namespace, and holds rights over its own namespaces only.

use crate::error::{Error, Result, Step};
use crate::interpreter::Interpreter;
use crate::{landlock_wall, rootfs};
use nix::fcntl::{OFlag, open, openat};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::{
    ForkResult, Pid, dup2_stdin, fork, pipe2, read, setgroups, sethostname, setresgid, setresuid, setsid, write,
};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Descriptors of the zygote: its socket to the daemon, its own PID namespace, the Landlock rules (may be absent).
pub const CONTROL_FD: RawFd = 3;
pub const NAMESPACE_FD: RawFd = 4;
pub const LANDLOCK_FD: RawFd = 5;
const FIRST_FREE_FD: u32 = 6;

/// The main thread's stack may grow to this; the layout of memory is decided by it when Python is executed. A program
/// may raise it as far as the host allows, as recursive solutions do: the limit of address space counts stacks too.
const STACK_BYTES: u64 = 1 << 30;
/// The name of the machine as tests see it.
const HOST_NAME: &str = "sandbox";
/// The highest: a test goes before any process of the host, however large that one is.
const OUT_OF_MEMORY_SCORE: &str = "1000";

const ZYGOTE: &str = concat!(
    include_str!("../python/confine.py"),
    include_str!("../python/tagged.py"),
    include_str!("../python/program.py"),
    include_str!("../python/zygote.py"),
);

/// Whose ids a worker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Root gave this worker two ids of the host: `first` for the zygote and the one after it for the tests.
    Dedicated { first: u32 },
    /// A plain user: inside, the user's own id is called 0.
    Own { uid: u32, gid: u32 },
}

/// A running zygote.
#[derive(Debug)]
pub struct Zygote {
    pub pid: Pid,
    /// A SEQPACKET socket; see the module `zygote` for what is said over it.
    pub control: OwnedFd,
}

/// Starts a worker's process and returns when Python is being executed; what failed before that is the error.
/// The calling process must have one thread.
pub fn spawn(interpreter: &Interpreter, identity: Identity) -> Result<Zygote> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (control, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).step("socketpair for a worker")?;
    let (report, report_writer) = pipe2(OFlag::O_CLOEXEC).step("pipe for a worker")?;
    // SAFETY: the daemon has one thread, so the child may go on as an ordinary process.
    let builder = match unsafe { fork() }.step("fork a worker's builder")? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop((control, report));
            let failed = build(interpreter, identity, &theirs, &report_writer);
            report_failure(&report_writer, &failed);
            // SAFETY: _exit ends this process without running anything of the daemon's.
            unsafe { libc::_exit(1) }
        }
    };
    drop((theirs, report_writer));
    let mut text = String::new();
    let read = File::from(report).read_to_string(&mut text);
    waitpid(builder, None).step("wait for a worker's builder")?;
    read.step("read a worker's report")?;
    parse_report(&text).map(|pid| Zygote { pid, control })
}

/// The report is the zygote's pid on a line, then nothing if Python was executed, or the errno and the failed step.
fn parse_report(text: &str) -> Result<Pid> {
    let (pid, failure) = text.split_once('\n').unwrap_or(("", text));
    let pid = pid.parse::<i32>().ok().map(Pid::from_raw);
    let failure = failure.trim_start_matches('\n');
    let failed = failure.split_once('\t').map(|(errno, step)| (errno.parse::<i32>().unwrap_or(libc::EIO), step));
    match (pid, failed) {
        (Some(pid), None) if failure.is_empty() => Ok(pid),
        (pid, failed) => {
            if let Some(pid) = pid {
                let _ = waitpid(pid, None);
            }
            let (errno, step) = failed.unwrap_or((libc::EIO, "a worker's first process died"));
            Err(Error::system(step, io::Error::from_raw_os_error(errno)))
        }
    }
}

fn report_failure(report: &OwnedFd, error: &Error) {
    let (errno, step) = match error {
        Error::System { step, source } => (source.raw_os_error().unwrap_or(libc::EIO), step.clone()),
        other => (libc::EIO, other.to_string()),
    };
    // The first line is the pid; before it is known the line is empty.
    let _ = write(report, format!("{errno}\t{step}").as_bytes());
}

/// Runs in the builder; comes back only with a failure.
fn build(interpreter: &Interpreter, identity: Identity, control: &OwnedFd, report: &OwnedFd) -> Error {
    match build_inner(interpreter, identity, control, report) {
        // SAFETY: the builder's work is done; _exit runs nothing of the daemon's.
        Ok(()) => unsafe { libc::_exit(0) },
        Err(error) => {
            let _ = write(report, b"\n");
            error
        }
    }
}

fn build_inner(interpreter: &Interpreter, identity: Identity, control: &OwnedFd, report: &OwnedFd) -> Result<()> {
    die_with_parent()?;
    let host_proc = open("/proc", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).step("open /proc")?;
    if matches!(identity, Identity::Dedicated { .. }) {
        unshare(CloneFlags::CLONE_NEWNS).step("unshare the mount namespace")?;
        rootfs::enter(interpreter)?;
    }
    let (go, go_writer) = pipe2(OFlag::O_CLOEXEC).step("pipe to the zygote")?;
    let namespaces = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS;
    // CLONE_PARENT makes the zygote the daemon's own child, so that it dies with the daemon and not with the builder.
    let flags = namespaces | libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and a stack this is fork; the process has one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid < 0 {
        return Err(io::Error::last_os_error()).step("clone into new namespaces");
    }
    if pid == 0 {
        drop(go_writer);
        let Err(error) = become_zygote(interpreter, identity, control, &go, &host_proc);
        report_failure(report, &error);
        // SAFETY: as above.
        unsafe { libc::_exit(1) }
    }
    write(report, format!("{pid}\n").as_bytes()).step("report the zygote's pid")?;
    let map = match identity {
        Identity::Dedicated { first } => format!("0 {first} 1\n1 {} 1\n", first + 1),
        Identity::Own { .. } => String::new(),
    };
    if !map.is_empty() {
        for file in ["gid_map", "uid_map"] {
            write_proc(&host_proc, &format!("{pid}/{file}"), &map)?;
        }
    }
    write(&go_writer, b"g").step("let the zygote go")?;
    Ok(())
}

fn become_zygote(
    interpreter: &Interpreter,
    identity: Identity,
    control: &OwnedFd,
    go: &OwnedFd,
    host_proc: &OwnedFd,
) -> Result<std::convert::Infallible> {
    if read(go, &mut [0]).step("wait for the id map")? == 0 {
        return Err(Error::Worker("the builder died before the id map was written".into()));
    }
    if let Identity::Own { uid, gid } = identity {
        write_proc(host_proc, "self/setgroups", "deny")?;
        write_proc(host_proc, "self/uid_map", &format!("0 {uid} 1\n"))?;
        write_proc(host_proc, "self/gid_map", &format!("0 {gid} 1\n"))?;
        rootfs::enter(interpreter)?;
    }
    // Where the machine itself runs out of memory, a test goes first. Raising one's own score needs no right.
    let _ = write_proc(host_proc, "self/oom_score_adj", OUT_OF_MEMORY_SCORE);
    let root = nix::unistd::Gid::from_raw(0);
    setresgid(root, root, root).step("setresgid in the user namespace")?;
    let root = nix::unistd::Uid::from_raw(0);
    setresuid(root, root, root).step("setresuid in the user namespace")?;
    if matches!(identity, Identity::Dedicated { .. }) {
        setgroups(&[]).step("setgroups in the user namespace")?;
    }
    sethostname(HOST_NAME).step("sethostname")?;
    die_with_parent()?;
    setsid().step("setsid")?;
    // The daemon reads its signals from a descriptor; a program must find none of them blocked.
    SigSet::empty().thread_set_mask().step("unblock signals")?;
    umask(Mode::from_bits_truncate(0o022));
    limit_stack()?;
    let namespace = openat(host_proc, "self/ns/pid", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .step("open the PID namespace")?;
    let rules = landlock_wall::ruleset()?;
    place_descriptors(control, &namespace, rules.as_ref())?;
    execute(interpreter)
}

fn die_with_parent() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).step("prctl PDEATHSIG")
}

fn write_proc(host_proc: &OwnedFd, file: &str, text: &str) -> Result<()> {
    let step = || format!("write /proc/{file}");
    let opened = openat(host_proc, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).step(step())?;
    File::from(opened).write_all(text.as_bytes()).step(step())
}

fn limit_stack() -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_STACK).step("getrlimit STACK")?;
    setrlimit(Resource::RLIMIT_STACK, STACK_BYTES.min(hard), hard).step("setrlimit STACK")
}

/// Puts the descriptors where the zygote expects them and marks all others for closing when Python is executed.
/// Descriptors 0 to 2 become pipes without another end, so that Python's own streams are made for pipes.
fn place_descriptors(control: &OwnedFd, namespace: &OwnedFd, rules: Option<&OwnedFd>) -> Result<()> {
    let above = |fd: &OwnedFd| -> Result<OwnedFd> {
        let copy = nix::fcntl::fcntl(fd.as_fd(), nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(64)).step("dup")?;
        // SAFETY: F_DUPFD returned a new descriptor that nothing else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(copy) })
    };
    let (control, namespace) = (above(control)?, above(namespace)?);
    let rules = rules.map(above).transpose()?;
    let (empty, _) = pipe2(OFlag::O_CLOEXEC).step("pipe")?;
    let (_, blocked) = pipe2(OFlag::O_CLOEXEC).step("pipe")?;
    let (empty, blocked) = (above(&empty)?, above(&blocked)?);
    dup2_stdin(&empty).step("dup2")?;
    let mut places = vec![(&blocked, 1), (&blocked, 2), (&control, CONTROL_FD), (&namespace, NAMESPACE_FD)];
    places.extend(rules.as_ref().map(|rules| (rules, LANDLOCK_FD)));
    for (fd, place) in places {
        // SAFETY: dup2 onto a small number; whatever was open there is not used by this process any more, which
        // either executes Python or ends.
        if unsafe { libc::dup2(fd.as_raw_fd(), place) } < 0 {
            return Err(io::Error::last_os_error()).step("dup2");
        }
    }
    let first = if rules.is_some() { FIRST_FREE_FD } else { LANDLOCK_FD as u32 };
    // SAFETY: only marks descriptors as close-on-exec.
    let failed =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_uint) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()).step("close_range") }
}

fn execute(interpreter: &Interpreter) -> Result<std::convert::Infallible> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from).step("a path with a NUL byte");
    let executable = text(interpreter.executable.as_os_str().as_encoded_bytes())?;
    // -s -S -P and an almost empty environment isolate as -I does, but -I would ignore the fixed hash seed, which
    // keeps a verdict from depending on the order of a set.
    let mut arguments = vec![executable.clone()];
    for argument in ["-s", "-S", "-B", "-X", "utf8=1", "-c", ZYGOTE] {
        arguments.push(text(argument.as_bytes())?);
    }
    let environment = [c"PYTHONHASHSEED=0"];
    nix::unistd::execve(&executable, &arguments, &environment).step("execute the interpreter in the sandbox")
}
