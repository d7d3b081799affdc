//! One test while it runs: its pipes, its clock, its limits, and in the end its verdict-free ending.

use crate::cgroup::Group;
use crate::error::{Result, Step};
use crate::outcome::{Ending, Outcome};
use crate::pipes::{Capture, Feed, Keep, memory_file};
use crate::process_tree::{Meter, pid_of};
use crate::request::{Mode, Run, STDERR_BYTES};
use crate::zygote::{self, hex};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

const FIRST_SAMPLE: Duration = Duration::from_millis(10);
const SAMPLE_MIN: Duration = Duration::from_millis(2);
const SAMPLE_MAX: Duration = Duration::from_millis(20);
/// A test's process that neither starts nor dies within this is the sandbox's fault.
const STUCK: Duration = Duration::from_secs(30);

/// As first process of its namespace a test cannot kill itself.
const KILLED_FROM_OUTSIDE: &str = "killed by the kernel or somebody on the host; perhaps the host ran out of memory";

/// A test that is running.
#[derive(Debug)]
pub struct Execution {
    pub run: Box<Run>,
    nonce: String,
    stdin: Feed,
    stdout: Capture,
    stderr: Capture,
    answers: Option<Capture>,
    gate: OwnedFd,
    gate_text: Vec<u8>,
    stage: Stage,
    /// Why the daemon ended it, where it did.
    stopped: Option<Outcome>,
    /// When something must have happened, or the worker is broken.
    stuck_at: Instant,
    memory_peak_kib: u64,
}

#[derive(Debug)]
enum Stage {
    /// The zygote has been asked.
    Asked,
    /// The process exists and has the word to go. `meter` counts from when its walls stand and its program begins.
    Started { pidfd: OwnedFd, pid: i32, began: Instant, meter: Option<Meter>, next_check: Instant },
}

impl Execution {
    /// Hands the test to a zygote. `run` comes back with the error.
    pub fn begin(run: Box<Run>, control: &OwnedFd) -> std::result::Result<Self, (Box<Run>, crate::error::Error)> {
        match Ends::make(&run) {
            Err(error) => Err((run, error)),
            Ok((ends, theirs)) => {
                let fds: Vec<RawFd> = theirs.iter().map(AsRawFd::as_raw_fd).collect();
                if let Err(error) = zygote::send_run(control, &run, &ends.nonce, &fds) {
                    return Err((run, error));
                }
                let Ends { nonce, stdin, stdout, stderr, answers, gate } = ends;
                Ok(Self {
                    run,
                    nonce,
                    stdin,
                    stdout,
                    stderr,
                    answers,
                    gate,
                    gate_text: Vec::new(),
                    stage: Stage::Asked,
                    stopped: None,
                    stuck_at: Instant::now() + STUCK,
                    memory_peak_kib: 0,
                })
            }
        }
    }

    /// The process exists: it goes into the cgroup and then gets the word.
    pub fn started(&mut self, pidfd: OwnedFd, group: Option<&Group>) -> Result<()> {
        let now = Instant::now();
        self.stuck_at = now + STUCK;
        let pid = pid_of(&pidfd);
        // A process that died already needs no group; its ending tells why it died.
        if let (Some(pid), Some(group)) = (pid, group)
            && let Err(error) = group.attach(pid)
            && error.errno() != Some(libc::ESRCH)
        {
            return Err(error);
        }
        let next_check = now + FIRST_SAMPLE;
        self.stage = Stage::Started { pidfd, pid: pid.unwrap_or(0), began: now, meter: None, next_check };
        // A dead process has closed its end, which is no error here.
        let _ = send(self.gate.as_raw_fd(), b"g", MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
        if self.stopped.is_some() {
            self.kill();
        }
        Ok(())
    }

    /// The descriptors to wait on: readable ones, and the one that takes input.
    pub fn waiting_on(&self) -> (Vec<&OwnedFd>, Option<&OwnedFd>) {
        let answers = self.answers.as_ref().and_then(Capture::waiting_on);
        let readable = [self.stdout.waiting_on(), self.stderr.waiting_on(), answers];
        (readable.into_iter().flatten().collect(), self.stdin.waiting_on())
    }

    /// Moves bytes in and out as far as it goes without waiting.
    pub fn pump(&mut self) {
        let input: &[u8] = match &self.run.mode {
            Mode::Stdin { stdin } => stdin,
            Mode::Calls { .. } => b"",
        };
        self.stdin.pump(input);
        self.stdout.pump();
        self.stderr.pump();
        if let Some(answers) = &mut self.answers {
            answers.pump();
        }
        if self.is_output_over() {
            self.stop(Outcome::OutputLimit);
        }
    }

    fn is_output_over(&self) -> bool {
        self.stdout.is_over() || self.answers.as_ref().is_some_and(Capture::is_over)
    }

    /// When `check` has to be called next.
    pub fn next_check(&self) -> Instant {
        match &self.stage {
            Stage::Started { next_check, .. } if self.stopped.is_none() => (*next_check).min(self.stuck_at),
            _ => self.stuck_at,
        }
    }

    /// Looks at what the test uses and stops it at a limit. False if the worker is broken. The limits are the
    /// program's: while the walls go up none is counted, and what takes too long there is the sandbox's fault.
    pub fn check(&mut self, now: Instant, group: Option<&Group>) -> bool {
        let limits = self.run.limits;
        self.hear_gate();
        let setup_us = self.setup_us();
        if let Stage::Started { pid, meter, next_check, .. } = &mut self.stage
            && self.stopped.is_none()
            && now >= *next_check
        {
            *next_check = now + FIRST_SAMPLE;
            let Some(setup_us) = setup_us else { return now < self.stuck_at };
            self.stuck_at = now + STUCK;
            let meter = meter.get_or_insert_with(|| Meter::new(*pid, now));
            let usage = meter.sample(now, group.map(Group::cpu_us));
            let mut memory_kib = usage.resident_kib;
            if group.is_none() && memory_kib > limits.memory_mib << 10 {
                memory_kib = meter.proportional_kib().unwrap_or(memory_kib);
            }
            let cpu_limit = Duration::from_millis(limits.cpu_ms);
            let cpu = Duration::from_micros(usage.cpu_us.saturating_sub(setup_us));
            let idle = meter.idle();
            let is_without_end = meter.age() > limits.real_time();
            // Each thread may have a core to itself, so the limit can be reached that much sooner.
            let soonest = cpu_limit.saturating_sub(cpu) / usage.thread_count.clamp(1, 64) as u32;
            // A test with many processes or much memory takes long to look at and must not keep the loop from others.
            let looking = now.elapsed();
            *next_check = now + soonest.clamp(SAMPLE_MIN, SAMPLE_MAX).max(looking * 4);
            self.memory_peak_kib = self.memory_peak_kib.max(memory_kib);
            let over_memory = match group {
                Some(group) => group.ran_out_of_memory(),
                None => memory_kib > limits.memory_mib << 10,
            };
            if over_memory {
                self.stop(Outcome::MemoryLimit);
            } else if cpu > cpu_limit {
                self.stop(Outcome::CpuLimit);
            } else if is_without_end || idle > Duration::from_millis(limits.wall_ms) {
                self.stop(Outcome::WallLimit);
            } else if group.is_none() && usage.thread_count > limits.processes {
                // RLIMIT_NPROC holds this wall; whoever gets past it is stopped here.
                self.stop(Outcome::MemoryLimit);
            }
        }
        now < self.stuck_at
    }

    fn hear_gate(&mut self) {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = recv(self.gate.as_raw_fd(), &mut chunk, MsgFlags::MSG_DONTWAIT) {
            self.gate_text.extend_from_slice(&chunk[..length]);
        }
    }

    /// CPU time that the walls took, once they stand and the program's own code begins.
    fn setup_us(&self) -> Option<u64> {
        std::str::from_utf8(&self.gate_text).ok()?.strip_suffix('\n')?.strip_prefix("armed ")?.parse::<u64>().ok()
    }

    /// Ends the test for a reason of ours; the first reason counts.
    pub fn stop(&mut self, outcome: Outcome) {
        if self.stopped.is_none() {
            self.stopped = Some(outcome);
            self.stuck_at = Instant::now() + STUCK;
        }
        self.kill();
    }

    /// Why the daemon ended it, where it did.
    pub fn stopped(&self) -> Option<Outcome> {
        self.stopped
    }

    fn kill(&self) {
        if let Stage::Started { pidfd, .. } = &self.stage {
            // SAFETY: signals the process behind the descriptor, which may be gone already.
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::SIGKILL, 0, 0) };
        }
    }

    /// The process and all that it started are gone: collects the rest of the output and says how it ended. The
    /// other side of the result is a fault of the sandbox, with the run to be tried again.
    pub fn ended(
        mut self,
        status: i32,
        cpu_us: u64,
        rss_kib: u64,
        group: Option<&Group>,
    ) -> std::result::Result<(u64, Ending), (Box<Run>, String)> {
        self.hear_gate();
        self.stdout.finish();
        self.stderr.finish();
        self.answers.iter_mut().for_each(Capture::finish);
        let setup_us = self.setup_us();
        let is_out_of_memory = group.is_some_and(Group::ran_out_of_memory);
        // Cancelled while the walls went up, or given less memory than the walls need: no fault either.
        let is_caller_s_wish = self.stopped.is_some() || is_out_of_memory;
        let Some(setup_us) = setup_us.or(is_caller_s_wish.then_some(0)) else {
            let said = String::from_utf8_lossy(&self.gate_text);
            let reason = if said.is_empty() { format!("wait status {status}") } else { said.trim().to_owned() };
            return Err((self.run, format!("the test's process could not be set up: {reason}")));
        };
        let seen_us = match &self.stage {
            Stage::Started { meter: Some(meter), .. } => meter.cpu_us(),
            _ => 0,
        };
        let counted_us = group.map_or(0, Group::cpu_us).max(cpu_us).max(seen_us);
        let cpu_ms = counted_us.saturating_sub(setup_us) as f64 / 1000.0;
        let memory_peak_mib = match group {
            Some(group) => group.memory_peak_bytes() as f64 / (1 << 20) as f64,
            None => self.memory_peak_kib.max(rss_kib) as f64 / 1024.0,
        };
        let limits = self.run.limits;
        let (exit_code, signal) = (libc::WIFEXITED(status), libc::WIFSIGNALED(status));
        let exit_code = exit_code.then(|| libc::WEXITSTATUS(status));
        let signal = signal.then(|| libc::WTERMSIG(status));
        let outcome = self.stopped.unwrap_or_else(|| {
            if is_out_of_memory {
                Outcome::MemoryLimit
            } else if self.is_output_over() {
                Outcome::OutputLimit
            } else if cpu_ms > limits.cpu_ms as f64 {
                Outcome::CpuLimit
            } else if signal.is_some() {
                Outcome::Signalled
            } else {
                Outcome::Exited
            }
        });
        let wall_ms = match &self.stage {
            Stage::Started { began, .. } => began.elapsed().as_secs_f64() * 1000.0,
            Stage::Asked => 0.0,
        };
        let is_killed_from_outside = outcome == Outcome::Signalled && signal == Some(libc::SIGKILL);
        let reason = if is_killed_from_outside { KILLED_FROM_OUTSIDE.to_owned() } else { String::new() };
        let answers = self.answers.map(|answers| checked(&answers.into_bytes(), &self.nonce)).unwrap_or_default();
        let ending = Ending {
            outcome,
            exit_code,
            signal,
            cpu_ms,
            wall_ms,
            memory_peak_mib,
            reason,
            stdout: self.stdout.into_bytes(),
            stderr_tail: self.stderr.into_bytes(),
            answers,
        };
        Ok((self.run.id, ending))
    }
}

/// Our ends of everything that connects a test with the daemon.
struct Ends {
    nonce: String,
    stdin: Feed,
    stdout: Capture,
    stderr: Capture,
    answers: Option<Capture>,
    gate: OwnedFd,
}

impl Ends {
    /// Ours, and the test's in the order that the zygote expects.
    fn make(run: &Run) -> Result<(Self, Vec<OwnedFd>)> {
        let most = usize::try_from(run.limits.output_bytes).unwrap_or(usize::MAX);
        let (stdin, stdin_end) = Feed::new()?;
        let (stdout, stdout_end) = Capture::new(Keep::Head(most))?;
        let (stderr, stderr_end) = Capture::new(Keep::Tail(STDERR_BYTES))?;
        let (gate, gate_end) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).step("gate of a test")?;
        let (source, answers, nonce) = match &run.mode {
            Mode::Stdin { .. } => (memory_file(&[&run.code])?, None, String::new()),
            Mode::Calls { calls, .. } => {
                (memory_file(&[&run.code, calls])?, Some(Capture::new(Keep::Head(most))?), nonce()?)
            }
        };
        let (answers, answers_end) = answers.unzip();
        let mut theirs = vec![stdin_end, stdout_end, stderr_end, source, gate_end];
        theirs.extend(answers_end);
        Ok((Self { nonce, stdin, stdout, stderr, answers, gate }, theirs))
    }
}

/// 16 random bytes in hexadecimal.
fn nonce() -> Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).step("read /dev/urandom")?;
    Ok(hex(&bytes))
}

/// The whole lines that begin with the nonce, without it.
fn checked(answers: &[u8], nonce: &str) -> Vec<u8> {
    let mut lines = Vec::with_capacity(answers.len());
    for line in answers.split_inclusive(|byte| *byte == b'\n') {
        if let Some(answer) = line.strip_prefix(nonce.as_bytes())
            && answer.ends_with(b"\n")
        {
            lines.extend_from_slice(answer);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_with_the_nonce_are_answers() {
        let channel = b"abc{\"value\":1}\nabd{\"value\":2}\n\nabc{\"value\":3}\nabc{\"val";
        assert_eq!(checked(channel, "abc"), b"{\"value\":1}\n{\"value\":3}\n");
    }
}
