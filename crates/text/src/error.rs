//! What can go wrong between text and ids: each message names the file or the value, and the remedy.

use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {reason}", path.display())]
    Invalid { path: PathBuf, reason: String },
    #[error("cannot encode the text: {reason}")]
    Encode { reason: String },
    #[error("cannot decode {tokens} token ids: {reason}")]
    Decode { tokens: usize, reason: String },
    #[error(
        "{} has no chat template (neither chat_template.jinja nor `chat_template` in tokenizer_config.json): \
         add one, or give the prompt as text or token ids",
        folder.display()
    )]
    NoChatTemplate { folder: PathBuf },
    #[error("the chat template of {} refused the messages: {reason}", folder.display())]
    ChatTemplate { folder: PathBuf, reason: String },
    #[error("stop string {index} is empty: remove it, an empty string would stop every response at once")]
    EmptyStop { index: usize },
}
