//! Copies from one buffer to another, and what concerns the device as a whole.

use crate::CudaBackend;
use crate::buffer::{Buffer, range_end};
use crate::device::Call;
use gradus_ops::{DeviceMemory, Result};

/// See [`gradus_ops::Backend::copy`]; each buffer comes with its offset.
pub(crate) fn copy(
    backend: &CudaBackend,
    (src, src_offset): (&Buffer, usize),
    (dst, dst_offset): (&mut Buffer, usize),
    len: usize,
) -> Result<()> {
    const OP: &str = "copy";
    let (dtype, device) = (src.dtype(), &backend.device);
    let src_end = range_end(OP, "src", src_offset, len, src.len())?;
    let dst_end = range_end(OP, "dst", dst_offset, len, dst.len())?;
    let from = src.address(OP, "src", dtype, src_end)?.offset(src_offset * dtype.bytes());
    let to = dst.address_mut(OP, "dst", dtype, dst_end)?.offset(dst_offset * dtype.bytes());
    if len == 0 {
        return Ok(());
    }
    // SAFETY: both ranges were checked; dst is another buffer than src, so they do not overlap.
    let status = unsafe { device.driver.copy(device.stream, to, from, len * dtype.bytes()) };
    device.check(Call { op: OP, shape: format_args!("[{len}]") }, status)
}

/// Bytes of a GPU's memory; None for the simulator.
pub(crate) fn device_memory(backend: &CudaBackend) -> Result<Option<DeviceMemory>> {
    let call = Call { op: "device_memory", shape: format_args!("[]") };
    let memory = backend.device.check(call, backend.device.driver.memory())?;
    Ok(memory.map(|(free, total)| DeviceMemory { free, total }))
}

/// Waits for everything that was enqueued.
pub(crate) fn synchronize(backend: &CudaBackend) -> Result<()> {
    let device = &backend.device;
    device.check(Call { op: "synchronize", shape: format_args!("[]") }, device.driver.synchronize(device.stream))
}
