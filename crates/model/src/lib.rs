//! The policy network: config, weights under Hugging Face names, packed token batches, forward, backward and paged
//! inference.
//!
//! Stands above the op list (`ops`) and below `engine` and `train`, which meet here: one copy of the weights, one
//! forward. Written once over the trait [`gradus_ops::Backend`]; every path calls the same ops in the same order, so
//! equal tokens give equal bits.

mod activations;
mod allocation;
mod backward;
mod batch;
mod block;
mod config;
mod config_fields;
mod error;
mod forward;
mod head;
mod init;
mod layout;
mod loss;
mod mlp;
mod model;
mod paged;
mod paged_workspace;
mod parameters;
mod pass_plan;
mod rope;
mod sample;
mod shared_memory;
mod stream;
mod workspace;

pub use activations::Recompute;
pub use batch::TokenBatch;
pub use config::{Architecture, ModelConfig};
pub use error::{Error, Result};
pub use head::{Score, ScoreRow};
pub use layout::{HfTensor, ParameterKind};
pub use loss::{LossRow, LossSums};
pub use model::Model;
pub use paged::{KvCache, PagedInputs};
pub use paged_workspace::PagedWorkspace;
pub use parameters::{Parameter, Parameters};
pub use pass_plan::PassPlan;
pub use rope::RopeScaling;
pub use sample::{LogitAdjustment, SampleLimits, SampleRow, Sampled};
pub use stream::stream;
pub use workspace::TrainingWorkspace;
