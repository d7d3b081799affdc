//! Time on the device by events, for benchmarks: the host's clock would count its own calls, too.

use crate::CudaBackend;
use crate::device::Call;
use gradus_ops::Result;

impl CudaBackend {
    /// Milliseconds that the device took for what `work` enqueued. Waits for it.
    ///
    /// Each call makes two events, which live as long as the driver.
    pub fn elapsed_ms(&self, work: impl FnOnce() -> Result<()>) -> Result<f32> {
        let device = &self.device;
        let call = || Call { op: "elapsed_ms", shape: format_args!("[]") };
        let start = device.check(call(), device.driver.create_event())?;
        let end = device.check(call(), device.driver.create_event())?;
        device.check(call(), device.driver.record(start, device.stream))?;
        work()?;
        device.check(call(), device.driver.record(end, device.stream))?;
        device.check(call(), device.driver.synchronize(device.stream))?;
        device.check(call(), device.driver.elapsed_ms(start, end))
    }
}
