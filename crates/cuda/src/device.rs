//! A driver with its stream, shared by the backend and by all memory taken of it; statuses become errors of the op here.

use crate::driver::{Driver, DriverError, Launch, Status, Stream};
use crate::kernels::Kernel;
use gradus_ops::{Error, Result};
use std::fmt;

/// An open device.
pub(crate) struct Device {
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) stream: Stream,
}

/// An op with the shape that it was called with: what an error of the device names.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub op: &'static str,
    pub shape: fmt::Arguments<'a>,
}

impl Device {
    /// A status of the driver as the result of an op.
    pub(crate) fn check<T>(&self, call: Call<'_>, status: Status<T>) -> Result<T> {
        status.map_err(|error| self.error(call, &error))
    }

    fn error(&self, call: Call<'_>, error: &DriverError) -> Error {
        Error::Device {
            op: call.op,
            shape: call.shape.to_string(),
            device: format!("{} ({})", self.driver.kind(), self.driver.properties().name),
            reason: error.to_string(),
        }
    }

    /// Enqueues a kernel. No blocks are no work.
    ///
    /// # Safety
    /// Every address in `params` is of live memory of this device, as long as the kernel reads and writes it with these numbers.
    pub(crate) unsafe fn launch<P: bytemuck::NoUninit>(
        &self,
        call: Call<'_>,
        kernel: &Kernel<P>,
        blocks: [u32; 3],
        params: &P,
    ) -> Result<()> {
        if blocks.contains(&0) {
            return Ok(());
        }
        let launch = Launch {
            kernel: kernel.name,
            grid: blocks,
            block: [kernel.threads, 1, 1],
            shared_bytes: kernel.shared_bytes,
            params: bytemuck::bytes_of(params),
        };
        // SAFETY: the parameter struct is the kernel's own by its type, and the addresses are the caller's promise.
        self.check(call, unsafe { self.driver.launch(self.stream, &launch) })
    }
}
