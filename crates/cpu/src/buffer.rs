//! Device memory of the CPU backend: buffers of one dtype; weights are in `weight`.

use crate::memory::Memory;
use gradus_ops::{Error, Result};
use gradus_tensor::{DType, Element};

pub(crate) use crate::weight::PANEL;
pub use crate::weight::Weight;

/// Memory of `len` elements of one dtype.
pub struct Buffer {
    dtype: DType,
    len: usize,
    memory: Memory,
}

impl Buffer {
    pub(crate) fn zeroed(dtype: DType, len: usize) -> Result<Buffer> {
        Ok(Buffer { dtype, len, memory: Memory::zeroed(len, dtype.bytes())? })
    }

    /// Without memory, until a region gives it some.
    pub(crate) fn unbacked(dtype: DType, len: usize) -> Result<Buffer> {
        if len.checked_mul(dtype.bytes()).is_none() {
            return Err(Error::OutOfMemory { bytes: usize::MAX, device: "cpu" });
        }
        Ok(Buffer { dtype, len, memory: Memory::default() })
    }

    /// Whether memory is missing.
    pub(crate) fn is_unbacked(&self) -> bool {
        self.memory.bytes().len() < self.len * self.dtype.bytes()
    }

    pub(crate) fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// The first `len` elements; an error names `op` and `what` where the buffer is shorter or of another dtype.
    pub(crate) fn slice<T: Element>(&self, op: &'static str, what: &'static str, len: usize) -> Result<&[T]> {
        self.check::<T>(op, what, len)?;
        Ok(&bytemuck::cast_slice(self.memory.bytes())[..len])
    }

    /// As [`Buffer::slice`], to write.
    pub(crate) fn slice_mut<T: Element>(
        &mut self,
        op: &'static str,
        what: &'static str,
        len: usize,
    ) -> Result<&mut [T]> {
        self.check::<T>(op, what, len)?;
        Ok(&mut bytemuck::cast_slice_mut(self.memory.bytes_mut())[..len])
    }

    pub(crate) fn f32(&self, op: &'static str, what: &'static str, len: usize) -> Result<&[f32]> {
        self.slice(op, what, len)
    }

    pub(crate) fn f32_mut(&mut self, op: &'static str, what: &'static str, len: usize) -> Result<&mut [f32]> {
        self.slice_mut(op, what, len)
    }

    pub(crate) fn u32(&self, op: &'static str, what: &'static str, len: usize) -> Result<&[u32]> {
        self.slice(op, what, len)
    }

    pub(crate) fn u32_mut(&mut self, op: &'static str, what: &'static str, len: usize) -> Result<&mut [u32]> {
        self.slice_mut(op, what, len)
    }

    /// Sets `len` elements from `offset` to zero, whatever the dtype.
    pub(crate) fn zero(&mut self, offset: usize, len: usize) -> Result<()> {
        let end = range_end("zero", "dst", offset, len, self.len)?;
        self.require_memory("zero", "dst")?;
        let bytes = self.dtype.bytes();
        self.memory.bytes_mut()[offset * bytes..end * bytes].fill(0);
        Ok(())
    }

    fn check<T: Element>(&self, op: &'static str, what: &'static str, len: usize) -> Result<()> {
        if self.dtype != T::DTYPE {
            return Err(Error::DType { op, what, found: self.dtype.name(), expected: T::DTYPE.name() });
        }
        if self.len < len {
            return Err(Error::Length { op, what, found: self.len, expected: len });
        }
        self.require_memory(op, what)
    }

    fn require_memory(&self, op: &'static str, what: &'static str) -> Result<()> {
        if self.is_unbacked() {
            return Err(Error::Invalid { op, reason: format!("{what} has given its memory back") });
        }
        Ok(())
    }
}

/// `offset + len`, or an error where that lies beyond `found` elements.
pub(crate) fn range_end(
    op: &'static str,
    what: &'static str,
    offset: usize,
    len: usize,
    found: usize,
) -> Result<usize> {
    let end = offset.saturating_add(len);
    if end > found { Err(Error::Length { op, what, found, expected: end }) } else { Ok(end) }
}
