//! The tokenizer of a policy: `tokenizer.json` with its configuration and chat template, as they lie in a Hugging Face folder.

use crate::chat_template::{ChatConfig, Message};
use crate::{DecodeStream, Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokenizers::DecoderWrapper;

const TOKENIZER_FILE: &str = "tokenizer.json";
const CONFIG_FILE: &str = "tokenizer_config.json";
const TEMPLATE_FILE: &str = "chat_template.jinja";

/// Text <-> ids and the chat template. Cheap to clone; clones share one vocabulary.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

/// How the text of several tokens is made of their own.
#[derive(Clone, Copy)]
pub(crate) enum Joining {
    /// Byte by byte.
    Bytes,
    /// There is no decoder: with spaces between them.
    Words,
    /// As the tokenizer's decoder will have it.
    Decoder,
}

struct Inner {
    tokenizer: tokenizers::Tokenizer,
    joining: Joining,
    vocab_size: usize,
    chat: ChatConfig,
    /// The files as loaded, so that `save` and checkpoints carry them unchanged.
    files: Vec<(String, Vec<u8>)>,
    folder: PathBuf,
}

impl Tokenizer {
    /// Loads `tokenizer.json` of `folder` with `tokenizer_config.json` and `chat_template.jinja` where they exist;
    /// `None` when the folder has no `tokenizer.json`.
    pub fn from_folder(folder: &Path) -> Result<Option<Self>> {
        let Some(vocabulary) = read_if_there(folder, TOKENIZER_FILE)? else { return Ok(None) };
        let config = read_if_there(folder, CONFIG_FILE)?;
        let template = read_if_there(folder, TEMPLATE_FILE)?;
        Self::new(folder, vocabulary, config, template).map(Some)
    }

    /// Loads a tokenizer.json file (of any name), with `tokenizer_config.json` and `chat_template.jinja` beside it where they exist.
    pub fn from_file(path: &Path) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let vocabulary = std::fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        let config = read_if_there(folder, CONFIG_FILE)?;
        let template = read_if_there(folder, TEMPLATE_FILE)?;
        Self::new(folder, vocabulary, config, template)
    }

    fn new(folder: &Path, vocabulary: Vec<u8>, config: Option<Vec<u8>>, template: Option<Vec<u8>>) -> Result<Self> {
        let invalid = |reason: String| Error::Invalid { path: folder.join(TOKENIZER_FILE), reason };
        let mut tokenizer =
            tokenizers::Tokenizer::from_bytes(&vocabulary).map_err(|error| invalid(error.to_string()))?;
        // Settings saved by a training script must never cut or lengthen a prompt.
        tokenizer.with_truncation(None).map_err(|error| invalid(error.to_string()))?;
        tokenizer.with_padding(None);
        let vocab_size = tokenizer.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1);
        let joining = match tokenizer.get_decoder() {
            Some(DecoderWrapper::ByteLevel(_)) => Joining::Bytes,
            Some(_) => Joining::Decoder,
            None => Joining::Words,
        };
        let chat = ChatConfig::new(folder, config.as_deref(), template.as_deref())?;
        let mut files = vec![(TOKENIZER_FILE.to_string(), vocabulary)];
        files.extend(config.map(|bytes| (CONFIG_FILE.to_string(), bytes)));
        files.extend(template.map(|bytes| (TEMPLATE_FILE.to_string(), bytes)));
        let folder = folder.to_path_buf();
        let inner = Inner { tokenizer, joining, vocab_size, chat, files, folder };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Ids of `text`. Added tokens written in the text become their ids; `add_special` lets the post-processor add its own (BOS).
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let encoding = self.inner.tokenizer.encode_fast(text, add_special);
        Ok(encoding.map_err(|error| Error::Encode { reason: error.to_string() })?.get_ids().to_vec())
    }

    /// Text of `ids`. Ids beyond the tokenizer give nothing; `skip_special` leaves out special tokens.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.inner
            .tokenizer
            .decode(ids, skip_special)
            .map_err(|error| Error::Decode { tokens: ids.len(), reason: error.to_string() })
    }

    /// A stream that turns ids into text pieces as they are sampled.
    pub fn decode_stream(&self, skip_special: bool) -> DecodeStream {
        DecodeStream::new(self.clone(), skip_special)
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.tokenizer.token_to_id(token)
    }

    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.tokenizer.id_to_token(id)
    }

    /// One more than the highest id; a model's own vocabulary may be larger (padded), never smaller.
    pub fn vocab_size(&self) -> usize {
        self.inner.vocab_size
    }

    /// `eos_token` of tokenizer_config.json.
    pub fn eos_token(&self) -> Option<&str> {
        self.inner.chat.eos_token.as_deref()
    }

    /// The text of a conversation by the model's own chat template. The text already holds the special tokens: encode it without `add_special`.
    pub fn apply_chat_template(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let folder = || self.inner.folder.clone();
        let rendered = self.inner.chat.render(messages, add_generation_prompt);
        rendered
            .ok_or_else(|| Error::NoChatTemplate { folder: folder() })?
            .map_err(|reason| Error::ChatTemplate { folder: folder(), reason })
    }

    /// Name and content of every file that was loaded: what `save` writes beside the weights.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        self.inner.files.clone()
    }

    pub(crate) fn joining(&self) -> Joining {
        self.inner.joining
    }

    pub(crate) fn is_special(&self, token: &str) -> bool {
        self.inner.tokenizer.get_added_vocabulary().is_special_token(token)
    }
}

/// The content of a file that may be absent.
fn read_if_there(folder: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let path = folder.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path, source }),
    }
}
