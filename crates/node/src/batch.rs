//! The JavaScript handle of a batch: what the SDK's `RolloutBatch` and `TrainingBatch` hold.

use crate::batch_data::{BatchData, Rollout};
use crate::fault::{Fault, Result};
use crate::outputs::NativeRollout;
use napi_derive::napi;
use std::sync::Arc;

/// Tokens of rollouts or of given sequences; they never leave Rust.
#[napi]
pub struct NativeBatch {
    data: Option<Arc<BatchData>>,
}

impl NativeBatch {
    pub fn new(data: BatchData) -> Self {
        Self { data: Some(Arc::new(data)) }
    }

    pub fn data(&self) -> Result<Arc<BatchData>> {
        self.data.clone().ok_or_else(|| Fault::new("closed", "the batch is closed; make a new one"))
    }
}

#[napi]
impl NativeBatch {
    /// Tokens of all sequences, prompts included.
    #[napi(getter, catch_unwind)]
    pub fn tokens(&self) -> napi::Result<u32> {
        Ok(self.data()?.tokens.tokens.len() as u32)
    }

    /// Tokens that may carry loss: response tokens, or those with a loss mask.
    #[napi(getter, catch_unwind)]
    pub fn targets(&self) -> napi::Result<u32> {
        Ok(self.data()?.targets.len() as u32)
    }

    /// The rollouts in order; empty for given sequences.
    #[napi(catch_unwind)]
    pub fn rollouts(&self) -> napi::Result<Vec<NativeRollout>> {
        let data = self.data()?;
        let Some(columns) = &data.rollouts else { return Ok(Vec::new()) };
        let mut start = 0;
        let describe = |rollout: &Rollout| {
            let range = start..start + rollout.length;
            start = range.end;
            NativeRollout {
                prompt_index: rollout.prompt_index as u32,
                rollout_index: rollout.index as u32,
                prompt_length: rollout.prompt_length as u32,
                text: rollout.text.clone(),
                length: rollout.length as u32,
                finish_reason: rollout.finish_reason.to_string(),
                entropy: mean(&columns.entropies[range.clone()]),
                entropy_raw: mean(&columns.entropies_raw[range]),
            }
        };
        Ok(columns.rollouts.iter().map(describe).collect())
    }

    /// Frees the tokens; every later use is refused.
    #[napi(catch_unwind)]
    pub fn close(&mut self) {
        self.data = None;
    }
}

fn mean(numbers: &[f32]) -> f64 {
    numbers.iter().map(|&number| f64::from(number)).sum::<f64>() / numbers.len().max(1) as f64
}
