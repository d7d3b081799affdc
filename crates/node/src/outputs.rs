//! What JavaScript gets back: plain objects and typed arrays, made on the engine thread's results.

use napi::bindgen_prelude::{Float32Array, Uint32Array};
use napi_derive::napi;

/// One response.
#[napi(object)]
pub struct NativeCompletion {
    pub text: String,
    pub tokens: Uint32Array,
    /// log softmax(logits / T) of each token.
    pub logprobs: Float32Array,
    #[napi(ts_type = "'stop' | 'length' | 'abort'")]
    pub finish_reason: String,
}

/// One rollout of a batch; its tokens stay in the engine.
#[napi(object)]
pub struct NativeRollout {
    pub prompt_index: u32,
    pub rollout_index: u32,
    pub prompt_length: u32,
    pub text: String,
    /// Response tokens.
    pub length: u32,
    #[napi(ts_type = "'stop' | 'length'")]
    pub finish_reason: String,
    /// Mean entropy of its tokens at the sampling temperature, in nats.
    pub entropy: f64,
    /// The same at temperature 1.
    pub entropy_raw: f64,
}

/// Logprob and entropy of every token but the first of each sequence, one sequence after the other.
#[napi(object)]
pub struct NativeScores {
    pub logprobs: Float32Array,
    pub entropies: Float32Array,
}

/// What one update did.
#[napi(object)]
pub struct NativeStepMetrics {
    pub loss: f64,
    pub grad_norm: f64,
    pub entropy: f64,
    pub logprob_abs_diff_max: f64,
    pub tokens: f64,
    pub trained_tokens: f64,
    pub skipped: Option<String>,
    pub seconds: f64,
}

/// A response's new text.
#[napi(object)]
pub struct NativePiece {
    /// prompt · n + response.
    pub index: u32,
    pub text: String,
}

/// A response that has ended while others of its call may still grow.
#[napi(object)]
pub struct NativeEnded {
    /// prompt · n + response.
    pub index: u32,
    pub text: String,
    /// Response tokens.
    pub length: u32,
    #[napi(ts_type = "'stop' | 'length'")]
    pub finish_reason: String,
}

/// What one scheduler step did for one running call.
#[napi(object)]
pub struct NativeEvent {
    pub call: u32,
    /// Response tokens so far.
    pub tokens: u32,
    /// Responses that have ended, of `total`.
    pub finished: u32,
    pub total: u32,
    pub pieces: Vec<NativePiece>,
    /// Responses that ended in this step.
    pub ended: Vec<NativeEnded>,
}

/// The policy's fixed facts.
#[napi(object)]
#[derive(Clone)]
pub struct NativePolicyInfo {
    pub architecture: String,
    pub parameters: f64,
    pub vocab_size: u32,
    pub max_positions: u32,
    pub eos_token_ids: Vec<u32>,
    pub has_tokenizer: bool,
    pub device: String,
    pub level: String,
    #[napi(ts_type = "'f32' | 'bf16' | 'q8_0'")]
    pub dtype: String,
    pub threads: u32,
    /// Most bytes that KV pages take.
    pub kv_bytes_max: f64,
    /// The config.json, as text.
    pub config: String,
}

/// Bytes held by class, as of now.
#[napi(object)]
pub struct NativeMemory {
    pub weights: f64,
    pub gradients: f64,
    pub optimizer: f64,
    pub activations: f64,
    pub kv_pages: f64,
    /// What ops keep for themselves from call to call.
    pub scratch: f64,
    /// Memory that KV pages and a training pass use in turn, as far as neither does now.
    pub idle: f64,
    /// Most bytes of `activations` in a training pass; absent before the first step.
    pub activations_max: Option<f64>,
    /// Layers that compute gate and up again in the backward, to stay below that.
    pub gate_up_recomputed: u32,
    /// Layers that compute everything again.
    pub layers_recomputed: u32,
}

/// Bytes that a stage will take, by class, before its first step.
#[napi(object)]
pub struct NativeMemoryPlan {
    pub weights: f64,
    pub gradients: f64,
    pub optimizer: f64,
    pub activations: f64,
    /// Of generation; gradients and activations of a step have the same memory in turn with them.
    pub kv_pages: f64,
    /// Of generation's steps and of ops, as far as they are known before.
    pub scratch: f64,
    /// At the moment that takes most.
    pub total: f64,
    /// Most bytes of `activations`: decided now, where it was not given.
    pub activations_max: f64,
    pub gate_up_recomputed: u32,
    pub layers_recomputed: u32,
}

/// Where a resumed policy came from.
#[napi(object)]
#[derive(Clone)]
pub struct NativeResumed {
    pub folder: String,
    pub step: f64,
    /// The recipe's state as JSON.
    pub recipe_state: String,
    pub config_hash: Option<String>,
    /// One line for each damaged checkpoint that was set aside and each reason why bits may differ from the unbroken run.
    pub warnings: Vec<String>,
}

/// The newest checkpoint of a run that is whole.
#[napi(object)]
pub struct NativeLatestCheckpoint {
    pub folder: Option<String>,
    pub step: Option<f64>,
    /// One line for each damaged checkpoint that was set aside.
    pub warnings: Vec<String>,
}
