//! A batch to train on, kept in Rust between the rollout, the step and the record: what a JavaScript batch handle points to.

use crate::fault::{Fault, Result};
use gradus_model::TokenBatch;
use std::sync::{Mutex, PoisonError};

/// Packed sequences and which of their tokens carry loss.
pub struct BatchData {
    pub tokens: TokenBatch,
    /// Index in the packed batch of every token that may carry loss, ascending. The logits of the token before predict it.
    pub targets: Vec<u32>,
    /// 1/T of the rollouts; 1 for given sequences.
    pub inv_t: f32,
    /// Only of rollouts.
    pub rollouts: Option<RolloutColumns>,
}

/// What the sampler knows of each response token and each rollout.
pub struct RolloutColumns {
    pub temperature: f64,
    /// One entry per response token, in the order of `targets`.
    pub logprobs: Vec<f32>,
    pub entropies: Vec<f32>,
    pub entropies_raw: Vec<f32>,
    pub rollouts: Vec<Rollout>,
    /// 1 for each response token that had weight in the last step; empty before one.
    pub trained: Mutex<Vec<u8>>,
}

/// One rollout beside its tokens.
pub struct Rollout {
    pub prompt_index: usize,
    /// Of the rollout in its group.
    pub index: usize,
    /// Names the prompt in its random stream and in the record; None where the token ids do.
    pub prompt_id: Option<String>,
    pub prompt_length: usize,
    pub length: usize,
    pub text: String,
    pub finish_reason: &'static str,
}

impl BatchData {
    /// Given sequences; `loss_mask` has one entry per token, not 0 where the token carries loss.
    pub fn from_mask(tokens: Vec<u32>, cu_seqlens: Vec<u32>, loss_mask: &[u8], vocab_size: usize) -> Result<Self> {
        check_lengths(&cu_seqlens, tokens.len())?;
        check_ids(&tokens, vocab_size)?;
        if loss_mask.len() != tokens.len() {
            return Err(Fault::bad_input(format!(
                "lossMask has {} entries, expected one per token: {}",
                loss_mask.len(),
                tokens.len()
            )));
        }
        if let Some(sequence) = cu_seqlens.windows(2).position(|ends| loss_mask[ends[0] as usize] != 0) {
            return Err(Fault::bad_input(format!(
                "lossMask marks the first token of sequence {sequence}, which nothing predicts; set it to 0"
            )));
        }
        let targets = (0..tokens.len() as u32).filter(|&at| loss_mask[at as usize] != 0).collect();
        Ok(Self { tokens: TokenBatch { tokens, cu_seqlens }, targets, inv_t: 1.0, rollouts: None })
    }

    /// Keeps which targets a step trained on, for the record; a skipped step trained on none.
    pub fn note_trained(&self, weights: &[f32], moved: bool) {
        if let Some(columns) = &self.rollouts {
            let trained = weights.iter().map(|&weight| u8::from(moved && weight != 0.0)).collect();
            *columns.trained.lock().unwrap_or_else(PoisonError::into_inner) = trained;
        }
    }

    /// The weight of every target, from one weight per rollout or one per target.
    pub fn weights_per_target(&self, weights: &[f32]) -> Result<Vec<f32>> {
        if weights.len() == self.targets.len() {
            return Ok(weights.to_vec());
        }
        match &self.rollouts {
            Some(columns) if weights.len() == columns.rollouts.len() => {
                let of_rollout = |(rollout, &weight): (&Rollout, &f32)| std::iter::repeat_n(weight, rollout.length);
                Ok(columns.rollouts.iter().zip(weights).flat_map(of_rollout).collect())
            }
            Some(columns) => Err(Fault::bad_input(format!(
                "weights has {} entries, expected one per rollout ({}) or one per response token ({})",
                weights.len(),
                columns.rollouts.len(),
                self.targets.len()
            ))),
            None => Err(Fault::bad_input(format!(
                "weights has {} entries, expected one per token with lossMask: {}",
                weights.len(),
                self.targets.len()
            ))),
        }
    }
}

/// Cumulative lengths start at 0, ascend strictly and end at the number of tokens.
pub fn check_lengths(cu_seqlens: &[u32], tokens: usize) -> Result<()> {
    let well_formed = cu_seqlens.first() == Some(&0)
        && cu_seqlens.last().map(|&end| end as usize) == Some(tokens)
        && cu_seqlens.windows(2).all(|ends| ends[0] < ends[1]);
    if well_formed && tokens > 0 {
        return Ok(());
    }
    Err(Fault::bad_input(format!(
        "cuSeqlens must start at 0, ascend and end at the number of tokens ({tokens}), with no empty sequence"
    )))
}

/// Every id lies in the vocabulary.
pub fn check_ids(ids: &[u32], vocab_size: usize) -> Result<()> {
    match ids.iter().position(|&id| id as usize >= vocab_size) {
        None => Ok(()),
        Some(at) => Err(Fault::out_of_range(
            &ids[at],
            format!("token id {} at position {at} lies outside of the vocabulary of {vocab_size}", ids[at]),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_sequences(mask: &[u8]) -> Result<BatchData> {
        BatchData::from_mask(vec![1, 2, 3, 4, 5], vec![0, 3, 5], mask, 6)
    }

    #[test]
    fn targets_are_the_masked_tokens() {
        let batch = two_sequences(&[0, 0, 1, 0, 1]).unwrap();
        assert_eq!(batch.targets, [2, 4]);
        assert_eq!(batch.weights_per_target(&[0.5, 0.25]).unwrap(), [0.5, 0.25]);
        assert!(
            batch.weights_per_target(&[1.0]).unwrap_err().message.contains("expected one per token with lossMask: 2")
        );
    }

    #[test]
    fn malformed_batches_are_refused_by_name() {
        let refused = |result: Result<BatchData>| result.err().unwrap().message;
        assert!(refused(two_sequences(&[0, 0, 1, 1, 1])).contains("first token of sequence 1"));
        assert!(refused(two_sequences(&[0, 1])).contains("lossMask has 2 entries"));
        assert!(refused(BatchData::from_mask(vec![1, 6], vec![0, 2], &[0, 1], 6)).contains("token id 6 at position 1"));
        for cu_seqlens in [vec![], vec![0, 1], vec![0, 2, 2], vec![1, 2]] {
            assert!(refused(BatchData::from_mask(vec![1, 2], cu_seqlens, &[0, 1], 6)).contains("cuSeqlens"));
        }
    }

    #[test]
    fn a_rollout_weight_covers_its_response() {
        let rollout = |length| Rollout {
            prompt_index: 0,
            index: 0,
            prompt_id: None,
            prompt_length: 1,
            length,
            text: String::new(),
            finish_reason: "stop",
        };
        let mut batch = two_sequences(&[0, 1, 1, 0, 1]).unwrap();
        batch.rollouts = Some(RolloutColumns {
            temperature: 1.0,
            logprobs: vec![],
            entropies: vec![],
            entropies_raw: vec![],
            rollouts: vec![rollout(2), rollout(1)],
            trained: Mutex::default(),
        });
        assert_eq!(batch.weights_per_target(&[2.0, 3.0]).unwrap(), [2.0, 2.0, 3.0]);
        assert!(
            batch
                .weights_per_target(&[1.0; 4])
                .unwrap_err()
                .message
                .contains("one per rollout (2) or one per response token (3)")
        );
    }
}
