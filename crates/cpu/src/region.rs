//! The CPU's region: memory that the phases of a run use in turn (see `gradus_ops::Backed`).

use crate::buffer::{Buffer, Weight};
use crate::memory::Memory;
use gradus_ops::{Backed, Cut, Cuts, Result};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One allocation and the table of its parts; clones are the same region.
#[derive(Clone, Default)]
pub struct Region(Arc<Mutex<Parts>>);

#[derive(Default)]
struct Parts {
    cuts: Cuts,
    memory: Memory,
}

/// A part that is in use; dropped, it is free.
pub(crate) struct Lease {
    region: Region,
    cut: Cut,
}

impl Region {
    /// Bytes of its allocation that the machine's memory holds.
    pub(crate) fn bytes(&self) -> usize {
        self.parts().memory.resident_bytes()
    }

    /// Memory that holds anything.
    fn lend(&self, bytes: usize) -> Result<Memory> {
        if bytes == 0 {
            return Ok(Memory::default());
        }
        let (lease, first) = self.cut(bytes);
        match first {
            // SAFETY: the part lies in the region's memory, which stays as it is while a part is in use, and no other part overlaps it.
            Some(first) => Ok(unsafe { Memory::lent(first, bytes, lease) }),
            None => Ok(Memory::zeroed(bytes, 1)?.counted(lease)),
        }
    }

    fn cut(&self, bytes: usize) -> (Lease, Option<NonNull<u8>>) {
        let mut parts = self.parts();
        if let Some(capacity) = parts.cuts.wanted() {
            // The old memory goes first: both together might not fit.
            parts.memory = Memory::default();
            parts.cuts.resized(0);
            // Where so much is not to be had now, parts are allocations of their own: this phase may need less.
            if let Ok(memory) = Memory::zeroed(capacity, 1) {
                parts.memory = memory;
                parts.cuts.resized(capacity);
            }
        }
        let cut = parts.cuts.take(bytes);
        // SAFETY: a part begins inside the memory.
        let first = cut.first.map(|first| unsafe { parts.memory.first().add(first) });
        (Lease { region: self.clone(), cut }, first)
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // A panic leaves the table whole: no step of it can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.region.parts().cuts.give_back(&self.cut);
    }
}

impl Backed<Region> for Buffer {
    fn take_from(&mut self, region: &Region) -> Result<()> {
        if self.is_unbacked() {
            *self.memory_mut() = region.lend(self.bytes())?;
        }
        Ok(())
    }

    fn give_back(&mut self) {
        *self.memory_mut() = Memory::default();
    }

    fn bytes(&self) -> usize {
        self.len() * self.dtype().bytes()
    }
}

impl Backed<Region> for Weight {
    fn take_from(&mut self, region: &Region) -> Result<()> {
        if self.is_unbacked() {
            *self.memory_mut() = region.lend(self.bytes())?;
        }
        Ok(())
    }

    fn give_back(&mut self) {
        *self.memory_mut() = Memory::default();
    }

    fn bytes(&self) -> usize {
        Weight::bytes(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus_ops::Precision;
    use gradus_tensor::DType;

    #[test]
    fn phases_take_the_same_bytes_in_turn() {
        let region = Region::default();
        let mut gradient = Weight::unbacked(40, 33, Precision::F32).unwrap();
        let mut pages = [(); 3].map(|()| Buffer::unbacked(DType::BF16, 3000).unwrap());
        for round in 0..4 {
            gradient.take_from(&region).unwrap();
            gradient.packed_mut().fill(f32::NAN);
            let first = gradient.packed().as_ptr().addr();
            gradient.give_back();
            for page in &mut pages {
                page.take_from(&region).unwrap();
                page.take_from(&region).unwrap();
            }
            let addresses =
                pages.each_ref().map(|page| page.slice::<half::bf16>("test", "page", 1).unwrap().as_ptr().addr());
            if round > 1 {
                assert_eq!(addresses[0], first);
                assert!(addresses.windows(2).all(|pair| pair[1] - pair[0] >= 6000));
            }
            pages.iter_mut().for_each(Backed::give_back);
        }
        assert_eq!(region.bytes(), 3 * 8192);
    }

    #[test]
    fn what_has_no_memory_is_refused() {
        let region = Region::default();
        let mut buffer = Buffer::unbacked(DType::F32, 10).unwrap();
        let found = buffer.f32("op", "x", 10).unwrap_err().to_string();
        assert_eq!(found, "op: x has given its memory back");
        assert!(buffer.zero(0, 10).is_err());
        buffer.take_from(&region).unwrap();
        assert!(buffer.f32_mut("op", "x", 10).is_ok());
        let mut nothing = Buffer::unbacked(DType::F32, 0).unwrap();
        nothing.take_from(&region).unwrap();
        assert!(nothing.f32("op", "x", 0).is_ok());
    }
}
