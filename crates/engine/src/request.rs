//! What a caller asks the engine for.

use crate::SamplingOptions;
use gradus_ops::Backend;

/// One response to one prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Chosen by the caller; unique among the requests that have not ended.
    pub id: u64,
    pub prompt: Vec<u32>,
    /// Most tokens of the response.
    pub max_tokens: usize,
    /// 0 takes the most probable token.
    pub temperature: f64,
    pub sampling: SamplingOptions,
    /// Philox key: the seed.
    pub key: u64,
    /// Philox stream, from [`gradus_model::stream`].
    pub stream: u64,
    /// Tokens that end the response; they belong to it.
    pub stop_tokens: Vec<u32>,
    /// Requests of one group with the same prompt share the pages of the prompt.
    pub group: Option<u64>,
}

/// Sizes of an engine; they never change a sampled token or a logprob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// KV pages of [`gradus_ops::PAGE_TOKENS`] tokens.
    pub pages: usize,
    /// Most prompt tokens of one sequence in one step.
    pub prefill_chunk: usize,
    /// Most tokens, and so most sequences, in one step.
    pub max_batch_tokens: usize,
}

impl EngineOptions {
    /// Steps as large as the device likes them, which one prompt may fill.
    pub fn of<B: Backend>(backend: &B, pages: usize) -> Self {
        Self { pages, prefill_chunk: backend.step_tokens(), max_batch_tokens: backend.step_tokens() }
    }
}

/// The smallest temperature above 0: below it logits of a sound policy could overflow when they are divided.
pub const TEMPERATURE_MIN: f64 = 1e-4;

/// Whether tokens can be drawn, or scored, at this temperature.
pub fn is_temperature(temperature: f64) -> bool {
    temperature == 0.0 || (TEMPERATURE_MIN..=1e30).contains(&temperature)
}

/// 1/T as the numerics contract has it: divided in f64, rounded once. T = 0 is greedy, whose logprobs are those of T = 1.
pub fn inverse_temperature(temperature: f64) -> f32 {
    if temperature == 0.0 { 1.0 } else { (1.0 / temperature) as f32 }
}
