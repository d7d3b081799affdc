//! The CUDA backend: every op of `gradus_ops::Backend` as launches of the kernels under kernels/, on a GPU or on the simulator.

mod driver;
mod pack;

pub use driver::{Address, DeviceProperties, Driver, DriverError, Event, Launch, Status, Stream};
pub use pack::{KernelPack, Module, PACK_VARIABLE, PackError};
