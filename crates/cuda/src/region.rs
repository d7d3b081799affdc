//! The region of a GPU: memory that the phases of a run use in turn (see `gradus_ops::Backed`).

use crate::buffer::Buffer;
use crate::device::Device;
use crate::driver::Address;
use crate::memory::Memory;
use crate::weight::Weight;
use gradus_ops::{Backed, Cut, Cuts, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One allocation and the table of its parts; clones are the same region.
#[derive(Clone)]
pub struct Region {
    device: Arc<Device>,
    parts: Arc<Mutex<Parts>>,
}

struct Parts {
    cuts: Cuts,
    memory: Memory,
}

/// A part that is in use; dropped, it is free. Work that uses it may still be enqueued: what the next one to have it enqueues comes after that
/// in the same stream.
pub(crate) struct Lease {
    region: Region,
    cut: Cut,
}

impl Region {
    pub(crate) fn new(device: &Arc<Device>) -> Region {
        let parts = Parts { cuts: Cuts::default(), memory: Memory::none(device) };
        Region { device: Arc::clone(device), parts: Arc::new(Mutex::new(parts)) }
    }

    /// Bytes of its allocation.
    pub(crate) fn bytes(&self) -> usize {
        self.parts().cuts.capacity()
    }

    /// Memory that holds anything.
    fn lend(&self, bytes: usize) -> Result<Memory> {
        if bytes == 0 {
            return Ok(Memory::none(&self.device));
        }
        let (lease, first) = self.cut(bytes);
        match first {
            Some(first) => Ok(Memory::lent(&self.device, first, bytes, lease)),
            None => Ok(Memory::zeroed(&self.device, bytes, 1)?.counted(lease)),
        }
    }

    fn cut(&self, bytes: usize) -> (Lease, Option<Address>) {
        let mut parts = self.parts();
        if let Some(capacity) = parts.cuts.wanted() {
            // The old memory goes first: both together might not fit.
            parts.memory = Memory::none(&self.device);
            parts.cuts.resized(0);
            // Where so much is not to be had now, parts are allocations of their own: this phase may need less.
            if let Ok(memory) = Memory::zeroed(&self.device, capacity, 1) {
                parts.memory = memory;
                parts.cuts.resized(capacity);
            }
        }
        let cut = parts.cuts.take(bytes);
        let first = cut.first.map(|first| parts.memory.address().offset(first));
        (Lease { region: self.clone(), cut }, first)
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // A panic leaves the table whole: no step of it can fail half-way.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.region.parts().cuts.give_back(&self.cut);
    }
}

impl Backed<Region> for Buffer {
    fn take_from(&mut self, region: &Region) -> Result<()> {
        if self.memory.bytes() == 0 {
            self.memory = region.lend(self.bytes())?;
        }
        Ok(())
    }

    fn give_back(&mut self) {
        self.memory.give_back();
    }

    fn bytes(&self) -> usize {
        self.len() * self.dtype().bytes()
    }
}

impl Backed<Region> for Weight {
    fn take_from(&mut self, region: &Region) -> Result<()> {
        if self.memory.bytes() == 0 {
            self.memory = region.lend(Backed::bytes(self))?;
        }
        Ok(())
    }

    fn give_back(&mut self) {
        self.memory.give_back();
    }

    fn bytes(&self) -> usize {
        self.elements() * self.element_bytes()
    }
}
