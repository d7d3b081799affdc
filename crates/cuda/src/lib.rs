//! The CUDA backend: every op of `gradus_ops::Backend` as launches of the kernels under kernels/, on a GPU or on the simulator.
//!
//! `model` runs on it; nothing above `crates/node` names it. The driver (`driver`, with `cuda_driver` and `sim_driver`) knows bytes and
//! launches, the ops know shapes. A policy here is bf16: activations, keys, values and weights in bf16, gradients and sums in f32.
//!
//! # To add an op
//!
//! 1. kernels/<family>/<family>.h: the parameter struct with its `static_assert`, and a row in the family's table; the kernel in a `.cu`.
//! 2. `kernels.rs`: the struct in `params!` with the same size, and its row in `kernels!`.
//! 3. A file for the family, one function an op: take addresses from the buffers (each checks dtype and length in the op's name), then
//!    launch. `swiglu.rs` is the pattern:
//!    ```text
//!    let params = Params { x: x.bf16(OP, "x", rows * dim)?, y: y.f32_mut(OP, "y", rows * dim)?, rows: rows as u32, dim: dim as u32 };
//!    let call = Call { op: OP, shape: format_args!("[rows {rows}, dim {dim}]") };
//!    // SAFETY: both lengths were checked.
//!    unsafe { backend.launch(call, &KERNEL, [rows as u32, 1, 1], &params) }
//!    ```
//! 4. `backend.rs`: the op's line calls it.
//! 5. tests/: the op on the simulator against the CPU backend, at odd sizes.

mod attention;
mod backend;
mod buffer;
mod cache;
mod cuda_driver;
mod device;
mod driver;
mod embedding;
mod kernels;
mod layout;
mod matmul;
mod memory;
mod memory_ops;
mod norm;
mod optimizer;
mod optimizer_state;
mod pack;
mod region;
mod rope;
mod sample;
mod scratch;
mod sim_driver;
mod softmax;
mod split_sums;
mod swiglu;
mod timing;
mod transfers;
mod weight;

pub use buffer::Buffer;
pub use cuda_driver::{CudaDriver, Unavailable, gpu_properties};
pub use driver::{Address, DeviceProperties, Driver, DriverError, Event, Launch, Status, Stream};
pub use optimizer_state::OptimizerState;
pub use pack::{KernelPack, Module, PACK_VARIABLE, PackError};
pub use region::Region;
pub use sim_driver::{SIM_VARIABLE, SimDriver, SimKernel, SimUnavailable};
pub use split_sums::Tile;
pub use weight::Weight;

use device::{Call, Device};
use gradus_ops::Result;
use kernels::Kernel;
use scratch::Scratch;
use std::sync::{Arc, Mutex};

/// A GPU, or the simulator, as a device of the engine.
pub struct CudaBackend {
    pub(crate) device: Arc<Device>,
    level: String,
    /// Held by one op at a time: they run one after another anyway.
    pub(crate) scratch: Mutex<Scratch>,
}

impl CudaBackend {
    /// A backend on an open driver.
    pub fn new(driver: impl Driver + 'static) -> CudaBackend {
        let properties = driver.properties();
        let (major, minor) = properties.compute_capability;
        let level = format!("sm_{major}{minor} {}", properties.name);
        let stream = driver.stream();
        CudaBackend { device: Arc::new(Device { driver: Box::new(driver), stream }), level, scratch: Mutex::default() }
    }

    /// # Safety
    /// As of [`Device::launch`].
    pub(crate) unsafe fn launch<P: bytemuck::NoUninit>(
        &self,
        call: Call<'_>,
        kernel: &Kernel<P>,
        blocks: [u32; 3],
        params: &P,
    ) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.device.launch(call, kernel, blocks, params) }
    }
}
