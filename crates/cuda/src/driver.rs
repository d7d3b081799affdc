//! What the backend asks of a device: memory, copies, launches and events. [`crate::CudaDriver`] asks a GPU, [`crate::SimDriver`]
//! the simulator; the backend above knows only this trait, so that the very same code runs on both.

use std::fmt;

/// A place in device memory; 0 is none. Laid out as a pointer in a kernel's parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Address(pub(crate) u64);

impl Address {
    /// Of a parameter that is not there: a null pointer.
    pub const NONE: Address = Address(0);

    pub(crate) fn offset(self, bytes: usize) -> Address {
        Address(self.0 + bytes as u64)
    }
}

/// A queue of work: what is put into one runs in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream(pub(crate) u64);

/// A mark in a stream, to measure from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event(pub(crate) u64);

/// One kernel to run. The bytes of `params` are its one parameter struct.
pub struct Launch<'a> {
    pub kernel: &'static str,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    pub params: &'a [u8],
}

/// What does not change while the device is open.
#[derive(Clone, Debug)]
pub struct DeviceProperties {
    /// As its maker calls it.
    pub name: String,
    /// (major, minor): (8, 0) is an A100, (9, 0) an H100 or H200.
    pub compute_capability: (u32, u32),
    pub multiprocessors: u32,
    /// Dynamic shared memory that a block can ask for.
    pub shared_bytes_max: u32,
    /// Of the newest CUDA that the driver knows: 13000 is 13.0.
    pub driver_version: u32,
}

/// A status of the driver that is not success.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("out of memory")]
    OutOfMemory,
    #[error("{0}")]
    Failed(String),
}

impl DriverError {
    pub(crate) fn failed(message: impl fmt::Display) -> DriverError {
        DriverError::Failed(message.to_string())
    }
}

pub type Status<T> = Result<T, DriverError>;

/// A device. Calls that take a stream enqueue and return; only `read`, `synchronize` and `elapsed_ms` wait.
///
/// A status may be that of work enqueued before, as the driver of a GPU has it.
pub trait Driver: Send + Sync {
    /// "cuda" or "cuda-sim".
    fn kind(&self) -> &'static str;
    fn properties(&self) -> &DeviceProperties;
    /// Free and total bytes of the device's own memory; None where it lies in the host's.
    fn memory(&self) -> Status<Option<(u64, u64)>>;
    /// The driver's one stream.
    fn stream(&self) -> Stream;

    /// At least `bytes` (not 0) of memory with any content, aligned to 256 bytes.
    fn alloc(&self, bytes: usize) -> Status<Address>;
    /// # Safety
    /// `address` came from `alloc` of this driver, is freed once, and no later work uses it.
    unsafe fn free(&self, address: Address) -> Status<()>;
    /// # Safety
    /// `src.len()` bytes from `dst` lie in one live allocation of this driver.
    unsafe fn write(&self, stream: Stream, dst: Address, src: &[u8]) -> Status<()>;
    /// # Safety
    /// `dst.len()` bytes from `src` lie in one live allocation of this driver.
    unsafe fn read(&self, stream: Stream, src: Address, dst: &mut [u8]) -> Status<()>;
    /// # Safety
    /// `bytes` bytes from either lie in one live allocation of this driver, and do not overlap.
    unsafe fn copy(&self, stream: Stream, dst: Address, src: Address, bytes: usize) -> Status<()>;
    /// Sets each of `bytes` bytes to `value`.
    /// # Safety
    /// `bytes` bytes from `dst` lie in one live allocation of this driver.
    unsafe fn fill(&self, stream: Stream, dst: Address, value: u8, bytes: usize) -> Status<()>;
    /// # Safety
    /// `launch.params` is the kernel's parameter struct, and all that it lets the kernel touch lies in live allocations of this driver.
    unsafe fn launch(&self, stream: Stream, launch: &Launch<'_>) -> Status<()>;
    /// Waits for all work of the stream.
    fn synchronize(&self, stream: Stream) -> Status<()>;

    /// An event that measures time. It lives as long as the driver.
    fn create_event(&self) -> Status<Event>;
    /// Marks the end of what is in the stream now.
    fn record(&self, event: Event, stream: Stream) -> Status<()>;
    /// Milliseconds between two marks, once the later one is reached.
    fn elapsed_ms(&self, start: Event, end: Event) -> Status<f32>;
}
