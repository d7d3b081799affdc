//! Packed sequences: what training and scoring run over.

use crate::{Error, ModelConfig, Result};

/// Sequences one after another without padding; sequence i is `tokens[cu_seqlens[i]..cu_seqlens[i + 1]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenBatch {
    pub tokens: Vec<u32>,
    /// Cumulative sequence lengths, from 0 to `tokens.len()`: one more than there are sequences.
    pub cu_seqlens: Vec<u32>,
}

impl TokenBatch {
    /// Packs `sequences`.
    pub fn pack<S: AsRef<[u32]>>(sequences: impl IntoIterator<Item = S>) -> TokenBatch {
        let mut batch = TokenBatch { tokens: Vec::new(), cu_seqlens: vec![0] };
        for sequence in sequences {
            batch.tokens.extend_from_slice(sequence.as_ref());
            batch.cu_seqlens.push(batch.tokens.len() as u32);
        }
        batch
    }

    pub fn sequences(&self) -> usize {
        self.cu_seqlens.len().saturating_sub(1)
    }

    /// Position of each token in its sequence.
    pub(crate) fn positions(&self) -> impl Iterator<Item = u32> {
        self.cu_seqlens.windows(2).flat_map(|ends| 0..ends[1] - ends[0])
    }

    /// Refuses what the ops take for granted: whole, not empty sequences of known ids, none longer than the rope table.
    pub(crate) fn check(&self, config: &ModelConfig) -> Result<()> {
        let refuse = |reason: String| Err(Error::invalid("token batch", reason));
        let ends = &self.cu_seqlens;
        if ends.len() < 2 || ends[0] != 0 || ends.last() != Some(&(self.tokens.len() as u32)) {
            return refuse(format!(
                "cu_seqlens must go from 0 to the number of tokens, {}, found {ends:?}",
                self.tokens.len()
            ));
        }
        for (sequence, pair) in ends.windows(2).enumerate() {
            if pair[0] >= pair[1] {
                return refuse(format!("sequence {sequence} is empty or ends before it begins; leave it out"));
            }
            if (pair[1] - pair[0]) as usize > config.max_position_embeddings {
                let (tokens, limit) = (pair[1] - pair[0], config.max_position_embeddings);
                return refuse(format!(
                    "sequence {sequence} has {tokens} tokens, more than max_position_embeddings = {limit}"
                ));
            }
        }
        check_ids(&self.tokens, config)
    }
}

pub(crate) fn check_ids(tokens: &[u32], config: &ModelConfig) -> Result<()> {
    match tokens.iter().find(|&&id| id as usize >= config.vocab_size) {
        Some(id) => Err(Error::invalid("tokens", format!("id {id} is not below vocab_size = {}", config.vocab_size))),
        None => Ok(()),
    }
}
