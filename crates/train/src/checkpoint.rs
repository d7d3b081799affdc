//! Checkpoints: all that a run needs to go on bit for bit, in a folder that appears whole or not at all .
//!
//! The folder is a Hugging Face model folder with optimizer state, recipe state and a manifest beside it.

mod folder;
mod load;
mod manifest;
mod save;

pub use folder::{LatestCheckpoint, latest_good, list_checkpoints, prune_checkpoints};
pub use load::{LoadedCheckpoint, load_checkpoint};
pub use manifest::{FORMAT_VERSION, Manifest, ManifestFile, VerifiedCheckpoint, verify_checkpoint};
pub use save::{SaveRequest, save_checkpoint};
