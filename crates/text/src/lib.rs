//! Text <-> token ids: the first and the last station of a prompt's way through the engine.
//!
//! [`Tokenizer`] reads a Hugging Face folder (`tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`),
//! [`DecodeStream`] turns sampled ids into text pieces as they come, [`StopMatcher`] cuts text at stop strings.

mod chat_template;
mod decode_stream;
mod error;
mod stop;
mod strftime;
mod tokenizer;

pub use chat_template::Message;
pub use decode_stream::DecodeStream;
pub use error::{Error, Result};
pub use stop::{StopMatcher, StopStep};
pub use tokenizer::Tokenizer;
