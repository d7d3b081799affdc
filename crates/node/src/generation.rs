//! All running calls over one engine: admits their requests, hands each sampled token to its call, answers calls that are done.

use crate::call::{Call, SampledToken};
use crate::fault::{Fault, Result};
use crate::outputs::NativeEvent;
use crate::response::Finish;
use gradus_engine::{Engine, EngineOptions, PlantedFault, Request, TokenEvent, pages_needed};
use gradus_model::{KvCache, Model};
use gradus_ops::Backend;
use std::collections::{BTreeMap, VecDeque};

/// Requests are numbered by call (high half) and response (low half).
const RESPONSE_BITS: u32 = 32;

/// The engine, made when it is first needed, and the calls it serves.
pub struct Generation<B: Backend> {
    engine: Option<Engine<B>>,
    /// Pages of `engine`.
    pages: usize,
    pages_max: usize,
    page_bytes: usize,
    /// Has the memory of the pages, and between rollouts that of a training pass.
    region: B::Region,
    calls: BTreeMap<u32, Call>,
    /// Requests that the engine has not seen yet.
    queue: VecDeque<Request>,
    /// Tokens of the last step.
    events: Vec<TokenEvent>,
    /// Test hook, given to every engine that is made.
    fault: Option<PlantedFault>,
}

impl<B: Backend> Generation<B> {
    /// `kv_bytes_max` bounds the pages of all sequences together; their memory comes from `region`.
    pub fn new(model: &Model<B>, kv_bytes_max: u64, region: B::Region) -> Self {
        let page_bytes = KvCache::<B>::page_bytes(&model.config, model.precision);
        let pages_max = (kv_bytes_max / page_bytes as u64) as usize;
        Self {
            engine: None,
            pages: 0,
            pages_max,
            page_bytes,
            region,
            calls: BTreeMap::new(),
            queue: VecDeque::new(),
            events: Vec::new(),
            fault: None,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
    }

    pub fn has_rollouts(&self) -> bool {
        self.calls.values().any(Call::is_rollout)
    }

    /// Bytes of the pages there are.
    pub fn kv_bytes(&self) -> usize {
        self.engine.as_ref().map_or(0, Engine::kv_bytes)
    }

    /// Bytes of activations of a scheduler step.
    pub fn activation_bytes(&self) -> u64 {
        self.engine.as_ref().map_or(0, Engine::activation_bytes)
    }

    /// Bytes of the pages that `sequences` requests of `tokens` tokens each would get.
    pub fn kv_bytes_of(&self, sequences: usize, tokens: usize) -> u64 {
        let pages = sequences.saturating_mul(pages_needed(tokens, 1)).max(self.pages);
        (pages.next_power_of_two().min(self.pages_max) * self.page_bytes) as u64
    }

    /// Gives the memory of the pages back: running responses go on in the next step, and their keys are computed anew then.
    pub fn give_back(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.give_back();
        }
    }

    /// The number of a request: unique while its call runs.
    pub fn request_id(call: u32, response: usize) -> u64 {
        (u64::from(call) << RESPONSE_BITS) | response as u64
    }

    /// Refuses a call that could never run, before anything of it is kept.
    pub fn check(&self, call: u32, prompt_tokens: usize, max_tokens: usize) -> Result<()> {
        if self.calls.contains_key(&call) {
            return Err(Fault::bad_input(format!("call number {call} is in use")));
        }
        self.check_pages(prompt_tokens + max_tokens)
    }

    /// Refuses a sequence of a prompt and a response that are `tokens` long together, if the limit cannot hold it even alone.
    pub fn check_pages(&self, tokens: usize) -> Result<()> {
        let pages = pages_needed(tokens, 0);
        if pages > self.pages_max {
            let (needed, limit) = (pages * self.page_bytes, self.pages_max * self.page_bytes);
            return Err(Fault::new(
                "out-of-memory",
                format!(
                    "a sequence of {tokens} tokens needs {needed} bytes of KV pages, the limit is {limit}; raise kvBytesMax or shorten it"
                ),
            ));
        }
        Ok(())
    }

    /// Takes over a call with its requests.
    pub fn start(&mut self, number: u32, call: Call, requests: Vec<Request>) {
        self.calls.insert(number, call);
        self.queue.extend(requests);
    }

    /// Ends every open response of a call and answers it; a call that is done or unknown stays as it is.
    pub fn cancel(&mut self, number: u32) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        self.queue.retain(|request| (request.id >> RESPONSE_BITS) as u32 != number);
        for index in call.unfinished() {
            if let Some(engine) = &mut self.engine {
                engine.cancel(Self::request_id(number, index));
            }
            if let Err(fault) = call.end(index, Finish::Abort) {
                call.fail(fault);
                return;
            }
        }
        call.answer();
    }

    /// One scheduler step: a token for every running sequence. Gives what changed, for the caller's listeners.
    ///
    /// An error of the engine fails the calls, not the policy.
    pub fn step(&mut self, model: &Model<B>) -> Vec<NativeEvent> {
        match self.try_step(model) {
            Ok(events) => events,
            Err(fault) => {
                self.engine = None;
                self.pages = 0;
                self.fail_all(&fault);
                Vec::new()
            }
        }
    }

    /// Cached keys and values belong to the weights they were computed with.
    pub fn on_weights_changed(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.on_weights_changed();
        }
    }

    /// Test hook: breaks the equality of sampler and trainer from now on.
    pub fn plant_fault(&mut self, fault: PlantedFault) {
        self.fault = Some(fault);
        if let Some(engine) = &mut self.engine {
            engine.plant_fault(self.fault);
        }
    }

    /// Fails the call of one request and ends its other requests; other calls go on.
    fn fail(&mut self, request: u64, fault: Fault) {
        let number = (request >> RESPONSE_BITS) as u32;
        let Some(call) = self.calls.remove(&number) else { return };
        self.queue.retain(|request| (request.id >> RESPONSE_BITS) as u32 != number);
        if let Some(engine) = &mut self.engine {
            for index in call.unfinished() {
                engine.cancel(Self::request_id(number, index));
            }
        }
        call.fail(fault);
    }

    fn fail_all(&mut self, fault: &Fault) {
        self.queue.clear();
        for (_, call) in std::mem::take(&mut self.calls) {
            call.fail(fault.clone());
        }
    }

    fn try_step(&mut self, model: &Model<B>) -> Result<Vec<NativeEvent>> {
        self.admit(model)?;
        let engine = self.engine.as_mut().ok_or_else(|| Fault::internal("calls without an engine"))?;
        self.events.clear();
        self.events.extend_from_slice(engine.step(model)?);
        for id in engine.failed().to_vec() {
            self.fail(id, gradus_engine::Error::NotFinite { id }.into());
        }
        for index in 0..self.events.len() {
            let event = self.events[index];
            if let Err(fault) = self.take(&event) {
                self.fail(event.id, fault);
            }
        }
        let events = self.calls.values_mut().filter_map(Call::take_event).collect();
        let finished: Vec<u32> =
            self.calls.iter().filter(|(_, call)| call.is_finished()).map(|(&number, _)| number).collect();
        for call in finished.iter().filter_map(|number| self.calls.remove(number)) {
            call.answer();
        }
        Ok(events)
    }

    fn take(&mut self, event: &TokenEvent) -> Result<()> {
        let (number, index) = ((event.id >> RESPONSE_BITS) as u32, event.id as u32 as usize);
        let Some(call) = self.calls.get_mut(&number) else { return Ok(()) };
        let token = SampledToken {
            id: event.token,
            logprob: event.logprob,
            entropy: event.entropy,
            entropy_raw: event.entropy_raw,
            finish: event.finish.map(finish_of),
        };
        if call.push(index, &token)?
            && let Some(engine) = &mut self.engine
        {
            engine.cancel(event.id);
        }
        Ok(())
    }

    /// Hands queued requests to the engine, which is made larger first when it stands idle and they need it.
    fn admit(&mut self, model: &Model<B>) -> Result<()> {
        if self.queue.is_empty() {
            return Ok(());
        }
        let wanted: usize =
            self.queue.iter().map(|request| pages_needed(request.prompt.len(), request.max_tokens)).sum();
        let wanted = wanted.next_power_of_two().min(self.pages_max);
        let idle = self.engine.as_ref().is_none_or(Engine::is_idle);
        if idle && wanted > self.pages {
            // The old pages go first: both together might not fit.
            self.engine = None;
            self.pages = 0;
            let options = EngineOptions::of(model.backend.as_ref(), wanted);
            let mut engine = Engine::sharing(model, options, self.region.clone())?;
            engine.plant_fault(self.fault);
            self.engine = Some(engine);
            self.pages = wanted;
        }
        let Some(engine) = self.engine.as_mut() else { return Ok(()) };
        let mut refused = Vec::new();
        while let Some(request) = self.queue.pop_front() {
            if pages_needed(request.prompt.len(), request.max_tokens) > self.pages {
                // Waits until the engine stands idle and can be made larger.
                self.queue.push_front(request);
                break;
            }
            let id = request.id;
            if let Err(error) = engine.submit(request) {
                refused.push((id, Fault::from(error)));
            }
        }
        for (id, fault) in refused {
            self.fail(id, fault);
        }
        Ok(())
    }
}

fn finish_of(finish: gradus_engine::Finish) -> Finish {
    match finish {
        gradus_engine::Finish::Stop => Finish::Stop,
        gradus_engine::Finish::Length => Finish::Length,
        gradus_engine::Finish::Abort => Finish::Abort,
    }
}
