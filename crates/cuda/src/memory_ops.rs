//! The addition of two buffers, and what concerns the device as a whole.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Call;
use crate::kernels::{ADD_F32, AddParams};
use gradus_ops::{DeviceMemory, Result};

/// y[..len] += x[..len]
pub(crate) fn add(backend: &CudaBackend, y: &mut Buffer, x: &Buffer, len: usize) -> Result<()> {
    const OP: &str = "add";
    let params = AddParams { y: y.f32_mut(OP, "y", len)?, x: x.f32(OP, "x", len)?, elements: len as u64 };
    let call = Call { op: OP, shape: format_args!("[{len}]") };
    let blocks = len.div_ceil(ADD_F32.threads as usize) as u32;
    // SAFETY: both lengths were checked.
    unsafe { backend.launch(call, &ADD_F32, [blocks, 1, 1], &params) }
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
