//! Memory that a backend's ops reuse from call to call, so that a step allocates nothing.

use crate::memory::Memory;
use gradus_ops::Result;

/// Grows to the largest request and stays.
pub(crate) struct Scratch {
    memory: Memory,
}

impl Scratch {
    pub(crate) fn new() -> Result<Scratch> {
        Ok(Scratch { memory: Memory::zeroed(0, 1)? })
    }

    /// `len` elements of 0.
    pub(crate) fn take_zeros(&mut self, len: usize) -> Result<&mut [f32]> {
        let elements = self.take(len)?;
        elements.fill(0.0);
        Ok(elements)
    }

    /// `len` elements whose values are left over from earlier calls.
    pub(crate) fn take<T: bytemuck::Pod>(&mut self, len: usize) -> Result<&mut [T]> {
        if self.memory.bytes().len() / size_of::<T>() < len {
            self.memory = Memory::zeroed(len, size_of::<T>())?;
        }
        let (elements, _) = self.memory.bytes_mut().split_at_mut(len * size_of::<T>());
        Ok(bytemuck::cast_slice_mut(elements))
    }
}
