//! What JavaScript hands over: plain objects, turned here into the engine thread's own types.
//!
//! packages/sdk has checked names and ranges with zod before; what is left to refuse here are numbers that do not convert.

use crate::command::CheckpointRequest;
use crate::fault::{Fault, Result};
use gradus_engine::SamplingOptions;
use gradus_text::Message;
use gradus_train::StepOptions;
use napi::bindgen_prelude::{BigInt, Float32Array, Uint32Array};
use napi_derive::napi;
use std::path::PathBuf;

/// Where and how a policy runs.
#[napi(object)]
pub struct NativePolicyOptions {
    /// "auto", "cpu", "cuda" or "cuda-sim".
    pub device: String,
    /// "f32", "bf16" or "q8_0"; absent: that of the checkpoint which is resumed, else f32, on a GPU bf16.
    pub dtype: Option<String>,
    /// Threads of the backend; by default the physical cores that the process may use.
    pub threads: Option<u32>,
    /// Most bytes of KV pages; by default a quarter of the device's memory.
    pub kv_bytes_max: Option<f64>,
    /// Most bytes of activations in a training pass; by default half of the memory that is free at the first step.
    pub activation_bytes_max: Option<f64>,
}

/// What a stage of training will ask of the memory.
#[napi(object)]
pub struct NativeStageShape {
    /// Tokens of its longest sequence.
    pub sequence_tokens: f64,
    /// Sequences of a step.
    pub sequences: f64,
    /// Most tokens in one pass, but for a longer sequence.
    pub micro_batch_tokens: f64,
    /// Its sequences are sampled first, all of a step at once.
    pub is_sampled: bool,
}

/// One message of a conversation.
#[napi(object)]
pub struct NativeMessage {
    pub role: String,
    pub content: String,
}

/// A prompt: exactly one of the three is given.
#[napi(object)]
pub struct NativePrompt {
    pub messages: Option<Vec<NativeMessage>>,
    pub text: Option<String>,
    pub ids: Option<Uint32Array>,
    /// Names the prompt in its random stream; its token ids do when absent.
    pub id: Option<String>,
}

/// How the engine knows a call.
#[napi(object)]
#[derive(Clone, Copy)]
pub struct NativeCall {
    /// Chosen by the caller: events and `cancel` name it.
    pub number: u32,
    /// The caller's signal had ended the call before it began: it is answered without a token.
    pub cancelled: bool,
}

/// How responses are sampled, for generation and rollouts alike.
#[napi(object)]
pub struct NativeSampling {
    pub call: NativeCall,
    /// Responses for each prompt.
    pub n: u32,
    /// Most tokens of a response; absent: 512, or what the context leaves.
    pub max_tokens: Option<u32>,
    /// 0 takes the likeliest token.
    pub temperature: f64,
    /// Limits and changes of what is drawn from; absent ones do nothing. A rollout has none.
    pub top_k: Option<u32>,
    pub top_p: Option<f64>,
    pub min_p: Option<f64>,
    pub repetition_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub logit_bias: Option<Vec<NativeLogitBias>>,
    /// The run's seed: the Philox key.
    pub seed: BigInt,
    /// Words of the random stream beside the prompt and the response's index.
    pub purpose: String,
    pub stage: u32,
    pub step: u32,
    /// Strings that end a response and are not part of its text.
    pub stop: Vec<String>,
    /// Sends an event for every step; without it only for what `pieces` and `ended` ask for.
    pub progress: bool,
    /// Sends text pieces as events.
    pub pieces: bool,
    /// Sends each response as an event when it has ended.
    pub ended: bool,
}

/// Added to the logit of one token; -Infinity forbids it.
#[napi(object)]
pub struct NativeLogitBias {
    pub token: u32,
    pub bias: f64,
}

/// One update's settings.
#[napi(object)]
pub struct NativeStepOptions {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
    /// Absent: the gradient is not clipped.
    pub max_grad_norm: Option<f64>,
    /// Bounds of the ratio to the sampler's probability: 1 − low, 1 + high.
    pub ratio_clip_low: Option<f64>,
    pub ratio_clip_high: Option<f64>,
    /// Most tokens in one micro-batch.
    pub micro_batch_tokens: u32,
    /// The run's seed, by which a GPU rounds the moments that it keeps in bf16; absent: 0.
    pub seed: Option<BigInt>,
}

/// What a rollout file tells of each rollout beside its tokens.
#[napi(object)]
pub struct NativeColumns {
    /// NaN: none.
    pub scores: Float32Array,
    pub kinds: Vec<String>,
    /// What the reward said of its verdict; null: nothing.
    pub details: Vec<Option<String>>,
    pub advantages: Float32Array,
}

/// Where a checkpoint goes and what lies in it beside the policy.
#[napi(object)]
pub struct NativeCheckpoint {
    /// The run's checkpoints folder.
    pub folder: String,
    pub step: f64,
    /// The recipe's state as JSON.
    pub recipe_state: String,
    pub commit: Option<String>,
    pub config_hash: Option<String>,
    /// Replaces a checkpoint of the same step.
    pub replace: bool,
}

/// What becomes token ids on the engine thread.
pub enum Content {
    Messages(Vec<Message>),
    Text(String),
    Ids(Vec<u32>),
}

/// A prompt as the engine thread takes it.
pub struct Prompt {
    pub content: Content,
    pub id: Option<String>,
}

/// Sampling settings as the engine thread takes them.
pub struct Sampling {
    pub call: NativeCall,
    pub n: usize,
    pub max_tokens: Option<usize>,
    pub temperature: f64,
    pub options: SamplingOptions,
    pub seed: u64,
    pub purpose: String,
    pub stage: u64,
    pub step: u64,
    pub stop: Vec<String>,
    pub progress: bool,
    pub pieces: bool,
    pub ended: bool,
}

impl TryFrom<NativePrompt> for Prompt {
    type Error = Fault;

    fn try_from(prompt: NativePrompt) -> Result<Self> {
        let content = match (prompt.messages, prompt.text, prompt.ids) {
            (Some(messages), None, None) => Content::Messages(messages.into_iter().map(Message::from).collect()),
            (None, Some(text), None) => Content::Text(text),
            (None, None, Some(ids)) => Content::Ids(ids.to_vec()),
            _ => return Err(Fault::bad_input("a prompt needs exactly one of messages, text and ids")),
        };
        Ok(Prompt { content, id: prompt.id })
    }
}

impl From<NativeMessage> for Message {
    fn from(message: NativeMessage) -> Self {
        Message { role: message.role, content: message.content }
    }
}

impl TryFrom<NativeSampling> for Sampling {
    type Error = Fault;

    fn try_from(sampling: NativeSampling) -> Result<Self> {
        let default = SamplingOptions::default();
        let options = SamplingOptions {
            top_k: sampling.top_k.unwrap_or(default.top_k),
            top_p: sampling.top_p.unwrap_or(default.top_p),
            min_p: sampling.min_p.unwrap_or(default.min_p),
            repetition_penalty: sampling.repetition_penalty.unwrap_or(default.repetition_penalty),
            presence_penalty: sampling.presence_penalty.unwrap_or(default.presence_penalty),
            frequency_penalty: sampling.frequency_penalty.unwrap_or(default.frequency_penalty),
            logit_bias: sampling.logit_bias.iter().flatten().map(|entry| (entry.token, entry.bias)).collect(),
        };
        Ok(Sampling {
            call: sampling.call,
            n: sampling.n as usize,
            max_tokens: sampling.max_tokens.map(|n| n as usize),
            temperature: sampling.temperature,
            options,
            seed: seed_of(&sampling.seed)?,
            purpose: sampling.purpose,
            stage: u64::from(sampling.stage),
            step: u64::from(sampling.step),
            stop: sampling.stop,
            progress: sampling.progress,
            pieces: sampling.pieces,
            ended: sampling.ended,
        })
    }
}

impl TryFrom<NativeStepOptions> for StepOptions {
    type Error = Fault;

    fn try_from(options: NativeStepOptions) -> Result<Self> {
        Ok(StepOptions {
            learning_rate: options.learning_rate as f32,
            betas: (options.beta1, options.beta2),
            eps: options.epsilon as f32,
            weight_decay: options.weight_decay as f32,
            max_grad_norm: options.max_grad_norm.map(|norm| norm as f32),
            ratio_clip: options
                .ratio_clip_low
                .zip(options.ratio_clip_high)
                .map(|(low, high)| (low as f32, high as f32)),
            micro_batch_tokens: options.micro_batch_tokens as usize,
            seed: options.seed.as_ref().map_or(Ok(0), seed_of)?,
        })
    }
}

impl From<NativeCheckpoint> for CheckpointRequest {
    fn from(request: NativeCheckpoint) -> Self {
        CheckpointRequest {
            folder: PathBuf::from(request.folder),
            step: request.step as u64,
            recipe_json: request.recipe_state,
            commit: request.commit,
            config_hash: request.config_hash,
            replace: request.replace,
        }
    }
}

/// A seed is any unsigned 64-bit number.
pub fn seed_of(seed: &BigInt) -> Result<u64> {
    match seed.get_u64() {
        (false, value, true) => Ok(value),
        (negative, value, _) => {
            let sign = if negative { "-" } else { "" };
            Err(Fault::out_of_range(&format!("{sign}{value}"), "seed lies outside of 0 to 2^64 - 1"))
        }
    }
}
