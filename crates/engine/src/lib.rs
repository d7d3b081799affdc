//! Inference: requests -> sampled tokens, by continuous batching over a paged KV cache.
//!
//! Stands above `model`, whose paged forward it drives, and below `node`. [`Scheduler`] and [`PageAllocator`] are plain state machines:
//! they decide what a step computes and where it is kept, and know nothing of weights. [`Engine`] runs their plans.

mod engine;
mod error;
mod fault;
mod pages;
mod plan;
mod prefix;
mod request;
mod sampling;
mod scheduler;
mod sequence;
#[cfg(test)]
mod simulation;

pub use engine::{Engine, TokenEvent};
pub use error::{Error, Result};
pub use fault::PlantedFault;
pub use pages::{PageAllocator, pages_needed};
pub use plan::{SampleSlot, StepPlan};
pub use request::{EngineOptions, Request, TEMPERATURE_MIN, inverse_temperature, is_temperature};
pub use sampling::SamplingOptions;
pub use scheduler::Scheduler;
pub use sequence::{Finish, Progress, SequenceRequest};
