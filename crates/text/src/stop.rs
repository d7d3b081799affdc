//! Stop strings across token borders: stands behind the decode stream, before text reaches a caller.

use crate::{Error, Result};

/// Watches a stream of text pieces for stop strings.
///
/// The match that is complete first wins (of those the longest), so the result does not depend on how the text was cut into pieces.
#[derive(Clone, Debug)]
pub struct StopMatcher {
    stops: Vec<String>,
    /// Text that may be the beginning of a stop string: not yet safe to emit.
    held: String,
    stopped: bool,
}

/// What one piece of text added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopStep {
    /// Text that is now safe to emit; never any part of a stop string.
    pub text: String,
    /// A stop string is complete: the response ends after `text`.
    pub stopped: bool,
}

impl StopMatcher {
    /// A matcher for any of `stops`; an empty stop string is refused.
    pub fn new(stops: &[String]) -> Result<Self> {
        if let Some(index) = stops.iter().position(String::is_empty) {
            return Err(Error::EmptyStop { index });
        }
        Ok(Self { stops: stops.to_vec(), held: String::new(), stopped: false })
    }

    /// Adds a piece of text. After a stop string every further piece gives empty text.
    pub fn push(&mut self, piece: &str) -> StopStep {
        if self.stopped {
            return StopStep { text: String::new(), stopped: true };
        }
        self.held.push_str(piece);
        if let Some(start) = self.first_match() {
            self.stopped = true;
            self.held.truncate(start);
            return StopStep { text: std::mem::take(&mut self.held), stopped: true };
        }
        let rest = self.held.split_off(self.safe_len());
        StopStep { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// The text still held back, when the response has ended for another reason.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Start of the stop string whose end comes first; of those ending there, the earliest start.
    fn first_match(&self) -> Option<usize> {
        let matches = self.stops.iter().filter_map(|stop| self.held.find(stop).map(|at| (at + stop.len(), at)));
        matches.min().map(|(_, start)| start)
    }

    /// Bytes of the held text before the earliest suffix that a stop string begins with.
    fn safe_len(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let earliest = self.held.len().saturating_sub(longest);
        (earliest..self.held.len())
            .filter(|&at| self.held.is_char_boundary(at))
            .find(|&at| self.stops.iter().any(|stop| stop.starts_with(&self.held[at..])))
            .unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Emitted text and whether it stopped, for `text` cut into pieces of `width` characters.
    fn run(stops: &[&str], text: &str, width: usize) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
        let mut matcher = StopMatcher::new(&stops).unwrap();
        let characters: Vec<char> = text.chars().collect();
        let mut emitted = String::new();
        for piece in characters.chunks(width) {
            let step = matcher.push(&piece.iter().collect::<String>());
            emitted.push_str(&step.text);
            if step.stopped {
                return (emitted, true);
            }
        }
        emitted.push_str(&matcher.finish());
        (emitted, false)
    }

    #[test]
    fn result_does_not_depend_on_the_pieces() {
        let cases: [(&[&str], &str, (&str, bool)); 8] = [
            (&["END"], "one ENEND two", ("one EN", true)),
            (&["END"], "one EN", ("one EN", false)),
            (&["abcd", "bc"], "xabcdy", ("xa", true)),
            (&["abc", "bc"], "xabcdy", ("x", true)),
            (&["aab"], "aaaab", ("aa", true)),
            (&["é!", "\n\n"], "caféé!x", ("café", true)),
            (&["\n\n"], "a\nb\n\nc", ("a\nb", true)),
            (&[], "anything", ("anything", false)),
        ];
        for (stops, text, (expected, stopped)) in cases {
            for width in 1..=text.chars().count() {
                assert_eq!(run(stops, text, width), (expected.to_string(), stopped), "{stops:?} {text:?} {width}");
            }
        }
    }

    #[test]
    fn nothing_comes_after_a_stop_and_empty_stops_are_refused() {
        let mut matcher = StopMatcher::new(&["X".to_string()]).unwrap();
        assert_eq!(matcher.push("aXb"), StopStep { text: "a".to_string(), stopped: true });
        assert_eq!(matcher.push("c"), StopStep { text: String::new(), stopped: true });
        assert_eq!(matcher.finish(), "");
        let message = StopMatcher::new(&["a".to_string(), String::new()]).unwrap_err().to_string();
        assert!(message.starts_with("stop string 1 is empty"), "{message}");
    }
}
