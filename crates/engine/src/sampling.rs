//! How the tokens of one request are drawn: what a caller may ask for, and what the engine keeps of it from token to token.
//!
//! Order of effects, as in vLLM and transformers: logit bias, repetition penalty, frequency and presence penalty; then temperature; then
//! top-k, top-p and min-p. Logprobs and entropies that are reported know none of them but the temperature.

use crate::{Error, Request, Result, inverse_temperature, is_temperature};
use gradus_model::{LogitAdjustment, SampleLimits, SampleRow};
use std::collections::HashMap;

/// Largest magnitude of a bias or of a presence or frequency penalty: nothing that a logit could be added to overflows.
const CHANGE_MAX: f64 = 1e4;

/// What a request may ask for beside its temperature. By default tokens are drawn from the whole distribution as the model gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingOptions {
    /// Draws from this many of the likeliest tokens, the lower id where equal; 0 from all.
    pub top_k: u32,
    /// Draws from the fewest likeliest tokens (of what top-k leaves) whose share is at least this; 1 from all.
    pub top_p: f64,
    /// Draws from tokens with at least this fraction of the likeliest one's probability; 0 from all.
    pub min_p: f64,
    /// Divides positive and multiplies other logits of tokens in prompt and response; 1 leaves them.
    pub repetition_penalty: f64,
    /// Taken from the logit of each token that is in the response.
    pub presence_penalty: f64,
    /// Taken from the logit of each token once for each time that it is in the response.
    pub frequency_penalty: f64,
    /// (token, added to its logit); −inf forbids the token. Each token once.
    pub logit_bias: Vec<(u32, f64)>,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
        }
    }
}

impl SamplingOptions {
    /// Refuses what lies outside of the ranges above, by name: before the request is submitted, or as it is.
    pub fn check(&self, vocab_size: usize) -> Result<()> {
        let refuse = |option, value, expected| Err(Error::Sampling { option, value, expected });
        if !(rounded_down(self.top_p) > 0.0 && self.top_p <= 1.0) {
            return refuse("top_p", self.top_p, "a number above 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return refuse("min_p", self.min_p, "a number from 0 to 1");
        }
        if !(0.01..=100.0).contains(&self.repetition_penalty) {
            return refuse("repetition_penalty", self.repetition_penalty, "a number from 0.01 to 100");
        }
        for (option, value) in
            [("presence_penalty", self.presence_penalty), ("frequency_penalty", self.frequency_penalty)]
        {
            if !(-CHANGE_MAX..=CHANGE_MAX).contains(&value) {
                return refuse(option, value, "a number from -10000 to 10000");
            }
        }
        for &(token, bias) in &self.logit_bias {
            if token as usize >= vocab_size {
                return Err(Error::UnknownBias { token, vocab_size });
            }
            if !(-CHANGE_MAX..=CHANGE_MAX).contains(&bias) && bias != f64::NEG_INFINITY {
                return refuse("logit_bias", bias, "a number from -10000 to 10000, or -Infinity to forbid the token");
            }
        }
        if self.logit_bias.iter().filter(|(_, bias)| bias.is_infinite()).count() >= vocab_size {
            return Err(Error::AllForbidden);
        }
        Ok(())
    }

    /// Whether tokens are drawn from the whole distribution, and it is the model's own.
    pub fn is_plain(&self) -> bool {
        *self == SamplingOptions::default()
    }

    fn changes_logits(&self) -> bool {
        let penalties = (self.repetition_penalty, self.presence_penalty, self.frequency_penalty);
        penalties != (1.0, 0.0, 0.0) || !self.logit_bias.is_empty()
    }
}

/// The nearest f32 that is not larger, so that 0.6 keeps six of ten equal tokens and not seven.
fn rounded_down(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest) > value { nearest.next_down() } else { nearest }
}

/// The state of one request's draws.
pub(crate) struct Sampler {
    inv_t: f32,
    greedy: bool,
    key: u64,
    stream: u64,
    limits: SampleLimits,
    /// None where no logit ever changes.
    changes: Option<LogitChanges>,
}

impl Sampler {
    /// Refuses what has no meaning, by name.
    pub fn new(request: &Request, vocab_size: usize) -> Result<Self> {
        let &Request { id, temperature, key, stream, ref sampling, .. } = request;
        let inv_t = inverse_temperature(temperature);
        if !is_temperature(temperature) {
            return Err(Error::Temperature { id, temperature });
        }
        sampling.check(vocab_size)?;
        let (top_p, min_p) = (rounded_down(sampling.top_p), rounded_down(sampling.min_p));
        let limits = SampleLimits { top_k: sampling.top_k, top_p, min_p };
        let changes = sampling.changes_logits().then(|| LogitChanges::new(request, vocab_size));
        Ok(Self { inv_t, greedy: temperature == 0.0, key, stream, limits, changes })
    }

    pub fn row(&self, position: u32) -> SampleRow {
        let &Self { inv_t, greedy, key, stream, limits, .. } = self;
        SampleRow { inv_t, greedy, key, stream, position, limits }
    }

    /// The logits that change before the next draw.
    pub fn adjustments(&self) -> &[LogitAdjustment] {
        self.changes.as_ref().map_or(&[], |changes| &changes.entries)
    }

    /// The most logits that ever change before one draw.
    pub fn adjustments_max(&self) -> usize {
        self.changes.as_ref().map_or(0, |changes| changes.entries.capacity())
    }

    /// Takes note of a drawn token.
    pub fn push(&mut self, token: u32) {
        if let Some(changes) = &mut self.changes {
            changes.push(token);
        }
    }
}

/// The changed logits of one request, one entry a token.
struct LogitChanges {
    repetition_penalty: f32,
    presence_penalty: f64,
    frequency_penalty: f64,
    entries: Vec<LogitAdjustment>,
    /// How often each entry's token is in the response.
    counts: Vec<u32>,
    /// Where each token's entry is.
    places: HashMap<u32, usize>,
}

impl LogitChanges {
    fn new(request: &Request, vocab_size: usize) -> Self {
        let Request { prompt, max_tokens, sampling, .. } = request;
        // Room for all that the response can bring.
        let room = (prompt.len() + max_tokens + sampling.logit_bias.len()).min(vocab_size);
        let mut changes = Self {
            repetition_penalty: sampling.repetition_penalty as f32,
            presence_penalty: sampling.presence_penalty,
            frequency_penalty: sampling.frequency_penalty,
            entries: Vec::with_capacity(room),
            counts: Vec::with_capacity(room),
            places: HashMap::with_capacity(room),
        };
        for &(token, bias) in &sampling.logit_bias {
            let place = changes.place(token);
            changes.entries[place].bias = bias as f32;
        }
        if changes.repetition_penalty != 1.0 {
            for &token in prompt {
                let place = changes.place(token);
                changes.entries[place].repetition_penalty = changes.repetition_penalty;
            }
        }
        changes
    }

    fn push(&mut self, token: u32) {
        if (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) == (1.0, 0.0, 0.0) {
            return;
        }
        let place = self.place(token);
        self.counts[place] += 1;
        let entry = &mut self.entries[place];
        entry.repetition_penalty = self.repetition_penalty;
        entry.reduction = (self.presence_penalty + self.frequency_penalty * f64::from(self.counts[place])) as f32;
    }

    /// The token's entry, a new one if it had none.
    fn place(&mut self, id: u32) -> usize {
        let Self { entries, counts, places, .. } = self;
        *places.entry(id).or_insert_with(|| {
            entries.push(LogitAdjustment { id, bias: 0.0, repetition_penalty: 1.0, reduction: 0.0 });
            counts.push(0);
            entries.len() - 1
        })
    }
}
