//! What the engine thread owns: the policy, its trainer and its generation; each command does its work here.

use crate::batch_data::{BatchData, check_ids, check_lengths};
use crate::call::{Call, EncodedPrompt, Waiting};
use crate::command::{CheckpointRequest, Command, Plant};
use crate::fault::{Fault, Result};
use crate::generation::Generation;
use crate::inputs::{Content, Prompt, Sampling};
use crate::memory::{decided_activation_bytes, memory_report, plan_memory};
use crate::outputs::NativeEvent;
use crate::response::Response;
use gradus_engine::{Request, TEMPERATURE_MIN, is_temperature};
use gradus_model::{Model, Score, ScoreRow, TokenBatch, TrainingWorkspace, stream};
use gradus_ops::Backend;
use gradus_text::Tokenizer;
use gradus_train::{OnExisting, SaveRequest, StepMetrics, StepOptions, TrainBatch, TrainRow, Trainer, save_checkpoint};
use std::path::{Path, PathBuf};

/// Most tokens that one scoring pass holds; a longer sequence passes alone.
const SCORE_TOKENS: usize = 512;
/// Response limit where the caller names none.
const MAX_TOKENS_DEFAULT: usize = 512;

/// Takes what changed in a scheduler step to whoever listens.
pub type EventSink = Box<dyn Fn(Vec<NativeEvent>) + Send>;

pub struct Worker<B: Backend> {
    pub model: Model<B>,
    pub trainer: Trainer<B>,
    pub tokenizer: Option<Tokenizer>,
    /// Other files of the loaded folder that a saved policy keeps.
    pub companion_files: Vec<(String, Vec<u8>)>,
    /// Ids that end a response: the config's and the tokenizer's.
    pub stop_tokens: Vec<u32>,
    pub generation: Generation<B>,
    /// Memory of the KV pages in generation, of gradients and activations in a step.
    pub region: B::Region,
    /// Bounds the KV pages of `generation`.
    pub kv_bytes_max: u64,
    pub scoring: TrainingWorkspace<B>,
    /// Most bytes of activations in a training pass; where it was not given, decided at the first step.
    pub activation_bytes_max: Option<u64>,
    pub events: EventSink,
}

impl<B: Backend> Worker<B> {
    pub fn is_idle(&self) -> bool {
        self.generation.is_idle()
    }

    /// Lets every running response sample one token, and tells the listeners.
    pub fn generate(&mut self) {
        self.trainer.give_back();
        let events = self.generation.step(&self.model);
        if !events.is_empty() {
            (self.events)(events);
        }
    }

    /// Does one command and answers it. `Close` is the serving loop's.
    pub fn handle(&mut self, command: Command) {
        match command {
            Command::Generate { prompts, sampling, reply } => match self.prepare(prompts, &sampling) {
                Ok(prepared) => self.start(prepared, &sampling, Waiting::Completions(reply)),
                Err(fault) => reply.send(Err(fault)),
            },
            Command::Rollout { sampling, reply, .. } if !sampling.options.is_plain() => {
                let message = "a rollout samples from the whole distribution, since it is what the loss knows; leave topK, topP, minP, penalties and logitBias out";
                reply.send(Err(Fault::unsupported("sampling", message)));
            }
            Command::Rollout { prompts, sampling, reply } => match self.prepare(prompts, &sampling) {
                Ok(prepared) => self.start(prepared, &sampling, Waiting::Rollouts(reply)),
                Err(fault) => reply.send(Err(fault)),
            },
            Command::Cancel(call) => self.generation.cancel(call),
            Command::Step { batch, weights, options, reply } => reply.send(self.step(&batch, &weights, &options)),
            Command::Score { batch, inv_t, reply } => reply.send(self.score(&batch, inv_t)),
            Command::Record { record, reply } => reply.send(record.write()),
            Command::Checkpoint { request, reply } => reply.send(self.checkpoint(&request)),
            Command::Save { folder, reply } => reply.send(self.save(&folder)),
            Command::Memory(reply) => reply.send(Ok(memory_report(self))),
            Command::PlanMemory { stage, reply } => reply.send(plan_memory(self, &stage)),
            Command::Plant { fault: Plant::Panic, reply } => {
                let _unanswered = reply;
                // Unwinds as a panic does, without a report that looks like a fault in the output of the tests.
                std::panic::resume_unwind(Box::new("planted by a test"));
            }
            Command::Plant { fault: Plant::WeightUlp, reply } => {
                self.trainer.plant_fault(Some(gradus_train::PlantedFault::WeightUlp));
                reply.send(Ok(()));
            }
            Command::Plant { fault: Plant::InverseTemperatureUlp, reply } => {
                self.generation.plant_fault(gradus_engine::PlantedFault::InverseTemperatureUlp);
                reply.send(Ok(()));
            }
            Command::Close(reply) => reply.send(Ok(())),
        }
    }

    /// Token ids, limits and empty responses for a call, refused before anything runs.
    fn prepare(&self, prompts: Vec<Prompt>, sampling: &Sampling) -> Result<Prepared> {
        if self.tokenizer.is_none() && !sampling.stop.is_empty() {
            return Err(Fault::unsupported(
                "stop",
                "stop strings need a tokenizer and this policy has none; leave stop out",
            ));
        }
        if sampling.n == 0 || prompts.is_empty() {
            return Err(Fault::bad_input("expected at least one prompt and one response for each"));
        }
        if !is_temperature(sampling.temperature) {
            let temperature = sampling.temperature;
            let message = format!(
                "temperature {temperature} is too small to divide by, expected at least {TEMPERATURE_MIN}; use 0 for the likeliest token"
            );
            return Err(Fault::out_of_range(&temperature, message));
        }
        sampling.options.check(self.model.config.vocab_size)?;
        let stop_tokens = self.stop_tokens_with(&sampling.stop)?;
        let mut prepared = Prepared { prompts: Vec::new(), responses: Vec::new(), requests: Vec::new() };
        for (index, prompt) in prompts.into_iter().enumerate() {
            let prompt = self.encode(index, prompt)?;
            let max_tokens = self.max_tokens(index, prompt.tokens.len(), sampling.max_tokens)?;
            self.generation.check(sampling.call.number, prompt.tokens.len(), max_tokens)?;
            let name = prompt_name(&prompt);
            for response in 0..sampling.n {
                let place = index * sampling.n + response;
                let stream = stream(&sampling.purpose, sampling.stage, sampling.step, &name, response as u64, 0);
                prepared.requests.push(Request {
                    id: Generation::<B>::request_id(sampling.call.number, place),
                    prompt: prompt.tokens.clone(),
                    max_tokens,
                    temperature: sampling.temperature,
                    sampling: sampling.options.clone(),
                    key: sampling.seed,
                    stream,
                    stop_tokens: stop_tokens.clone(),
                    group: Some(Generation::<B>::request_id(sampling.call.number, index)),
                });
                prepared.responses.push(Response::new(self.tokenizer.as_ref(), &sampling.stop)?);
            }
            prepared.prompts.push(prompt);
        }
        Ok(prepared)
    }

    /// The policy's end tokens and the special tokens among the stop strings, which no text shows.
    fn stop_tokens_with(&self, stop: &[String]) -> Result<Vec<u32>> {
        let mut ids = self.stop_tokens.clone();
        if let Some(tokenizer) = &self.tokenizer {
            for id in stop.iter().filter_map(|text| tokenizer.token_to_id(text)) {
                if tokenizer.decode(&[id], true)?.is_empty() {
                    ids.push(id);
                }
            }
        }
        Ok(ids)
    }

    fn encode(&self, index: usize, prompt: Prompt) -> Result<EncodedPrompt> {
        let tokenizer = || {
            self.tokenizer.as_ref().ok_or_else(|| {
                Fault::unsupported(
                    "text",
                    format!("prompt {index} is text and this policy has no tokenizer; give token ids (Uint32Array)"),
                )
            })
        };
        let tokens = match prompt.content {
            Content::Ids(ids) => ids,
            Content::Text(text) => tokenizer()?.encode(&text, true)?,
            Content::Messages(messages) => {
                let tokenizer = tokenizer()?;
                tokenizer.encode(&tokenizer.apply_chat_template(&messages, true)?, false)?
            }
        };
        if tokens.is_empty() {
            return Err(Fault::bad_input(format!("prompt {index} has no tokens; expected at least one")));
        }
        check_ids(&tokens, self.model.config.vocab_size)?;
        Ok(EncodedPrompt { tokens, id: prompt.id })
    }

    /// The response limit: as asked, or what the context leaves up to a default.
    fn max_tokens(&self, index: usize, prompt_length: usize, asked: Option<usize>) -> Result<usize> {
        let context = self.model.config.max_position_embeddings;
        let left = context.saturating_sub(prompt_length);
        let max_tokens = asked.unwrap_or_else(|| left.min(MAX_TOKENS_DEFAULT));
        if max_tokens == 0 || max_tokens > left {
            return Err(Fault::out_of_range(
                &max_tokens,
                format!(
                    "prompt {index} has {prompt_length} tokens; with {max_tokens} response tokens it does not fit into the context of {context}; at most {left} are left"
                ),
            ));
        }
        Ok(max_tokens)
    }

    fn start(&mut self, prepared: Prepared, sampling: &Sampling, waiting: Waiting) {
        let Prepared { prompts, responses, requests } = prepared;
        let call = Call::new(sampling, prompts, responses, waiting);
        self.generation.start(sampling.call.number, call, requests);
        if sampling.call.cancelled {
            self.generation.cancel(sampling.call.number);
        }
    }

    fn step(&mut self, batch: &BatchData, weights: &[f32], options: &StepOptions) -> Result<StepMetrics> {
        if self.generation.has_rollouts() {
            return Err(Fault::new(
                "busy",
                "a rollout of this policy is still running; await it before step, which changes the weights",
            ));
        }
        let weights = batch.weights_per_target(weights)?;
        let sampler_logprobs = batch.rollouts.as_ref().map(|columns| &columns.logprobs);
        let rows = batch.targets.iter().zip(&weights).enumerate().map(|(index, (&target, &weight))| TrainRow {
            row: target - 1,
            target: batch.tokens.tokens[target as usize],
            weight,
            inv_t: batch.inv_t,
            sampler_logprob: sampler_logprobs.map(|logprobs| logprobs[index]),
        });
        let train_batch = TrainBatch { tokens: batch.tokens.clone(), rows: rows.collect() };
        self.limit_activations()?;
        self.generation.give_back();
        let metrics = self.trainer.step(&mut self.model, &train_batch, options)?;
        batch.note_trained(&weights, metrics.skipped.is_none());
        self.generation.on_weights_changed();
        Ok(metrics)
    }

    /// Before the first step: what the activations may take beside gradients and optimizer state.
    fn limit_activations(&mut self) -> Result<()> {
        self.model.refuse_quantised("trained")?;
        let bytes = decided_activation_bytes(self)?;
        self.trainer.limit_activations(bytes);
        Ok(())
    }

    fn score(&mut self, batch: &TokenBatch, inv_t: f32) -> Result<Vec<Score>> {
        check_lengths(&batch.cu_seqlens, batch.tokens.len())?;
        check_ids(&batch.tokens, self.model.config.vocab_size)?;
        let mut scores = Vec::with_capacity(batch.tokens.len());
        let sequences: Vec<&[u32]> =
            batch.cu_seqlens.windows(2).map(|ends| &batch.tokens[ends[0] as usize..ends[1] as usize]).collect();
        let mut rest = sequences.as_slice();
        while !rest.is_empty() {
            let mut tokens = 0;
            let fitting = rest.iter().take_while(|sequence| {
                tokens += sequence.len();
                tokens <= SCORE_TOKENS
            });
            let (part, later) = rest.split_at(fitting.count().max(1));
            rest = later;
            let part = TokenBatch::pack(part);
            self.model.forward(&part, &mut self.scoring)?;
            let rows: Vec<ScoreRow> = part
                .cu_seqlens
                .windows(2)
                .flat_map(|ends| ends[0]..ends[1] - 1)
                .map(|row| ScoreRow { row, target: part.tokens[row as usize + 1], inv_t })
                .collect();
            scores.extend(self.model.score_rows(&rows, &mut self.scoring)?);
        }
        Ok(scores)
    }

    fn checkpoint(&self, request: &CheckpointRequest) -> Result<PathBuf> {
        let request = SaveRequest {
            folder: &request.folder,
            step: request.step,
            recipe_json: &request.recipe_json,
            extra_files: &self.extra_files(),
            commit: request.commit.as_deref(),
            config_hash: request.config_hash.as_deref(),
            on_existing: if request.replace { OnExisting::Replace } else { OnExisting::Refuse },
        };
        Ok(save_checkpoint(&self.model, &self.trainer, &request)?)
    }

    fn save(&self, folder: &Path) -> Result<()> {
        crate::save::save_folder(&self.model, &self.extra_files(), folder)
    }

    /// Tokenizer files and companions, under their names.
    fn extra_files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = self.tokenizer.as_ref().map(Tokenizer::files).unwrap_or_default();
        files.extend(self.companion_files.iter().cloned());
        files
    }
}

/// A call that has passed every check.
struct Prepared {
    prompts: Vec<EncodedPrompt>,
    responses: Vec<Response>,
    requests: Vec<Request>,
}

/// What stands for a prompt in its random stream: its id, else its token ids.
fn prompt_name(prompt: &EncodedPrompt) -> Vec<u8> {
    match &prompt.id {
        Some(id) => id.as_bytes().to_vec(),
        None => prompt.tokens.iter().flat_map(|id| id.to_le_bytes()).collect(),
    }
}
