//! The JavaScript handle of a policy: each method turns its arguments into a command for the engine thread and gives a promise.

use crate::answer::promise;
use crate::batch::NativeBatch;
use crate::batch_data::BatchData;
use crate::command::{CheckpointRequest, Command, Plant};
use crate::fault::{Fault, Result};
use crate::inputs::{
    NativeCheckpoint, NativeColumns, NativeMessage, NativePrompt, NativeSampling, NativeStageShape, NativeStepOptions,
    Prompt, Sampling,
};
use crate::outputs::{NativeCompletion, NativePolicyInfo, NativeResumed, NativeScores, NativeStepMetrics};
use crate::record::Record;
use crate::reply::{Ending, Reply};
use crate::response::{Finish, Response};
use gradus_engine::inverse_temperature;
use gradus_model::{Score, TokenBatch};
use gradus_text::{Message, Tokenizer};
use gradus_train::StepMetrics;
use napi::Env;
use napi::bindgen_prelude::{Float32Array, Object, ToNapiValue, Uint8Array, Uint32Array};
use napi_derive::napi;
use std::path::PathBuf;
use std::sync::mpsc::Sender;

/// One policy on its engine thread. Dropped (collected), it lets the thread end.
#[napi]
pub struct NativePolicy {
    commands: Sender<Command>,
    ending: Ending,
    info: NativePolicyInfo,
    resumed: Option<NativeResumed>,
    tokenizer: Option<Tokenizer>,
}

/// What the engine thread tells when the policy is made.
pub struct Started {
    pub info: NativePolicyInfo,
    pub resumed: Option<NativeResumed>,
    pub tokenizer: Option<Tokenizer>,
}

impl NativePolicy {
    pub fn new(commands: Sender<Command>, ending: Ending, started: Started) -> Self {
        let Started { info, resumed, tokenizer } = started;
        Self { commands, ending, info, resumed, tokenizer }
    }

    /// Sends the command that `make` builds around the reply; a stopped thread rejects it at once.
    fn ask<'env, T: Send + 'static, J: ToNapiValue + 'static>(
        &self,
        env: &'env Env,
        convert: impl FnOnce(T) -> J + Send + 'static,
        make: impl FnOnce(Reply<T>) -> Command,
    ) -> napi::Result<Object<'env>> {
        let (reply, promise) = promise(env, &self.ending, convert)?;
        // A send fails when the thread has ended; the command is dropped and its reply says why.
        drop(self.commands.send(make(reply)));
        Ok(promise)
    }

    fn tokenizer(&self, needs: &str) -> Result<&Tokenizer> {
        let missing = || Fault::unsupported(needs, format!("{needs} needs a tokenizer and this policy has none"));
        self.tokenizer.as_ref().ok_or_else(missing)
    }
}

#[napi]
impl NativePolicy {
    #[napi(getter, catch_unwind)]
    pub fn info(&self) -> NativePolicyInfo {
        self.info.clone()
    }

    /// Set on a policy that was resumed from a checkpoint.
    #[napi(getter, catch_unwind)]
    pub fn resumed(&self) -> Option<NativeResumed> {
        self.resumed.clone()
    }

    /// Responses in the order of prompts, n a prompt.
    #[napi(catch_unwind, ts_return_type = "Promise<Array<NativeCompletion>>")]
    pub fn generate<'env>(
        &self,
        env: &'env Env,
        prompts: Vec<NativePrompt>,
        sampling: NativeSampling,
    ) -> napi::Result<Object<'env>> {
        let (prompts, sampling) = (read_prompts(prompts)?, Sampling::try_from(sampling)?);
        let convert = |responses: Vec<Response>| responses.into_iter().map(completion).collect::<Vec<_>>();
        self.ask(env, convert, |reply| Command::Generate { prompts, sampling, reply })
    }

    /// The batch of all rollouts; rejects with `aborted` when it is cancelled.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeBatch>")]
    pub fn rollout<'env>(
        &self,
        env: &'env Env,
        prompts: Vec<NativePrompt>,
        sampling: NativeSampling,
    ) -> napi::Result<Object<'env>> {
        let (prompts, sampling) = (read_prompts(prompts)?, Sampling::try_from(sampling)?);
        self.ask(env, NativeBatch::new, |reply| Command::Rollout { prompts, sampling, reply })
    }

    /// Ends a running `generate` or `rollout` within one scheduler step.
    #[napi(catch_unwind)]
    pub fn cancel(&self, call: u32) {
        drop(self.commands.send(Command::Cancel(call)));
    }

    /// A batch of given sequences, with a mask entry for each token.
    #[napi(catch_unwind)]
    pub fn batch(
        &self,
        tokens: Uint32Array,
        cu_seqlens: Uint32Array,
        loss_mask: Uint8Array,
    ) -> napi::Result<NativeBatch> {
        let vocab_size = self.info.vocab_size as usize;
        Ok(NativeBatch::new(BatchData::from_mask(tokens.to_vec(), cu_seqlens.to_vec(), &loss_mask, vocab_size)?))
    }

    /// One optimizer update. `weights`: one per rollout or one per target of the batch.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeStepMetrics>")]
    pub fn step<'env>(
        &self,
        env: &'env Env,
        batch: &NativeBatch,
        weights: Float32Array,
        options: NativeStepOptions,
    ) -> napi::Result<Object<'env>> {
        let (batch, weights, options) = (batch.data()?, weights.to_vec(), options.try_into()?);
        self.ask(env, step_metrics, |reply| Command::Step { batch, weights, options, reply })
    }

    /// Logprobs and entropies of given sequences, without a gradient.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeScores>")]
    pub fn score<'env>(
        &self,
        env: &'env Env,
        tokens: Uint32Array,
        cu_seqlens: Uint32Array,
        temperature: f64,
    ) -> napi::Result<Object<'env>> {
        let batch = TokenBatch { tokens: tokens.to_vec(), cu_seqlens: cu_seqlens.to_vec() };
        let inv_t = inverse_temperature(temperature);
        self.ask(env, scores, |reply| Command::Score { batch, inv_t, reply })
    }

    /// Writes the rollout file of a batch.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn record<'env>(
        &self,
        env: &'env Env,
        batch: &NativeBatch,
        file: String,
        columns: NativeColumns,
    ) -> napi::Result<Object<'env>> {
        let NativeColumns { scores, kinds, details, advantages } = columns;
        let (scores, advantages) = (scores.to_vec(), advantages.to_vec());
        let record =
            Box::new(Record { path: PathBuf::from(file), batch: batch.data()?, scores, kinds, details, advantages });
        self.ask(env, |()| (), |reply| Command::Record { record, reply })
    }

    /// Writes `step-N` into a checkpoints folder; gives its path.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn checkpoint<'env>(&self, env: &'env Env, request: NativeCheckpoint) -> napi::Result<Object<'env>> {
        let request = CheckpointRequest::from(request);
        let convert = |path: PathBuf| path.to_string_lossy().into_owned();
        self.ask(env, convert, |reply| Command::Checkpoint { request, reply })
    }

    /// Writes a Hugging Face folder.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn save<'env>(&self, env: &'env Env, folder: String) -> napi::Result<Object<'env>> {
        let folder = PathBuf::from(folder);
        self.ask(env, |()| (), |reply| Command::Save { folder, reply })
    }

    /// Token ids of a text. Runs on the calling thread: a text of some kilobytes takes milliseconds.
    #[napi(catch_unwind)]
    pub fn tokenize(&self, text: String, add_special: bool) -> napi::Result<Uint32Array> {
        let ids = self.tokenizer("tokenize")?.encode(&text, add_special).map_err(Fault::from)?;
        Ok(Uint32Array::new(ids))
    }

    #[napi(catch_unwind)]
    pub fn detokenize(&self, ids: Uint32Array, skip_special: bool) -> napi::Result<String> {
        Ok(self.tokenizer("detokenize")?.decode(&ids, skip_special).map_err(Fault::from)?)
    }

    /// The text of a conversation by the folder's chat template.
    #[napi(catch_unwind)]
    pub fn apply_chat_template(
        &self,
        messages: Vec<NativeMessage>,
        add_generation_prompt: bool,
    ) -> napi::Result<String> {
        let messages: Vec<Message> = messages.into_iter().map(Message::from).collect();
        let tokenizer = self.tokenizer("applyChatTemplate")?;
        Ok(tokenizer.apply_chat_template(&messages, add_generation_prompt).map_err(Fault::from)?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeMemory>")]
    pub fn memory<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        self.ask(env, |memory| memory, Command::Memory)
    }

    /// What a stage will take; refused where it cannot fit.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeMemoryPlan>")]
    pub fn plan_memory<'env>(&self, env: &'env Env, stage: NativeStageShape) -> napi::Result<Object<'env>> {
        self.ask(env, |plan| plan, |reply| Command::PlanMemory { stage: stage.into(), reply })
    }

    /// Test hook: breaks something on purpose, "panic", "weight-ulp" or "inverse-temperature-ulp".
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn plant_fault<'env>(&self, env: &'env Env, name: String) -> napi::Result<Object<'env>> {
        let fault = match name.as_str() {
            "panic" => Plant::Panic,
            "weight-ulp" => Plant::WeightUlp,
            "inverse-temperature-ulp" => Plant::InverseTemperatureUlp,
            other => return Err(Fault::unsupported(other, format!("there is no fault {other:?} to plant")).into()),
        };
        self.ask(env, |()| (), |reply| Command::Plant { fault, reply })
    }

    /// Ends the engine thread; running calls are rejected with `closed`, memory is free when the promise resolves.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn close<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        self.ask(env, |()| (), Command::Close)
    }
}

fn read_prompts(prompts: Vec<NativePrompt>) -> Result<Vec<Prompt>> {
    prompts.into_iter().map(Prompt::try_from).collect()
}

fn completion(response: Response) -> NativeCompletion {
    NativeCompletion {
        text: response.text,
        tokens: Uint32Array::new(response.tokens),
        logprobs: Float32Array::new(response.logprobs),
        finish_reason: response.finish.map_or("abort", Finish::name).to_string(),
    }
}

fn scores(scores: Vec<Score>) -> NativeScores {
    NativeScores {
        logprobs: Float32Array::new(scores.iter().map(|score| score.logprob).collect()),
        entropies: Float32Array::new(scores.iter().map(|score| score.entropy).collect()),
    }
}

fn step_metrics(metrics: StepMetrics) -> NativeStepMetrics {
    NativeStepMetrics {
        loss: metrics.loss,
        grad_norm: metrics.grad_norm,
        entropy: metrics.entropy,
        logprob_abs_diff_max: f64::from(metrics.logprob_abs_diff_max),
        tokens: metrics.tokens as f64,
        trained_tokens: metrics.trained_tokens as f64,
        skipped: metrics.skipped.map(|reason| reason.name().to_string()),
        seconds: metrics.seconds,
    }
}
