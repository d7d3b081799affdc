//! The update of the policy: gradient accumulation, clipping, AdamW, and checkpoints that a run resumes from.
//!
//! Stands above `model`, beside `engine` (they never import each other), below `node`.

mod batch;
mod checkpoint;
mod error;
mod fault;
mod optimizer;
mod options;
mod trainer;

pub use batch::{TrainBatch, TrainRow};
pub use checkpoint::{
    FORMAT_VERSION, LatestCheckpoint, LoadedCheckpoint, Manifest, ManifestFile, SaveRequest, VerifiedCheckpoint,
    latest_good, list_checkpoints, load_checkpoint, prune_checkpoints, save_checkpoint, verify_checkpoint,
};
pub use error::{Error, Result};
pub use fault::PlantedFault;
pub use gradus_tensor::OnExisting;
pub use optimizer::optimizer_bytes;
pub use options::{SkipReason, StepMetrics, StepOptions};
pub use trainer::{Trainer, TrainerMemory};
