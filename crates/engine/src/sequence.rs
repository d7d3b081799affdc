//! A sequence in the scheduler: prompt and sampled tokens, and how far the KV cache holds them.

use crate::prefix::PrefixKey;
use gradus_ops::PAGE_TOKENS;

/// The part of a request that decides scheduling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceRequest {
    pub id: u64,
    pub prompt: Vec<u32>,
    pub max_tokens: usize,
    pub stop_tokens: Vec<u32>,
    pub group: Option<u64>,
}

/// Why a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// A stop token was sampled.
    Stop,
    /// max_tokens were sampled.
    Length,
    /// The request was cancelled.
    Abort,
}

/// A sampled token taken into its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub id: u64,
    pub token: u32,
    pub finish: Option<Finish>,
}

#[derive(Debug)]
pub(crate) struct Sequence {
    pub id: u64,
    /// Prompt and sampled tokens.
    pub tokens: Vec<u32>,
    pub prompt_len: usize,
    /// Tokens at which the response ends for its length.
    pub tokens_max: usize,
    pub stop_tokens: Vec<u32>,
    pub prefix: Option<PrefixKey>,
    /// Tokens whose keys and values are in the cache.
    pub cached: usize,
    /// Pages in order of position.
    pub pages: Vec<u32>,
}

impl Sequence {
    pub fn new(request: SequenceRequest, prefix: Option<PrefixKey>) -> Self {
        let prompt_len = request.prompt.len();
        Self {
            id: request.id,
            tokens: request.prompt,
            prompt_len,
            tokens_max: prompt_len + request.max_tokens,
            stop_tokens: request.stop_tokens,
            prefix,
            cached: 0,
            pages: Vec::new(),
        }
    }

    /// Pages at its longest; the last token of a response is never fed.
    pub fn pages_max(&self) -> usize {
        (self.tokens_max - 1).div_ceil(PAGE_TOKENS)
    }

    /// Makes room for the whole response, so that no later step allocates.
    pub fn reserve(&mut self) {
        self.tokens.reserve_exact(self.tokens_max - self.tokens.len());
        self.pages.reserve_exact(self.pages_max().saturating_sub(self.pages.len()));
    }

    pub fn sampled(&self) -> usize {
        self.tokens.len() - self.prompt_len
    }

    /// Tokens still to be fed before the next one can be sampled; 1 is a decode step, more is prefill.
    pub fn pending(&self) -> usize {
        self.tokens.len() - self.cached
    }

    /// Takes a sampled token; says whether the response ends with it.
    pub fn push(&mut self, token: u32) -> Option<Finish> {
        self.tokens.push(token);
        if self.stop_tokens.contains(&token) {
            Some(Finish::Stop)
        } else if self.tokens.len() >= self.tokens_max {
            Some(Finish::Length)
        } else {
            None
        }
    }

    /// Where the key and value of a position go.
    pub fn slot(&self, position: usize) -> u32 {
        self.pages[position / PAGE_TOKENS] * PAGE_TOKENS as u32 + (position % PAGE_TOKENS) as u32
    }
}
