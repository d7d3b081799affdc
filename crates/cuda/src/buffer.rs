//! Device memory of one dtype, and the checks that every op makes of its arguments.

use crate::device::Device;
use crate::driver::Address;
use crate::memory::Memory;
use gradus_ops::{Error, Result};
use gradus_tensor::{DType, Element};
use std::sync::Arc;

/// Memory of `len` elements of one dtype.
pub struct Buffer {
    dtype: DType,
    len: usize,
    pub(crate) memory: Memory,
}

impl Buffer {
    pub(crate) fn zeroed(device: &Arc<Device>, dtype: DType, len: usize) -> Result<Buffer> {
        Ok(Buffer { dtype, len, memory: Memory::zeroed(device, len, dtype.bytes())? })
    }

    /// Without memory, until a region gives it some.
    pub(crate) fn unbacked(device: &Arc<Device>, dtype: DType, len: usize) -> Result<Buffer> {
        if len.checked_mul(dtype.bytes()).is_none() {
            return Err(Error::OutOfMemory { bytes: usize::MAX, device: device.driver.kind() });
        }
        Ok(Buffer { dtype, len, memory: Memory::none(device) })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where at least `len` elements of `dtype` lie; an error names `op` and `what` where the buffer is shorter or of another dtype.
    pub(crate) fn address(&self, op: &'static str, what: &'static str, dtype: DType, len: usize) -> Result<Address> {
        if self.dtype != dtype {
            return Err(Error::DType { op, what, found: self.dtype.name(), expected: dtype.name() });
        }
        if self.len < len {
            return Err(Error::Length { op, what, found: self.len, expected: len });
        }
        self.require_memory(op, what)?;
        Ok(self.memory.address())
    }

    fn require_memory(&self, op: &'static str, what: &'static str) -> Result<()> {
        if self.memory.bytes() < self.len * self.dtype.bytes() {
            return Err(Error::Invalid { op, reason: format!("{what} has given its memory back") });
        }
        Ok(())
    }

    /// As [`Buffer::address`], for an output: it borrows the buffer as one.
    pub(crate) fn address_mut(
        &mut self,
        op: &'static str,
        what: &'static str,
        dtype: DType,
        len: usize,
    ) -> Result<Address> {
        self.address(op, what, dtype, len)
    }

    pub(crate) fn f32(&self, op: &'static str, what: &'static str, len: usize) -> Result<Address> {
        self.address(op, what, DType::F32, len)
    }

    pub(crate) fn f32_mut(&mut self, op: &'static str, what: &'static str, len: usize) -> Result<Address> {
        self.address(op, what, DType::F32, len)
    }

    pub(crate) fn bf16(&self, op: &'static str, what: &'static str, len: usize) -> Result<Address> {
        self.address(op, what, DType::BF16, len)
    }

    pub(crate) fn bf16_mut(&mut self, op: &'static str, what: &'static str, len: usize) -> Result<Address> {
        self.address(op, what, DType::BF16, len)
    }

    pub(crate) fn u32(&self, op: &'static str, what: &'static str, len: usize) -> Result<Address> {
        self.address(op, what, DType::U32, len)
    }

    pub(crate) fn u32_mut(&mut self, op: &'static str, what: &'static str, len: usize) -> Result<Address> {
        self.address(op, what, DType::U32, len)
    }

    pub(crate) fn write<T: Element>(&mut self, offset: usize, src: &[T]) -> Result<()> {
        let end = range_end("write", "dst", offset, src.len(), self.len)?;
        self.address("write", "dst", T::DTYPE, end)?;
        self.memory.write("write", offset * self.dtype.bytes(), bytemuck::cast_slice(src))
    }

    pub(crate) fn read<T: Element>(&self, offset: usize, dst: &mut [T]) -> Result<()> {
        let end = range_end("read", "src", offset, dst.len(), self.len)?;
        self.address("read", "src", T::DTYPE, end)?;
        self.memory.read("read", offset * self.dtype.bytes(), bytemuck::cast_slice_mut(dst))
    }

    /// Sets `len` elements from `offset` to zero, whatever the dtype.
    pub(crate) fn zero(&mut self, offset: usize, len: usize) -> Result<()> {
        range_end("zero", "dst", offset, len, self.len)?;
        self.require_memory("zero", "dst")?;
        let bytes = self.dtype.bytes();
        self.memory.zero("zero", offset * bytes, len * bytes)
    }

    /// Copies `len` elements at `from` to `to`; the two do not overlap.
    pub(crate) fn copy_within(
        &mut self,
        op: &'static str,
        what: &'static str,
        [from, to]: [usize; 2],
        len: usize,
    ) -> Result<()> {
        range_end(op, what, from.max(to), len, self.len)?;
        self.require_memory(op, what)?;
        let bytes = self.dtype.bytes();
        self.memory.copy_within(op, from * bytes, to * bytes, len * bytes)
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
