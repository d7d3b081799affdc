//! Zeroed device memory: what buffers and weights stand on. Every copy is checked against its end, so that the driver sees live ranges alone.
//!
//! Each is an allocation of its own: nothing is allocated in a step, a GPU's driver packs small ones, and the simulator finds every access
//! past the end of one.

use crate::device::{Call, Device};
use crate::driver::{Address, DriverError};
use crate::region::Lease;
use gradus_ops::{Error, Result};
use std::sync::Arc;

/// `bytes` bytes of a device; none where `bytes` is 0.
pub(crate) struct Memory {
    device: Arc<Device>,
    address: Address,
    bytes: usize,
    /// Whether the allocation is its own, and not a region's.
    is_own: bool,
    /// Set on what a region counts. Goes last, when the memory itself is gone.
    lease: Option<Lease>,
}

impl Memory {
    /// No bytes.
    pub(crate) fn none(device: &Arc<Device>) -> Memory {
        Memory { device: Arc::clone(device), address: Address::NONE, bytes: 0, is_own: false, lease: None }
    }

    /// Part of a region, as long as the lease lives.
    pub(crate) fn lent(device: &Arc<Device>, address: Address, bytes: usize, lease: Lease) -> Memory {
        Memory { device: Arc::clone(device), address, bytes, is_own: false, lease: Some(lease) }
    }

    /// The same, counted by a region that has no room for it.
    pub(crate) fn counted(self, lease: Lease) -> Memory {
        let mut memory = self;
        memory.lease = Some(lease);
        memory
    }

    /// Leaves no bytes.
    pub(crate) fn give_back(&mut self) {
        *self = Memory::none(&self.device);
    }

    pub(crate) fn zeroed(device: &Arc<Device>, len: usize, element_bytes: usize) -> Result<Memory> {
        let out_of_memory = |bytes| Error::OutOfMemory { bytes, device: device.driver.kind() };
        let bytes = len.checked_mul(element_bytes).ok_or(out_of_memory(usize::MAX))?;
        let device = Arc::clone(device);
        if bytes == 0 {
            return Ok(Memory::none(&device));
        }
        let address = match device.driver.alloc(bytes) {
            Err(DriverError::OutOfMemory) => return Err(out_of_memory(bytes)),
            status => device.check(Call { op: "alloc", shape: format_args!("[{bytes} bytes]") }, status)?,
        };
        let mut memory = Memory { device, address, bytes, is_own: true, lease: None };
        memory.zero("alloc", 0, bytes)?;
        Ok(memory)
    }

    pub(crate) fn address(&self) -> Address {
        self.address
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn write(&mut self, op: &'static str, offset: usize, src: &[u8]) -> Result<()> {
        let Some(at) = self.range(offset, src.len()) else { return Ok(()) };
        let device = &self.device;
        // SAFETY: the range lies in this allocation.
        let status = unsafe { device.driver.write(device.stream, at, src) };
        device.check(Call { op, shape: format_args!("[{} bytes]", src.len()) }, status)
    }

    /// Waits for all work before it.
    pub(crate) fn read(&self, op: &'static str, offset: usize, dst: &mut [u8]) -> Result<()> {
        let Some(at) = self.range(offset, dst.len()) else { return Ok(()) };
        let device = &self.device;
        let shape = dst.len();
        // SAFETY: the range lies in this allocation.
        let status = unsafe { device.driver.read(device.stream, at, dst) };
        device.check(Call { op, shape: format_args!("[{shape} bytes]") }, status)
    }

    pub(crate) fn zero(&mut self, op: &'static str, offset: usize, bytes: usize) -> Result<()> {
        let Some(at) = self.range(offset, bytes) else { return Ok(()) };
        let device = &self.device;
        // SAFETY: the range lies in this allocation.
        let status = unsafe { device.driver.fill(device.stream, at, 0, bytes) };
        device.check(Call { op, shape: format_args!("[{bytes} bytes]") }, status)
    }

    /// Copies within the allocation; the ranges do not overlap.
    pub(crate) fn copy_within(&mut self, op: &'static str, from: usize, to: usize, bytes: usize) -> Result<()> {
        let (Some(src), Some(dst)) = (self.range(from, bytes), self.range(to, bytes)) else { return Ok(()) };
        assert!(from + bytes <= to || to + bytes <= from, "{op}: ranges from {from} and {to} of {bytes} bytes overlap");
        let device = &self.device;
        // SAFETY: both ranges lie in this allocation, and do not overlap.
        let status = unsafe { device.driver.copy(device.stream, dst, src, bytes) };
        device.check(Call { op, shape: format_args!("[{bytes} bytes]") }, status)
    }

    /// The address of a range; None where it is empty. Callers have checked lengths with errors of their own.
    fn range(&self, offset: usize, bytes: usize) -> Option<Address> {
        let end = offset.saturating_add(bytes);
        assert!(end <= self.bytes, "bytes {offset}..{end} of {}", self.bytes);
        (bytes > 0).then(|| self.address.offset(offset))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.is_own {
            // SAFETY: allocated by this driver, freed once; a GPU's driver waits for work that uses it.
            // A failure here is that of earlier work, which every later call reports, too.
            let _ = unsafe { self.device.driver.free(self.address) };
        }
    }
}
