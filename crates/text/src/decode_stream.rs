//! Sampled ids -> text pieces, one id at a time: stands between the engine's token events and what a caller sees.

use crate::tokenizer::Joining;
use crate::{Result, Tokenizer};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Tokens after which a text that still ends in U+FFFD is taken as it is: no character is longer than four bytes.
const PENDING_TOKENS_MAX: usize = 4;

/// Turns ids into text pieces. A piece never ends inside a UTF-8 character; ids that the tokenizer does not have give "".
///
/// For byte-level tokenizers and those without a decoder the pieces and [`DecodeStream::finish`] together equal [`Tokenizer::decode`] of all ids, whatever bytes
/// were sampled. Other decoders look at neighbouring tokens: there it holds for text that is valid UTF-8.
#[derive(Clone)]
pub struct DecodeStream {
    tokenizer: Tokenizer,
    skip_special: bool,
    state: State,
}

#[derive(Clone)]
enum State {
    /// Bytes of a character whose end is not there yet.
    Bytes(Vec<u8>),
    /// A tokenizer without a decoder: its tokens are words with a space between them.
    Words { is_first: bool },
    /// Ids whose text has been given, as context for the ids whose text is pending.
    Window { context: Vec<u32>, pending: Vec<u32> },
}

impl DecodeStream {
    pub(crate) fn new(tokenizer: Tokenizer, skip_special: bool) -> Self {
        let state = match tokenizer.joining() {
            Joining::Bytes => State::Bytes(Vec::new()),
            Joining::Words => State::Words { is_first: true },
            Joining::Decoder => State::Window { context: Vec::new(), pending: Vec::new() },
        };
        Self { tokenizer, skip_special, state }
    }

    /// The text that this id completes; "" while a character is incomplete and for ids beyond the tokenizer.
    pub fn push(&mut self, id: u32) -> Result<String> {
        let Some(token) = self.tokenizer.id_to_token(id) else { return Ok(String::new()) };
        if self.skip_special && self.tokenizer.is_special(&token) {
            return Ok(String::new());
        }
        match &mut self.state {
            State::Bytes(bytes) => {
                append_token_bytes(&token, bytes);
                Ok(take_whole_characters(bytes))
            }
            State::Words { is_first } => Ok(if std::mem::take(is_first) { token } else { format!(" {token}") }),
            State::Window { context, pending } => {
                pending.push(id);
                let text = window_text(&self.tokenizer, context, pending)?;
                if text.ends_with('\u{FFFD}') && pending.len() < PENDING_TOKENS_MAX {
                    return Ok(String::new());
                }
                *context = std::mem::take(pending);
                Ok(text)
            }
        }
    }

    /// The rest of the text when no more ids come: an incomplete character becomes U+FFFD, as in [`Tokenizer::decode`].
    pub fn finish(&mut self) -> Result<String> {
        match &mut self.state {
            State::Bytes(bytes) => Ok(String::from_utf8_lossy(&std::mem::take(bytes)).into_owned()),
            State::Words { .. } => Ok(String::new()),
            State::Window { context, pending } => {
                let text = window_text(&self.tokenizer, context, pending)?;
                *context = std::mem::take(pending);
                Ok(text)
            }
        }
    }
}

/// What `pending` adds to the text of `context`.
fn window_text(tokenizer: &Tokenizer, context: &[u32], pending: &[u32]) -> Result<String> {
    // Special tokens were left out before; decoding with them keeps one rule for both.
    let before = tokenizer.decode(context, false)?;
    let whole = tokenizer.decode(&[context, pending].concat(), false)?;
    // A decoder may rewrite the context (a byte run that became invalid): then only what is longer is new.
    let common = before.bytes().zip(whole.bytes()).take_while(|(left, right)| left == right).count();
    let start = if common == before.len() { common } else { whole.floor_char_boundary(before.len().min(whole.len())) };
    Ok(whole[start..].to_string())
}

/// The bytes that a byte-level token stands for; a token with a character outside the byte alphabet (an added token) stands for itself.
fn append_token_bytes(token: &str, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    for character in token.chars() {
        if let Some(&byte) = BYTE_OF_CHARACTER.get(&character) {
            bytes.push(byte);
        } else {
            bytes.truncate(start);
            bytes.extend_from_slice(token.as_bytes());
            return;
        }
    }
}

/// Removes and returns all characters that are complete; invalid bytes become U+FFFD as in `String::from_utf8_lossy`.
fn take_whole_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut taken = 0;
    loop {
        match std::str::from_utf8(&bytes[taken..]) {
            Ok(valid) => {
                text.push_str(valid);
                taken = bytes.len();
                break;
            }
            Err(error) => {
                let valid_end = taken + error.valid_up_to();
                text.push_str(&String::from_utf8_lossy(&bytes[taken..valid_end]));
                let Some(invalid) = error.error_len() else {
                    taken = valid_end;
                    break;
                };
                text.push('\u{FFFD}');
                taken = valid_end + invalid;
            }
        }
    }
    bytes.drain(..taken);
    text
}

/// GPT-2's byte alphabet: printable Latin-1 stands for itself, the other bytes for characters from U+0100 in order.
static BYTE_OF_CHARACTER: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    let mut shifted = 0x100;
    (0..=255u8)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => (char::from(byte), byte),
            _ => {
                let character = char::from_u32(shifted).expect("U+0100 to U+0143 are characters");
                shifted += 1;
                (character, byte)
            }
        })
        .collect()
});
