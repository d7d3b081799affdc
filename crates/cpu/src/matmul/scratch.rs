//! Memory that a backend's matmuls reuse from call to call, so that a step allocates nothing.

use crate::memory::Memory;
use gradus_ops::Result;

/// Grows to the largest request and stays.
pub(crate) struct Scratch {
    memory: Memory,
}

impl Scratch {
    pub(crate) fn new() -> Result<Scratch> {
        Ok(Scratch { memory: Memory::zeroed(0, size_of::<f32>())? })
    }

    /// `len` elements whose values are left over from earlier calls.
    pub(super) fn take(&mut self, len: usize) -> Result<&mut [f32]> {
        if self.memory.bytes().len() < len * size_of::<f32>() {
            self.memory = Memory::zeroed(len, size_of::<f32>())?;
        }
        Ok(&mut bytemuck::cast_slice_mut(self.memory.bytes_mut())[..len])
    }
}
