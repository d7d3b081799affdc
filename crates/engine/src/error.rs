//! Requests and options that are refused; each message names the value, the limit and the remedy.

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("request {id}: the prompt is empty; give at least one token")]
    EmptyPrompt { id: u64 },
    #[error("request {id}: max_tokens is 0; ask for at least one token")]
    NoTokens { id: u64 },
    #[error("request {id}: prompt token {index} is {token}, ids must be below vocab_size = {vocab_size}")]
    UnknownToken { id: u64, index: usize, token: u32, vocab_size: usize },
    #[error(
        "request {id}: {prompt} prompt tokens + max_tokens {max_tokens} exceed max_position_embeddings = {limit}; \
         shorten the prompt or lower max_tokens"
    )]
    TooLong { id: u64, prompt: usize, max_tokens: usize, limit: usize },
    #[error(
        "request {id} needs {needed} KV pages, there are {available} in all; \
         shorten it or give the engine more pages"
    )]
    TooLarge { id: u64, needed: usize, available: usize },
    #[error("request {id}: temperature is {temperature}, expected 0 (greedy) or a number from 0.0001 to 1e30")]
    Temperature { id: u64, temperature: f64 },
    #[error("{option} is {value}, expected {expected}")]
    Sampling { option: &'static str, value: f64, expected: &'static str },
    #[error("logit_bias names token {token}, ids must be below vocab_size = {vocab_size}")]
    UnknownBias { token: u32, vocab_size: usize },
    #[error("logit_bias forbids every token; leave at least one")]
    AllForbidden,
    #[error("request {id} is still running; give each request its own id")]
    DuplicateId { id: u64 },
    #[error("request {id}: nothing can be drawn, its logits are not finite; the weights are damaged, load them again")]
    NotFinite { id: u64 },
    #[error("engine option {option} is 0; give at least 1")]
    Options { option: &'static str },
    #[error(transparent)]
    Model(#[from] gradus_model::Error),
}
