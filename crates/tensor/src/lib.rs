//! Host memory and shape, no maths: element types and the safetensors format, read and written.
//!
//! Stands at the very bottom of the engine: weights enter and leave a process through this crate.

mod dtype;
mod error;

pub use dtype::{DType, Element};
pub use error::{Error, Result};
