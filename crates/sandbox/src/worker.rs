//! One worker: a zygote, perhaps a cgroup, and at most one test at a time. A worker whose zygote dies is started anew.

use crate::cgroup::{Group, Subtree};
use crate::error::{Error, Result};
use crate::execution::Execution;
use crate::interpreter::Interpreter;
use crate::outcome::{Ending, Outcome};
use crate::request::Run;
use crate::spawn::{self, Identity, Zygote};
use crate::zygote::{self, Said};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// A zygote that is not ready after this is broken.
const START: Duration = Duration::from_secs(30);
/// A killed zygote that is not gone after this is left to itself.
const END: Duration = Duration::from_secs(2);
/// Starts in a row that may fail before the daemon gives up.
const FAILED_STARTS_MAX: u32 = 3;

/// A worker and its state.
#[derive(Debug)]
pub struct Worker {
    identity: Identity,
    group: Option<Group>,
    zygote: Zygote,
    state: State,
    failed_starts: u32,
}

#[derive(Debug)]
enum State {
    Starting { until: Instant },
    Idle,
    Running(Box<Execution>),
}

/// What became of a test that a worker had.
#[derive(Debug)]
pub enum Finished {
    Ended {
        id: u64,
        ending: Ending,
    },
    /// The sandbox failed; the test may be tried again.
    Fault {
        run: Box<Run>,
        reason: String,
    },
}

impl Worker {
    /// Starts a worker; it takes tests once its zygote says that it is ready.
    pub fn start(
        interpreter: &Interpreter,
        identity: Identity,
        subtree: Option<&Subtree>,
        index: usize,
    ) -> Result<Self> {
        let group = subtree.map(|subtree| subtree.group(index)).transpose()?;
        let zygote = start_zygote(interpreter, identity, group.is_some())?;
        let state = State::Starting { until: Instant::now() + START };
        Ok(Self { identity, group, zygote, state, failed_starts: 0 })
    }

    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    pub fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting { .. })
    }

    pub fn control(&self) -> &OwnedFd {
        &self.zygote.control
    }

    /// The test that runs here.
    pub fn execution(&self) -> Option<&Execution> {
        match &self.state {
            State::Running(execution) => Some(execution),
            _ => None,
        }
    }

    /// When `check` has to be called next.
    pub fn next_check(&self) -> Option<Instant> {
        match &self.state {
            State::Starting { until } => Some(*until),
            State::Idle => None,
            State::Running(execution) => Some(execution.next_check()),
        }
    }

    /// Begins a test. The worker must be idle.
    pub fn begin(&mut self, run: Box<Run>, interpreter: &Interpreter) -> Result<Option<Finished>> {
        if let Some(group) = &mut self.group
            && let Err(error) = group.reset(&run.limits)
        {
            return Ok(Some(Finished::Fault { run, reason: error.to_string() }));
        }
        match Execution::begin(run, &self.zygote.control) {
            Ok(execution) => {
                self.state = State::Running(Box::new(execution));
                Ok(None)
            }
            Err((run, error)) => {
                self.restart(interpreter)?;
                Ok(Some(Finished::Fault { run, reason: error.to_string() }))
            }
        }
    }

    /// Ends the test `id` if it runs here.
    pub fn cancel(&mut self, id: u64) {
        if let State::Running(execution) = &mut self.state
            && execution.run.id == id
        {
            execution.stop(Outcome::Cancelled);
        }
    }

    /// Moves bytes and hears the zygote; says if a test finished. An error means that no worker can be had any more.
    pub fn visit(&mut self, interpreter: &Interpreter) -> Result<Option<Finished>> {
        if let State::Running(execution) = &mut self.state {
            execution.pump();
        }
        loop {
            match zygote::receive(&self.zygote.control) {
                Ok(None) => return Ok(None),
                Ok(Some(said)) => {
                    if let Some(finished) = self.hear(said, interpreter)? {
                        return Ok(Some(finished));
                    }
                }
                Err(error) => return self.give_up(&error.to_string(), interpreter),
            }
        }
    }

    fn hear(&mut self, said: Said, interpreter: &Interpreter) -> Result<Option<Finished>> {
        match (said, std::mem::replace(&mut self.state, State::Idle)) {
            (Said::Ready, State::Starting { .. }) => {
                self.failed_starts = 0;
                Ok(None)
            }
            (Said::Started { pidfd }, State::Running(mut execution)) => {
                let started = execution.started(pidfd, self.group.as_ref());
                self.state = State::Running(execution);
                match started {
                    Ok(()) => Ok(None),
                    Err(error) => self.give_up(&error.to_string(), interpreter),
                }
            }
            (Said::Exited { status, cpu_us, rss_kib }, State::Running(execution)) => {
                let ended = execution.ended(status, cpu_us, rss_kib, self.group.as_ref());
                Ok(Some(match ended {
                    Ok((id, ending)) => Finished::Ended { id, ending },
                    Err((run, reason)) => Finished::Fault { run, reason },
                }))
            }
            (said, state) => {
                self.state = state;
                let reason = match said {
                    Said::Failed(reason) => reason,
                    Said::Gone => "the zygote died".to_owned(),
                    other => format!("the zygote said {other:?} out of turn"),
                };
                self.give_up(&reason, interpreter)
            }
        }
    }

    /// Enforces limits and deadlines.
    pub fn check(&mut self, now: Instant, interpreter: &Interpreter) -> Result<Option<Finished>> {
        let is_sound = match &mut self.state {
            State::Idle => true,
            State::Starting { until } => now < *until,
            State::Running(execution) => execution.check(now, self.group.as_ref()),
        };
        if is_sound { Ok(None) } else { self.give_up("the worker does not answer", interpreter) }
    }

    /// The worker is broken: a new one is started, and its test is a fault unless it had reached a limit before.
    fn give_up(&mut self, reason: &str, interpreter: &Interpreter) -> Result<Option<Finished>> {
        let was_starting = self.is_starting();
        let state = std::mem::replace(&mut self.state, State::Idle);
        self.failed_starts += u32::from(was_starting);
        if self.failed_starts >= FAILED_STARTS_MAX {
            return Err(Error::Worker(format!("could not be started: {reason}")));
        }
        self.restart(interpreter)?;
        Ok(match state {
            State::Running(execution) => Some(match execution.stopped() {
                Some(outcome) => {
                    let ending = Ending::without_output(outcome, format!("after that, {reason}"));
                    Finished::Ended { id: execution.run.id, ending }
                }
                None => Finished::Fault { run: execution.run, reason: reason.to_owned() },
            }),
            _ => None,
        })
    }

    fn restart(&mut self, interpreter: &Interpreter) -> Result<()> {
        self.end();
        self.zygote = start_zygote(interpreter, self.identity, self.group.is_some())?;
        self.state = State::Starting { until: Instant::now() + START };
        Ok(())
    }

    /// Kills the zygote, which is init of its PID namespace, and with it every process of the worker. One of them may
    /// hang within the kernel for as long as the host's disks do; the daemon does not wait for that.
    pub fn end(&mut self) {
        let _ = kill(self.zygote.pid, Signal::SIGKILL);
        let until = Instant::now() + END;
        while waitpid(self.zygote.pid, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive)
            && Instant::now() < until
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn start_zygote(interpreter: &Interpreter, identity: Identity, has_cgroup: bool) -> Result<Zygote> {
    let zygote = spawn::spawn(interpreter, identity)?;
    zygote::send_config(&zygote.control, interpreter, identity, has_cgroup)?;
    Ok(zygote)
}
