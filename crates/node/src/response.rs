//! One response as it grows: its tokens with what the sampler knows of them, and its text with stop strings cut off.

use crate::fault::Result;
use gradus_text::{DecodeStream, StopMatcher, Tokenizer};

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    Stop,
    Length,
    Abort,
}

impl Finish {
    pub fn name(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::Abort => "abort",
        }
    }
}

/// Tokens and text of one response.
pub struct Response {
    pub tokens: Vec<u32>,
    pub logprobs: Vec<f32>,
    pub entropies: Vec<f32>,
    pub entropies_raw: Vec<f32>,
    pub text: String,
    pub finish: Option<Finish>,
    /// None without a tokenizer: then the text stays "".
    text_stream: Option<TextStream>,
}

struct TextStream {
    decoder: DecodeStream,
    stops: StopMatcher,
}

impl Response {
    pub fn new(tokenizer: Option<&Tokenizer>, stop: &[String]) -> Result<Self> {
        let text_stream = match tokenizer {
            Some(tokenizer) => {
                Some(TextStream { decoder: tokenizer.decode_stream(true), stops: StopMatcher::new(stop)? })
            }
            None => None,
        };
        Ok(Self {
            tokens: Vec::new(),
            logprobs: Vec::new(),
            entropies: Vec::new(),
            entropies_raw: Vec::new(),
            text: String::new(),
            finish: None,
            text_stream,
        })
    }

    /// Takes the text of one more token; gives the part that is now certain, and whether a stop string is complete.
    pub fn push_text(&mut self, token: u32) -> Result<(String, bool)> {
        let Some(stream) = &mut self.text_stream else { return Ok((String::new(), false)) };
        let step = stream.stops.push(&stream.decoder.push(token)?);
        self.text.push_str(&step.text);
        Ok((step.text, step.stopped))
    }

    /// Ends the response; gives the text that was still held back.
    pub fn end(&mut self, finish: Finish) -> Result<String> {
        self.finish = Some(finish);
        let Some(mut stream) = self.text_stream.take() else { return Ok(String::new()) };
        let rest = stream.stops.push(&stream.decoder.finish()?);
        let held = stream.stops.finish();
        let piece = rest.text + &held;
        self.text.push_str(&piece);
        Ok(piece)
    }
}
