//! Host memory and shape, no maths: element types and the safetensors format, read and written.
//!
//! Stands at the very bottom of the engine: weights enter and leave a process through this crate.

mod dtype;
mod durable;
mod error;
mod read;
mod staged_folder;
mod write;

pub use dtype::{DType, Element};
pub use durable::{DurableFile, free_bytes, sync_folder, write_file};
pub use error::{Error, Result};
pub use read::Checkpoint;
pub use staged_folder::{OnExisting, StagedFolder, put_back_folder, recover_folders, remove_folder};
pub use write::{SafetensorsWriter, TensorSpec, file_bytes};
