//! Result frames on their way to the client, which may read them as slowly as it likes.

use crate::error::{Result, Step};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::write;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// Frames that wait for the client.
#[derive(Debug)]
pub struct Outgoing {
    fd: OwnedFd,
    frames: VecDeque<Vec<u8>>,
    written: usize,
}

impl Outgoing {
    /// Writes to `fd`, which is made non-blocking.
    pub fn new(fd: OwnedFd) -> Result<Self> {
        let flags = fcntl(&fd, FcntlArg::F_GETFL).step("read the flags of stdout")?;
        let flags = OFlag::from_bits_truncate(flags) | OFlag::O_NONBLOCK;
        fcntl(&fd, FcntlArg::F_SETFL(flags)).step("make stdout non-blocking")?;
        Ok(Self { fd, frames: VecDeque::new(), written: 0 })
    }

    pub fn push(&mut self, frame: Vec<u8>) {
        self.frames.push_back(frame);
    }

    /// The descriptor to wait on while something waits to be written.
    pub fn waiting_on(&self) -> Option<&OwnedFd> {
        (!self.frames.is_empty()).then_some(&self.fd)
    }

    /// Writes what the client takes. An error means that nobody reads any more.
    pub fn pump(&mut self) -> Result<()> {
        while let Some(frame) = self.frames.front() {
            match write(&self.fd, &frame[self.written..]) {
                Ok(length) => self.written += length,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno).step("write to the client"),
            }
            if self.written == frame.len() {
                self.frames.pop_front();
                self.written = 0;
            }
        }
        Ok(())
    }
}
