//! The engine: runs the scheduler's plans on a model, samples, and reports each token with its logprob and entropies.

use crate::fault::PlantedFault;
use crate::plan::StepPlan;
use crate::sampling::Sampler;
use crate::sequence::{Finish, Progress, SequenceRequest};
use crate::{EngineOptions, Error, Request, Result, Scheduler};
use gradus_model::{KvCache, LogitAdjustment, Model, ModelConfig, PagedWorkspace, SampleRow, Sampled};
use gradus_ops::Backend;
use std::collections::HashMap;

/// One sampled token of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenEvent {
    /// Of the request.
    pub id: u64,
    pub token: u32,
    /// log softmax(logits / T) of the token, T = 1 where greedy: the same bits as [`Model::score_rows`], whatever limits and penalties it
    /// was drawn with.
    pub logprob: f32,
    /// Entropy of the same distribution, in nats.
    pub entropy: f32,
    /// Entropy at T = 1.
    pub entropy_raw: f32,
    /// The request has ended with this token.
    pub finish: Option<Finish>,
}

/// Many requests over one model and one KV cache. Holds no weights: each step is given them.
pub struct Engine<B: Backend> {
    scheduler: Scheduler,
    cache: KvCache<B>,
    workspace: PagedWorkspace<B>,
    samplers: HashMap<u64, Sampler>,
    vocab_size: usize,
    positions_max: usize,
    /// Version of the weights that the cache was computed with.
    version: u64,
    fault: Option<PlantedFault>,
    /// Memory of a step, used again by the next one.
    plan: StepPlan,
    draws: Draws,
    events: Vec<TokenEvent>,
    /// Requests that the last step has ended because nothing could be drawn for them.
    failed: Vec<u64>,
}

/// What a step tells the sampler, and the tokens that come back.
#[derive(Default)]
struct Draws {
    rows: Vec<SampleRow>,
    /// Of row after row; `ends` says where each row's part ends.
    adjustments: Vec<LogitAdjustment>,
    ends: Vec<usize>,
    tokens: Vec<u32>,
}

impl<B: Backend> Engine<B> {
    /// Allocates the pages; every option must be at least 1.
    pub fn new(model: &Model<B>, options: EngineOptions) -> Result<Self> {
        Self::with(model, options, KvCache::new(model, options.pages)?)
    }

    /// The same with pages in memory of `region`; see [`Engine::give_back`].
    pub fn sharing(model: &Model<B>, options: EngineOptions, region: B::Region) -> Result<Self> {
        Self::with(model, options, KvCache::sharing(model, options.pages, region)?)
    }

    fn with(model: &Model<B>, options: EngineOptions, cache: KvCache<B>) -> Result<Self> {
        let scheduler = Scheduler::new(options)?;
        let ModelConfig { vocab_size, max_position_embeddings, .. } = model.config;
        Ok(Self {
            scheduler,
            cache,
            workspace: PagedWorkspace::new(),
            samplers: HashMap::new(),
            vocab_size,
            positions_max: max_position_embeddings,
            version: model.version,
            fault: None,
            plan: StepPlan::default(),
            draws: Draws::default(),
            events: Vec::new(),
            failed: Vec::new(),
        })
    }

    /// Queues a request; refuses what the model or the pages can never hold.
    pub fn submit(&mut self, request: Request) -> Result<()> {
        let sampler = Sampler::new(&request, self.vocab_size)?;
        let Request { id, prompt, max_tokens, stop_tokens, group, .. } = request;
        if let Some((index, &token)) = prompt.iter().enumerate().find(|(_, token)| **token as usize >= self.vocab_size)
        {
            return Err(Error::UnknownToken { id, index, token, vocab_size: self.vocab_size });
        }
        if prompt.len().saturating_add(max_tokens) > self.positions_max {
            return Err(Error::TooLong { id, prompt: prompt.len(), max_tokens, limit: self.positions_max });
        }
        self.scheduler.submit(SequenceRequest { id, prompt, max_tokens, stop_tokens, group })?;
        self.samplers.insert(id, sampler);
        Ok(())
    }

    /// Ends a request at once, without an event, and frees its pages. `None` when it is unknown or has ended.
    pub fn cancel(&mut self, id: u64) -> Option<Finish> {
        self.samplers.remove(&id);
        self.scheduler.cancel(id)
    }

    /// Runs one step: one forward, then one token for each sequence whose tokens are all computed. Nothing when idle.
    ///
    /// A request whose logits are not finite ends without a token: [`Engine::failed`] names it, and the others go on in the next
    /// step. After any other error the requests are still there, and their keys are computed anew.
    pub fn step(&mut self, model: &Model<B>) -> Result<&[TokenEvent]> {
        if model.version != self.version {
            self.on_weights_changed();
            self.version = model.version;
        }
        self.events.clear();
        self.failed.clear();
        let mut plan = std::mem::take(&mut self.plan);
        let ran = if self.scheduler.plan(&mut plan) { self.run(model, &plan) } else { Ok(()) };
        let ended = ran.or_else(|error| self.end_failed(model, &plan, error));
        self.plan = plan;
        ended.map(|()| self.events.as_slice())
    }

    /// Requests that the last step has ended because their logits were not finite.
    pub fn failed(&self) -> &[u64] {
        &self.failed
    }

    /// Ends the requests that made a step fail; the error where none of them did.
    fn end_failed(&mut self, model: &Model<B>, plan: &StepPlan, error: Error) -> Result<()> {
        self.scheduler.drop_cached();
        let rows = model.rows_without_distribution(&self.workspace, &self.draws.rows)?;
        if rows.is_empty() {
            return Err(error);
        }
        for row in rows {
            let id = plan.samples[row].id;
            self.cancel(id);
            self.failed.push(id);
        }
        Ok(())
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

    /// Gives the memory of the pages back to their region until the next step. Responses in flight keep their tokens, and their keys are
    /// computed anew then. Without a region nothing happens.
    pub fn give_back(&mut self) {
        if self.cache.give_back() {
            self.scheduler.drop_cached();
        }
    }

    /// Bytes of activations of a step.
    pub fn activation_bytes(&self) -> u64 {
        self.workspace.bytes()
    }

    /// Bytes of pages that have memory now.
    pub fn kv_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Test hook: makes the sampler differ from every other path; see [`PlantedFault`].
    pub fn plant_fault(&mut self, fault: Option<PlantedFault>) {
        self.fault = fault;
    }

    /// Carries out a plan; `events` tells what came of it.
    fn run(&mut self, model: &Model<B>, plan: &StepPlan) -> Result<()> {
        self.draws.rows.clear();
        for &(from, to) in &plan.copies {
            self.cache.copy_page(&model.backend, from as usize, to as usize)?;
        }
        model.forward_paged(&plan.inputs, &mut self.cache, &mut self.workspace)?;
        let Draws { rows, adjustments, ends, tokens } = &mut self.draws;
        adjustments.clear();
        ends.clear();
        // Room for all that these responses can bring: later steps of theirs then find it.
        let entries_max = plan.samples.iter().map(|slot| self.samplers[&slot.id].adjustments_max()).sum();
        if entries_max > 0 {
            adjustments.reserve(entries_max);
            self.workspace.reserve_adjustments(model, plan.samples.len(), entries_max)?;
        }
        for slot in &plan.samples {
            let sampler = &self.samplers[&slot.id];
            let row = sampler.row(slot.position);
            let inv_t = self.fault.map_or(row.inv_t, |fault| fault.inverse_temperature(row.inv_t));
            rows.push(SampleRow { inv_t, ..row });
            adjustments.extend_from_slice(sampler.adjustments());
            ends.push(adjustments.len());
        }
        let sampled = model.sample_rows(&mut self.workspace, rows, adjustments, ends)?;
        tokens.clear();
        tokens.extend(sampled.iter().map(|sampled| sampled.id));
        for (progress, sampled) in self.scheduler.commit(plan, tokens).iter().zip(sampled) {
            let &Progress { id, token, finish } = progress;
            if finish.is_some() {
                self.samplers.remove(&id);
            } else if let Some(sampler) = self.samplers.get_mut(&id) {
                sampler.push(token);
            }
            let &Sampled { logprob, entropy, entropy_raw, .. } = sampled;
            self.events.push(TokenEvent { id, token, logprob, entropy, entropy_raw, finish });
        }
        Ok(())
    }
}
