//! The daemon's one loop: frames in, tests onto workers, results out. Single-threaded, so that starting a worker may
//! fork, and nothing in it ever waits for one test.

use crate::error::{Error, Result, Step};
use crate::frame::Decoder;
use crate::interpreter::Interpreter;
use crate::outcome::{Ending, Outcome};
use crate::outgoing::Outgoing;
use crate::probe::{Ready, poll_timeout};
use crate::request::{Request, Run};
use crate::worker::{Finished, Worker};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signalfd::SignalFd;
use nix::unistd::read;
use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

const CHUNK_BYTES: usize = 1 << 20;

/// The state of the daemon.
pub struct Supervisor {
    interpreter: Interpreter,
    ready: Ready,
    queue: VecDeque<Box<Run>>,
    /// Tests that were run once already and ended in a fault.
    retried: HashSet<u64>,
    outgoing: Outgoing,
    decoder: Decoder,
}

/// Who has something to say after a wait.
#[derive(Default)]
struct Awake {
    input: bool,
    signal: bool,
    workers: Vec<usize>,
}

impl Supervisor {
    pub fn new(interpreter: Interpreter, ready: Ready, outgoing: Outgoing) -> Self {
        let decoder = Decoder::default();
        Self { interpreter, ready, queue: VecDeque::new(), retried: HashSet::new(), outgoing, decoder }
    }

    /// Serves `input` until it ends or one of `signals` arrives. On return no process of ours is left.
    pub fn serve(&mut self, input: BorrowedFd<'_>, signals: &SignalFd) -> Result<()> {
        let served = self.serve_inner(input, signals);
        self.ready.workers.iter_mut().for_each(Worker::end);
        if let Some(subtree) = &self.ready.subtree {
            subtree.remove();
        }
        served
    }

    fn serve_inner(&mut self, input: BorrowedFd<'_>, signals: &SignalFd) -> Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            self.dispatch()?;
            self.outgoing.pump()?;
            let awake = self.wait(input, signals)?;
            if awake.signal {
                return Ok(());
            }
            for worker in awake.workers {
                let finished = self.ready.workers[worker].visit(&self.interpreter)?;
                self.conclude(finished);
            }
            let now = Instant::now();
            for worker in 0..self.ready.workers.len() {
                if self.ready.workers[worker].next_check().is_some_and(|at| at <= now) {
                    let finished = self.ready.workers[worker].check(now, &self.interpreter)?;
                    self.conclude(finished);
                }
            }
            if awake.input {
                match read(input, &mut chunk) {
                    Ok(0) if self.decoder.is_between_frames() => return Ok(()),
                    Ok(0) => return Err(Error::Frame("the input ends within a frame".into())),
                    Ok(length) => self.decoder.push(&chunk[..length]),
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(errno) => return Err(errno).step("read from the client"),
                }
                while let Some(frame) = self.decoder.next_frame()? {
                    self.obey(Request::from_frame(frame)?);
                }
            }
        }
    }

    fn obey(&mut self, request: Request) {
        match request {
            Request::Run(run) => self.queue.push_back(run),
            Request::Cancel { id } => {
                self.ready.workers.iter_mut().for_each(|worker| worker.cancel(id));
                if let Some(at) = self.queue.iter().position(|run| run.id == id) {
                    self.queue.remove(at);
                    self.send(id, &Ending::without_output(Outcome::Cancelled, String::new()));
                }
            }
        }
    }

    /// Gives tests to idle workers.
    fn dispatch(&mut self) -> Result<()> {
        for worker in 0..self.ready.workers.len() {
            while self.ready.workers[worker].is_idle() {
                let Some(run) = self.queue.pop_front() else { return Ok(()) };
                let finished = self.ready.workers[worker].begin(run, &self.interpreter)?;
                self.conclude(finished);
            }
        }
        Ok(())
    }

    fn conclude(&mut self, finished: Option<Finished>) {
        match finished {
            None => {}
            Some(Finished::Ended { id, ending }) => self.send(id, &ending),
            Some(Finished::Fault { run, .. }) if self.retried.insert(run.id) => self.queue.push_front(run),
            Some(Finished::Fault { run, reason }) => {
                self.send(run.id, &Ending::without_output(Outcome::Fault, reason));
            }
        }
    }

    fn send(&mut self, id: u64, ending: &Ending) {
        self.retried.remove(&id);
        self.outgoing.push(ending.frame(id));
    }

    fn wait(&self, input: BorrowedFd<'_>, signals: &SignalFd) -> Result<Awake> {
        let workers = &self.ready.workers;
        let mut fds = vec![PollFd::new(input, PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let mut owners = vec![None, None];
        fds.extend(self.outgoing.waiting_on().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLOUT)));
        owners.resize(fds.len(), None);
        for (index, worker) in workers.iter().enumerate() {
            let (readable, writable) = worker.execution().map(|execution| execution.waiting_on()).unwrap_or_default();
            fds.push(PollFd::new(worker.control().as_fd(), PollFlags::POLLIN));
            fds.extend(readable.into_iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
            fds.extend(writable.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLOUT)));
            owners.resize(fds.len(), Some(index));
        }
        match poll(&mut fds, poll_timeout(workers.iter().filter_map(Worker::next_check).min())) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Awake::default()),
            Err(errno) => return Err(errno).step("poll"),
        }
        let stirred = |fd: &PollFd| fd.any().unwrap_or(true);
        let mut awake = Awake { input: stirred(&fds[0]), signal: stirred(&fds[1]), workers: Vec::new() };
        awake.workers = fds.iter().zip(&owners).filter(|(fd, _)| stirred(fd)).filter_map(|(_, owner)| *owner).collect();
        awake.workers.dedup();
        Ok(awake)
    }
}
