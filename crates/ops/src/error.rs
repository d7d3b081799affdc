//! What can go wrong in an op: a caller's mistake, a missing resource or a failing device, named with the op.

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{op}: {what} has {found} elements, expected at least {expected}")]
    Length { op: &'static str, what: &'static str, found: usize, expected: usize },
    #[error("{op}: {what} has dtype {found}, expected {expected}")]
    DType { op: &'static str, what: &'static str, found: &'static str, expected: &'static str },
    #[error("{op}: {reason}")]
    Invalid { op: &'static str, reason: String },
    /// The device's own failure: `shape` is that of the op's arguments, `reason` the driver's status.
    #[error("{op} {shape} on {device}: {reason}")]
    Device { op: &'static str, shape: String, device: String, reason: String },
    #[error("cannot allocate {bytes} bytes of {device} memory")]
    OutOfMemory { bytes: usize, device: &'static str },
}
