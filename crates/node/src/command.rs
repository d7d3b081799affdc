//! What the JavaScript side asks of the engine thread: one variant a call, each with the way back.

use crate::batch_data::BatchData;
use crate::inputs::{Prompt, Sampling};
use crate::memory::StageShape;
use crate::outputs::{NativeMemory, NativeMemoryPlan};
use crate::record::Record;
use crate::reply::Reply;
use crate::response::Response;
use gradus_model::{Score, TokenBatch};
use gradus_train::{StepMetrics, StepOptions};
use std::path::PathBuf;
use std::sync::Arc;

pub enum Command {
    Generate {
        prompts: Vec<Prompt>,
        sampling: Sampling,
        reply: Reply<Vec<Response>>,
    },
    Rollout {
        prompts: Vec<Prompt>,
        sampling: Sampling,
        reply: Reply<BatchData>,
    },
    /// Ends a running `Generate` or `Rollout` by its call number.
    Cancel(u32),
    Step {
        batch: Arc<BatchData>,
        weights: Vec<f32>,
        options: StepOptions,
        reply: Reply<StepMetrics>,
    },
    /// A score for every token but the first of each sequence.
    Score {
        batch: TokenBatch,
        inv_t: f32,
        reply: Reply<Vec<Score>>,
    },
    Record {
        record: Box<Record>,
        reply: Reply<()>,
    },
    Checkpoint {
        request: CheckpointRequest,
        reply: Reply<PathBuf>,
    },
    Save {
        folder: PathBuf,
        reply: Reply<()>,
    },
    Memory(Reply<NativeMemory>),
    PlanMemory {
        stage: StageShape,
        reply: Reply<NativeMemoryPlan>,
    },
    Plant {
        fault: Plant,
        reply: Reply<()>,
    },
    Close(Reply<()>),
}

/// Where a checkpoint goes and what lies in it beside the policy.
pub struct CheckpointRequest {
    pub folder: PathBuf,
    pub step: u64,
    pub recipe_json: String,
    pub commit: Option<String>,
    pub config_hash: Option<String>,
    /// Replaces a checkpoint of the same step: a resumed run redoes steps.
    pub replace: bool,
}

/// Test hooks: faults that tests put in on purpose to see the alarm ring.
pub enum Plant {
    /// The engine thread panics.
    Panic,
    /// The trainer's weights differ from the sampler's in one bit.
    WeightUlp,
    /// The sampler's 1/T differs from the trainer's in one bit.
    InverseTemperatureUlp,
}
