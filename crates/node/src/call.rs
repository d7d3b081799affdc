//! One `generate` or `rollout` call: its prompts, its growing responses, and the answer when the last one has ended.

use crate::batch_data::{BatchData, Rollout, RolloutColumns};
use crate::fault::{Fault, Result};
use crate::inputs::Sampling;
use crate::outputs::{NativeEnded, NativeEvent, NativePiece};
use crate::reply::Reply;
use crate::response::{Finish, Response};
use gradus_engine::inverse_temperature;
use gradus_model::TokenBatch;

/// A prompt as token ids, with the name it has in random streams and records.
pub struct EncodedPrompt {
    pub tokens: Vec<u32>,
    pub id: Option<String>,
}

/// Who waits, and for which form of the responses.
pub enum Waiting {
    Completions(Reply<Vec<Response>>),
    Rollouts(Reply<BatchData>),
}

/// What JavaScript listens to while the call runs.
struct Sends {
    progress: bool,
    pieces: bool,
    ended: bool,
}

/// Responses are in the order of prompts, n a prompt.
pub struct Call {
    number: u32,
    n: usize,
    temperature: f64,
    prompts: Vec<EncodedPrompt>,
    responses: Vec<Response>,
    waiting: Waiting,
    sends: Sends,
    tokens: u32,
    finished: u32,
    /// New text since the last event.
    pieces: Vec<NativePiece>,
    /// Responses that ended since the last event.
    ended: Vec<NativeEnded>,
    changed: bool,
}

/// One token as the engine sampled it.
pub struct SampledToken {
    pub id: u32,
    pub logprob: f32,
    pub entropy: f32,
    pub entropy_raw: f32,
    /// The engine's own end of the response with this token.
    pub finish: Option<Finish>,
}

impl Call {
    pub fn new(sampling: &Sampling, prompts: Vec<EncodedPrompt>, responses: Vec<Response>, waiting: Waiting) -> Self {
        Self {
            number: sampling.call.number,
            n: sampling.n,
            temperature: sampling.temperature,
            prompts,
            responses,
            waiting,
            sends: Sends { progress: sampling.progress, pieces: sampling.pieces, ended: sampling.ended },
            tokens: 0,
            finished: 0,
            pieces: Vec::new(),
            ended: Vec::new(),
            changed: false,
        }
    }

    pub fn is_rollout(&self) -> bool {
        matches!(self.waiting, Waiting::Rollouts(_))
    }

    pub fn is_finished(&self) -> bool {
        self.finished as usize == self.responses.len()
    }

    /// Indices of the responses that have not ended.
    pub fn unfinished(&self) -> Vec<usize> {
        (0..self.responses.len()).filter(|&index| self.responses[index].finish.is_none()).collect()
    }

    /// Adds one token to a response; true when a stop string has ended it and the engine must be told.
    pub fn push(&mut self, index: usize, token: &SampledToken) -> Result<bool> {
        let response = &mut self.responses[index];
        if response.finish.is_some() {
            return Ok(false);
        }
        response.tokens.push(token.id);
        response.logprobs.push(token.logprob);
        response.entropies.push(token.entropy);
        response.entropies_raw.push(token.entropy_raw);
        self.tokens += 1;
        self.changed = true;
        if token.finish == Some(Finish::Stop) {
            // The end token counts as a token and is no text.
            self.end(index, Finish::Stop)?;
            return Ok(false);
        }
        let (text, stopped) = response.push_text(token.id)?;
        self.note_piece(index, text);
        if stopped {
            self.end(index, Finish::Stop)?;
        } else if let Some(finish) = token.finish {
            self.end(index, finish)?;
        }
        Ok(stopped && token.finish.is_none())
    }

    /// Ends a response that has not ended.
    pub fn end(&mut self, index: usize, finish: Finish) -> Result<()> {
        let rest = self.responses[index].end(finish)?;
        self.note_piece(index, rest);
        self.note_ended(index, finish);
        self.finished += 1;
        self.changed = true;
        Ok(())
    }

    /// An aborted response is not told of: its call is over.
    fn note_ended(&mut self, index: usize, finish: Finish) {
        if self.sends.ended && finish != Finish::Abort {
            let Response { text, tokens, .. } = &self.responses[index];
            self.ended.push(NativeEnded {
                index: index as u32,
                text: text.clone(),
                length: tokens.len() as u32,
                finish_reason: finish.name().to_string(),
            });
        }
    }

    fn note_piece(&mut self, index: usize, text: String) {
        if self.sends.pieces && !text.is_empty() {
            self.pieces.push(NativePiece { index: index as u32, text });
        }
    }

    /// What changed since the last event, where somebody listens to it.
    pub fn take_event(&mut self) -> Option<NativeEvent> {
        let has_progress = std::mem::take(&mut self.changed) && self.sends.progress;
        let is_awaited = has_progress || !self.pieces.is_empty() || !self.ended.is_empty();
        is_awaited.then(|| NativeEvent {
            call: self.number,
            tokens: self.tokens,
            finished: self.finished,
            total: self.responses.len() as u32,
            pieces: std::mem::take(&mut self.pieces),
            ended: std::mem::take(&mut self.ended),
        })
    }

    /// Answers with the responses, all of which have ended.
    pub fn answer(self) {
        match self.waiting {
            Waiting::Completions(reply) => reply.send(Ok(self.responses)),
            Waiting::Rollouts(reply) => {
                reply.send(rollout_batch(self.n, self.temperature, &self.prompts, self.responses));
            }
        }
    }

    pub fn fail(self, fault: Fault) {
        match self.waiting {
            Waiting::Completions(reply) => reply.send(Err(fault)),
            Waiting::Rollouts(reply) => reply.send(Err(fault)),
        }
    }
}

/// Packs prompts with their responses, one sequence a rollout.
fn rollout_batch(n: usize, temperature: f64, prompts: &[EncodedPrompt], responses: Vec<Response>) -> Result<BatchData> {
    if responses.iter().any(|response| response.finish == Some(Finish::Abort)) {
        return Err(Fault::new("aborted", "the rollout was aborted before every response had ended"));
    }
    let (mut tokens, mut cu_seqlens, mut targets) = (Vec::new(), vec![0], Vec::new());
    let mut columns = RolloutColumns {
        temperature,
        logprobs: Vec::new(),
        entropies: Vec::new(),
        entropies_raw: Vec::new(),
        rollouts: Vec::with_capacity(responses.len()),
        trained: std::sync::Mutex::default(),
    };
    for (index, response) in responses.into_iter().enumerate() {
        let prompt = &prompts[index / n];
        tokens.extend_from_slice(&prompt.tokens);
        let start = tokens.len() as u32;
        tokens.extend_from_slice(&response.tokens);
        targets.extend(start..tokens.len() as u32);
        cu_seqlens.push(tokens.len() as u32);
        columns.logprobs.extend_from_slice(&response.logprobs);
        columns.entropies.extend_from_slice(&response.entropies);
        columns.entropies_raw.extend_from_slice(&response.entropies_raw);
        columns.rollouts.push(Rollout {
            prompt_index: index / n,
            index: index % n,
            prompt_id: prompt.id.clone(),
            prompt_length: prompt.tokens.len(),
            length: response.tokens.len(),
            text: response.text,
            finish_reason: response.finish.map_or("length", Finish::name),
        });
    }
    let inv_t = inverse_temperature(temperature);
    Ok(BatchData { tokens: TokenBatch { tokens, cu_seqlens }, targets, inv_t, rollouts: Some(columns) })
}
