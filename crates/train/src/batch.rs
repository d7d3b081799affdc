//! What one step trains on, and its split into micro-batches that fit into memory.
//!
//! Comes from `node` (a rollout batch or an SFT batch with its weights); goes to `model`'s forward and backward.

use gradus_model::{LossRow, TokenBatch};

use crate::{Error, Result};

/// Packed sequences and the rows of them that are looked at.
#[derive(Clone, Debug, Default)]
pub struct TrainBatch {
    pub tokens: TokenBatch,
    /// In ascending order of `row`, each row at most once.
    pub rows: Vec<TrainRow>,
}

/// One predicted token. The loss is −Σ weight · logprob; every denominator is in the weight, and rows of weight 0 cost nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainRow {
    /// Packed row whose logits predict `target` (the position before it).
    pub row: u32,
    pub target: u32,
    pub weight: f32,
    /// 1/T of the rollout, computed in f64 and rounded once; 1 in SFT.
    pub inv_t: f32,
    /// The logprob that the sampler reported: compared with this pass's, and the denominator of the ratio where the step clips it.
    pub sampler_logprob: Option<f32>,
}

/// The parts of a step's batch; their memory is used again by the next step.
#[derive(Default)]
pub(crate) struct MicroBatches {
    list: Vec<MicroBatch>,
    used: usize,
}

/// Some whole sequences of a batch, with rows counted from their own start.
#[derive(Default)]
pub(crate) struct MicroBatch {
    pub tokens: TokenBatch,
    pub rows: Vec<LossRow>,
    /// Of each row.
    pub sampler_logprobs: Vec<Option<f32>>,
}

impl TrainBatch {
    /// Refuses what would read outside the batch or the vocabulary, and weights that are not numbers. The forward checks the ids.
    pub(crate) fn check(&self, vocab: usize, uses_ratio: bool) -> Result<()> {
        let refuse = |reason: String| Err(Error::Batch { reason });
        let tokens = self.tokens.tokens.len();
        let bounds = &self.tokens.cu_seqlens;
        let whole = bounds.first() == Some(&0) && bounds.last().is_some_and(|&last| last as usize == tokens);
        if !whole || bounds.windows(2).any(|pair| pair[0] >= pair[1]) {
            return refuse(format!("cu_seqlens must rise from 0 to the {tokens} tokens, found {bounds:?}"));
        }
        if let Some(pair) = self.rows.windows(2).find(|pair| pair[0].row >= pair[1].row) {
            return refuse(format!("rows must ascend, found {} before {}", pair[0].row, pair[1].row));
        }
        for row in &self.rows {
            let index = row.row;
            if index as usize >= tokens {
                return refuse(format!("row {index} lies outside the {tokens} tokens"));
            }
            if row.target as usize >= vocab {
                return refuse(format!("target of row {index} is {}, expected an id below {vocab}", row.target));
            }
            if !row.weight.is_finite() {
                return refuse(format!("weight of row {index} is {}, expected a finite number", row.weight));
            }
            if !(row.inv_t.is_finite() && row.inv_t > 0.0) {
                return refuse(format!("inv_t of row {index} is {}, expected a positive number", row.inv_t));
            }
            if uses_ratio && row.sampler_logprob.is_none() {
                return refuse(format!("row {index} has no sampler logprob; the ratio clip needs a rollout batch"));
            }
        }
        Ok(())
    }

    /// Whole sequences in order, packed greedily up to `tokens_max`, at least one each. Sequences and rows without weight are
    /// left out: their gradient is zero.
    pub(crate) fn split(&self, tokens_max: usize, uses_ratio: bool, parts: &mut MicroBatches) {
        parts.used = 0;
        let mut rest = self.rows.as_slice();
        for bounds in self.tokens.cu_seqlens.windows(2) {
            let (start, end) = (bounds[0], bounds[1]);
            let (rows, later) = rest.split_at(rest.partition_point(|row| row.row < end));
            rest = later;
            if rows.iter().all(|row| row.weight == 0.0) {
                continue;
            }
            let sequence = &self.tokens.tokens[start as usize..end as usize];
            let last = parts.as_slice().last();
            let fits = last.is_some_and(|part| part.tokens.tokens.len() + sequence.len() <= tokens_max);
            let part = if fits { parts.last_mut() } else { parts.begin() };
            part.push(sequence, rows, start, uses_ratio);
        }
    }
}

impl MicroBatches {
    pub fn as_slice(&self) -> &[MicroBatch] {
        &self.list[..self.used]
    }

    /// An empty part behind the others.
    fn begin(&mut self) -> &mut MicroBatch {
        if self.used == self.list.len() {
            self.list.push(MicroBatch::default());
        }
        self.used += 1;
        let part = self.last_mut();
        part.tokens.tokens.clear();
        part.tokens.cu_seqlens.clear();
        part.tokens.cu_seqlens.push(0);
        part.rows.clear();
        part.sampler_logprobs.clear();
        part
    }

    fn last_mut(&mut self) -> &mut MicroBatch {
        &mut self.list[self.used - 1]
    }
}

impl MicroBatch {
    /// Appends a sequence that stood at `start` of the whole batch.
    fn push(&mut self, sequence: &[u32], rows: &[TrainRow], start: u32, uses_ratio: bool) {
        let offset = self.tokens.tokens.len() as u32;
        for row in rows.iter().filter(|row| row.weight != 0.0) {
            let old_logprob = row.sampler_logprob.filter(|_| uses_ratio);
            let TrainRow { target, weight, inv_t, .. } = *row;
            self.rows.push(LossRow { row: row.row - start + offset, target, weight, inv_t, old_logprob });
            self.sampler_logprobs.push(row.sampler_logprob);
        }
        self.tokens.tokens.extend_from_slice(sequence);
        self.tokens.cu_seqlens.push(self.tokens.tokens.len() as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sequences of these lengths; every row but the last of a sequence is trained, its target tells its place in the batch.
    fn batch(lengths: &[usize]) -> TrainBatch {
        let tokens = TokenBatch::pack(lengths.iter().map(|&length| vec![0; length]));
        let trained = |bounds: &[u32]| bounds[0]..bounds[1] - 1;
        let rows = tokens.cu_seqlens.windows(2).flat_map(trained);
        let row = |row| TrainRow { row, target: row, weight: 1.0, inv_t: 1.0, sampler_logprob: Some(-1.0) };
        TrainBatch { rows: rows.map(row).collect(), tokens }
    }

    fn split(batch: &TrainBatch, tokens_max: usize, uses_ratio: bool) -> MicroBatches {
        let mut parts = MicroBatches::default();
        // A split before, of another batch, leaves nothing behind.
        self::batch(&[5, 5, 5]).split(6, true, &mut parts);
        batch.split(tokens_max, uses_ratio, &mut parts);
        parts
    }

    /// Lengths of the sequences of each part.
    fn lengths(parts: &MicroBatches) -> Vec<Vec<u32>> {
        let of = |part: &MicroBatch| part.tokens.cu_seqlens.windows(2).map(|ends| ends[1] - ends[0]).collect();
        parts.as_slice().iter().map(of).collect()
    }

    #[test]
    fn sequences_are_packed_greedily_in_order() {
        let batch = batch(&[4, 6, 3, 20, 2, 2]);
        assert_eq!(lengths(&split(&batch, 10, false)), [vec![4, 6], vec![3], vec![20], vec![2, 2]]);
        assert_eq!(lengths(&split(&batch, 1, false)), [[4], [6], [3], [20], [2], [2]]);
        assert_eq!(lengths(&split(&batch, usize::MAX, false)), [[4, 6, 3, 20, 2, 2]]);
    }

    #[test]
    fn rows_are_counted_from_the_start_of_their_part() {
        let mut batch = batch(&[3, 2, 3]);
        batch.rows[0].weight = 0.0;
        batch.rows[2].weight = 0.0;
        let parts = split(&batch, 3, true);
        let rows: Vec<Vec<(u32, u32)>> =
            parts.as_slice().iter().map(|part| part.rows.iter().map(|row| (row.row, row.target)).collect()).collect();
        assert_eq!(lengths(&parts), [[3], [3]], "the middle sequence has no weight left");
        assert_eq!(rows, [vec![(1, 1)], vec![(0, 5), (1, 6)]]);
        assert!(parts.as_slice().iter().flat_map(|part| &part.rows).all(|row| row.old_logprob == Some(-1.0)));
        assert!(
            split(&batch, 3, false).as_slice().iter().flat_map(|part| &part.rows).all(|row| row.old_logprob.is_none())
        );
    }
}
