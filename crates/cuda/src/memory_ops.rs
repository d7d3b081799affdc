//! The addition of two buffers, and pages of keys and values copied.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::{Call, Grid};
use crate::kernels::{ADD_F32, AddParams};
use gradus_ops::{DeviceMemory, Error, KvPageShape, Result};

/// y[..len] += x[..len]
pub(crate) fn add(backend: &CudaBackend, y: &mut Buffer, x: &Buffer, len: usize) -> Result<()> {
    const OP: &str = "add";
    let params = AddParams { y: y.f32_mut(OP, "y", len)?, x: x.f32(OP, "x", len)?, elements: len as u64 };
    let call = Call { op: OP, shape: format_args!("[{len}]") };
    let grid = Grid::blocks(len.div_ceil(ADD_F32.threads as usize));
    // SAFETY: both lengths were checked.
    unsafe { backend.launch(call, &ADD_F32, grid, &params) }
}

/// Copies page `from` to page `to`: a page is one stretch of memory in both.
pub(crate) fn kv_copy_page(
    shape: KvPageShape,
    from: usize,
    to: usize,
    k_pages: &mut Buffer,
    v_pages: &mut Buffer,
) -> Result<()> {
    const OP: &str = "kv_copy_page";
    if from >= shape.pages || to >= shape.pages {
        let reason = format!("page {from} to page {to}: there are {} pages", shape.pages);
        return Err(Error::Invalid { op: OP, reason });
    }
    if from == to {
        return Ok(());
    }
    let page = KvPageShape { pages: 1, ..shape }.elements();
    k_pages.copy_within(OP, "k_pages", [from * page, to * page], page)?;
    v_pages.copy_within(OP, "v_pages", [from * page, to * page], page)
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
