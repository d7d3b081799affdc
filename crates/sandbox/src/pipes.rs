//! The daemon's ends of a test's pipes. None of them ever blocks the loop: input goes in as the pipe takes it, output
//! is read to a cap or drained into a tail.

use crate::error::{Result, Step};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read, write};
use std::io::Write;
use std::os::fd::OwnedFd;

const CHUNK_BYTES: usize = 16 << 10;
/// Chunks taken at one visit, so that one talkative test cannot keep the loop from the others.
const CHUNKS_MAX: usize = 64;

/// Two ends of a pipe: ours does not block, theirs does.
fn pipe_ours_first(ours_reads: bool) -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).step("pipe for a test")?;
    let (ours, theirs) = if ours_reads { (reader, writer) } else { (writer, reader) };
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).step("make a pipe non-blocking")?;
    Ok((ours, theirs))
}

/// Bytes on their way into a test.
#[derive(Debug)]
pub struct Feed {
    fd: Option<OwnedFd>,
    written: usize,
}

impl Feed {
    /// A feed, and the end that the test reads.
    pub fn new() -> Result<(Self, OwnedFd)> {
        let (ours, theirs) = pipe_ours_first(false)?;
        Ok((Self { fd: Some(ours), written: 0 }, theirs))
    }

    /// The descriptor to wait on while there is something to write.
    pub fn waiting_on(&self) -> Option<&OwnedFd> {
        self.fd.as_ref()
    }

    /// Writes what the pipe takes of `bytes`, which is the same at every call, and closes it after the last byte. A
    /// test that closed its end has read all that it wants.
    pub fn pump(&mut self, bytes: &[u8]) {
        while let Some(fd) = &self.fd {
            let rest = &bytes[self.written..];
            match if rest.is_empty() { Ok(0) } else { write(fd, rest) } {
                Ok(0) => self.fd = None,
                Ok(length) => self.written += length,
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                Err(_) => self.fd = None,
            }
        }
    }
}

/// Which bytes of an output are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The first ones; more than that is over the limit.
    Head(usize),
    /// The last ones; all else is thrown away.
    Tail(usize),
}

/// An output of a test.
#[derive(Debug)]
pub struct Capture {
    fd: Option<OwnedFd>,
    keep: Keep,
    bytes: Vec<u8>,
    is_over: bool,
}

impl Capture {
    /// A capture, and the end that the test writes.
    pub fn new(keep: Keep) -> Result<(Self, OwnedFd)> {
        let (ours, theirs) = pipe_ours_first(true)?;
        Ok((Self { fd: Some(ours), keep, bytes: Vec::new(), is_over: false }, theirs))
    }

    /// The descriptor to wait on while the output is open.
    pub fn waiting_on(&self) -> Option<&OwnedFd> {
        self.fd.as_ref()
    }

    /// Takes what has arrived, up to a bounded number of bytes. False if there was nothing.
    pub fn pump(&mut self) -> bool {
        let mut chunk = [0; CHUNK_BYTES];
        let mut has_read = false;
        for _ in 0..CHUNKS_MAX {
            let Some(fd) = &self.fd else { break };
            match read(fd, &mut chunk) {
                Ok(0) => self.fd = None,
                Ok(length) => {
                    self.take(&chunk[..length]);
                    has_read = true;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(_) => self.fd = None,
            }
        }
        has_read
    }

    /// Takes all that is left after every process of the test is gone. The pipe need not be closed then: a writing
    /// end that was sent through a socket and never received outlives its processes, so an empty pipe is the end.
    pub fn finish(&mut self) {
        while !self.is_over && self.pump() {}
        self.fd = None;
    }

    fn take(&mut self, chunk: &[u8]) {
        match self.keep {
            Keep::Head(most) => {
                let room = most - self.bytes.len();
                self.is_over |= chunk.len() > room;
                self.bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Keep::Tail(most) => {
                self.bytes.extend_from_slice(chunk);
                let excess = self.bytes.len().saturating_sub(most);
                self.bytes.drain(..excess);
            }
        }
    }

    /// True once more came than may be kept.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// What was kept.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A file in memory with the given parts, to be read by a test from its beginning.
pub fn memory_file(parts: &[&[u8]]) -> Result<OwnedFd> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let fd = memfd_create(c"program", MFdFlags::MFD_CLOEXEC).step("memfd for a program")?;
    let mut file = std::fs::File::from(fd);
    for part in parts {
        file.write_all(part).step("write a program into memory")?;
    }
    std::io::Seek::rewind(&mut file).step("rewind a program")?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_stops_at_its_limit_and_a_tail_keeps_the_end() {
        let text: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
        let (mut head, head_end) = Capture::new(Keep::Head(50_000)).unwrap();
        let (mut tail, tail_end) = Capture::new(Keep::Tail(4096)).unwrap();
        for (capture, end) in [(&mut head, head_end), (&mut tail, tail_end)] {
            for part in text.chunks(10_000) {
                assert_eq!(write(&end, part).unwrap(), part.len());
                capture.pump();
            }
            drop(end);
            capture.finish();
        }
        assert!(head.is_over() && !tail.is_over());
        assert_eq!(head.into_bytes(), text[..50_000]);
        assert_eq!(tail.into_bytes(), text[text.len() - 4096..]);
    }

    #[test]
    fn an_output_ends_when_it_is_empty_although_a_writer_lives() {
        let (mut head, head_end) = Capture::new(Keep::Head(100)).unwrap();
        let (mut tail, tail_end) = Capture::new(Keep::Tail(3)).unwrap();
        for (capture, end) in [(&mut head, &head_end), (&mut tail, &tail_end)] {
            write(end, b"abcdef").unwrap();
            capture.finish();
        }
        assert_eq!((head.into_bytes(), tail.into_bytes()), (b"abcdef".to_vec(), b"def".to_vec()));
    }

    #[test]
    fn exactly_the_limit_is_not_over() {
        let (mut head, end) = Capture::new(Keep::Head(3)).unwrap();
        write(&end, b"abc").unwrap();
        drop(end);
        head.finish();
        assert!(!head.is_over());
        assert_eq!(head.into_bytes(), b"abc");
    }

    #[test]
    fn a_feed_outlives_a_full_pipe_and_a_closed_reader() {
        let bytes = vec![7; 1 << 20];
        let (mut feed, end) = Feed::new().unwrap();
        feed.pump(&bytes);
        assert!(feed.waiting_on().is_some());
        drop(end);
        feed.pump(&bytes);
        assert!(feed.waiting_on().is_none());
    }
}
