//! The engine: runs the scheduler's plans on a model, samples, and reports each token with its logprob and entropies.

use crate::fault::PlantedFault;
use crate::plan::StepPlan;
use crate::sequence::{Finish, SequenceRequest};
use crate::{EngineOptions, Error, Request, Result, Scheduler, inverse_temperature};
use gradus_model::{KvCache, Model, ModelConfig, PagedWorkspace, SampleRow, Sampled};
use gradus_ops::Backend;
use std::collections::HashMap;

/// One sampled token of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenEvent {
    /// Of the request.
    pub id: u64,
    pub token: u32,
    /// log softmax(logits / T) of the token, T = 1 where greedy: the same bits as [`Model::score_rows`].
    pub logprob: f32,
    /// Entropy of the same distribution, in nats.
    pub entropy: f32,
    /// Entropy at T = 1.
    pub entropy_raw: f32,
    /// The request has ended with this token.
    pub finish: Option<Finish>,
}

/// How the tokens of one request are drawn.
#[derive(Clone, Copy)]
struct Sampling {
    inv_t: f32,
    greedy: bool,
    key: u64,
    stream: u64,
}

/// Many requests over one model and one KV cache. Holds no weights: each step is given them.
pub struct Engine<B: Backend> {
    scheduler: Scheduler,
    cache: KvCache<B>,
    workspace: PagedWorkspace<B>,
    sampling: HashMap<u64, Sampling>,
    vocab_size: usize,
    positions_max: usize,
    /// Version of the weights that the cache was computed with.
    version: u64,
    fault: Option<PlantedFault>,
}

impl<B: Backend> Engine<B> {
    /// Allocates the pages; every option must be at least 1.
    pub fn new(model: &Model<B>, options: EngineOptions) -> Result<Self> {
        let scheduler = Scheduler::new(options)?;
        let ModelConfig { vocab_size, max_position_embeddings, .. } = model.config;
        Ok(Self {
            scheduler,
            cache: KvCache::new(model, options.pages)?,
            workspace: PagedWorkspace::new(),
            sampling: HashMap::new(),
            vocab_size,
            positions_max: max_position_embeddings,
            version: model.version,
            fault: None,
        })
    }

    /// Queues a request; refuses what the model or the pages can never hold.
    pub fn submit(&mut self, request: Request) -> Result<()> {
        let Request { id, prompt, max_tokens, temperature, key, stream, stop_tokens, group } = request;
        let inv_t = inverse_temperature(temperature);
        if temperature < 0.0 || !temperature.is_finite() || !inv_t.is_normal() {
            return Err(Error::Temperature { id, temperature });
        }
        if let Some((index, &token)) = prompt.iter().enumerate().find(|(_, token)| **token as usize >= self.vocab_size)
        {
            return Err(Error::UnknownToken { id, index, token, vocab_size: self.vocab_size });
        }
        if prompt.len().saturating_add(max_tokens) > self.positions_max {
            return Err(Error::TooLong { id, prompt: prompt.len(), max_tokens, limit: self.positions_max });
        }
        self.scheduler.submit(SequenceRequest { id, prompt, max_tokens, stop_tokens, group })?;
        self.sampling.insert(id, Sampling { inv_t, greedy: temperature == 0.0, key, stream });
        Ok(())
    }

    /// Ends a request at once, without an event, and frees its pages. `None` when it is unknown or has ended.
    pub fn cancel(&mut self, id: u64) -> Option<Finish> {
        self.sampling.remove(&id);
        self.scheduler.cancel(id)
    }

    /// Runs one step: one forward, then one token for each sequence whose tokens are all computed. Nothing when idle.
    ///
    /// After an error the requests are still there, and their keys are computed anew.
    pub fn step(&mut self, model: &Model<B>) -> Result<Vec<TokenEvent>> {
        if model.version != self.version {
            self.on_weights_changed();
            self.version = model.version;
        }
        let Some(plan) = self.scheduler.plan() else { return Ok(Vec::new()) };
        match self.run(model, &plan) {
            Ok(sampled) => Ok(self.commit(&plan, &sampled)),
            Err(error) => {
                self.scheduler.drop_cached();
                Err(error)
            }
        }
    }

    pub fn is_idle(&self) -> bool {
        self.scheduler.is_idle()
    }

    /// Pages that nothing holds: all of them when the engine is idle, which the tests check.
    pub fn pages_free(&self) -> usize {
        self.scheduler.pages_free()
    }

    /// Times that a running request was put back because pages ran out: many of them say that more pages would help. The tests see by it that
    /// their cases preempt.
    pub fn preemptions(&self) -> u64 {
        self.scheduler.preemptions()
    }

    /// Forgets all keys and values. Responses in flight keep their tokens and go on with the new weights.
    pub fn on_weights_changed(&mut self) {
        self.scheduler.drop_cached();
    }

    /// Test hook: makes the sampler differ from every other path; see [`PlantedFault`].
    pub fn plant_fault(&mut self, fault: Option<PlantedFault>) {
        self.fault = fault;
    }

    fn run(&mut self, model: &Model<B>, plan: &StepPlan) -> Result<Vec<Sampled>> {
        for &(from, to) in &plan.copies {
            self.cache.copy_page(&model.backend, from as usize, to as usize)?;
        }
        model.forward_paged(&plan.inputs, &mut self.cache, &mut self.workspace)?;
        let rows: Vec<SampleRow> = plan
            .samples
            .iter()
            .map(|slot| {
                let Sampling { inv_t, greedy, key, stream } = self.sampling[&slot.id];
                let inv_t = self.fault.map_or(inv_t, |fault| fault.inverse_temperature(inv_t));
                SampleRow {
                    inv_t,
                    greedy,
                    key,
                    stream,
                    position: slot.position,
                    limits: gradus_model::SampleLimits::NONE,
                }
            })
            .collect();
        Ok(model.sample_rows(&mut self.workspace, &rows, &[], &[])?.to_vec())
    }

    fn commit(&mut self, plan: &StepPlan, sampled: &[Sampled]) -> Vec<TokenEvent> {
        let tokens: Vec<u32> = sampled.iter().map(|sampled| sampled.id).collect();
        let progress = self.scheduler.commit(plan, &tokens);
        let event = |(progress, sampled): (crate::Progress, &Sampled)| {
            if progress.finish.is_some() {
                self.sampling.remove(&progress.id);
            }
            TokenEvent {
                id: progress.id,
                token: progress.token,
                logprob: sampled.logprob,
                entropy: sampled.entropy,
                entropy_raw: sampled.entropy_raw,
                finish: progress.finish,
            }
        };
        progress.into_iter().zip(sampled).map(event).collect()
    }
}
