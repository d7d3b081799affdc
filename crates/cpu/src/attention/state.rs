//! The running state of query rows in the online softmax: largest score, sum of exponentials, weighted sum of values.

use crate::lanes::{Lanes, fold_max, fold_sum, larger};
use crate::math::{exp, log};
use gradus_ops::{KEY_BLOCK, LANES};

/// States of several query rows over the keys seen so far.
pub(super) struct States {
    head_dim: usize,
    largest: Vec<f32>,
    sum: Vec<f32>,
    /// [rows, head_dim], not yet divided by the sum.
    pub(super) output: Vec<f32>,
}

impl States {
    pub(super) fn new(rows: usize, head_dim: usize) -> States {
        States {
            head_dim,
            largest: vec![f32::NEG_INFINITY; rows],
            sum: vec![0.0; rows],
            output: vec![0.0; rows * head_dim],
        }
    }

    /// No key seen.
    pub(super) fn clear(&mut self) {
        self.largest.fill(f32::NEG_INFINITY);
        self.sum.fill(0.0);
        self.output.fill(0.0);
    }

    /// Takes one block's products q·k into the state of `row`: scores beyond the first `keys` are masked, and each score
    /// becomes exp(score − largest). The output is rescaled; adding the block's values to it is the caller's part.
    #[inline(always)]
    pub(super) fn take_scores(&mut self, row: usize, scale: f32, keys: usize, scores: &mut [f32]) {
        let scores = &mut scores[..KEY_BLOCK];
        let mut tops: Lanes = [f32::NEG_INFINITY; LANES];
        for (quarter, scores) in scores.chunks_exact_mut(LANES).enumerate() {
            for i in 0..LANES {
                let masked = quarter * LANES + i >= keys;
                scores[i] = if masked { f32::NEG_INFINITY } else { scores[i] * scale };
                tops[i] = larger(tops[i], scores[i]);
            }
        }
        let largest = larger(self.largest[row], fold_max(tops));
        let mut sums: Lanes = [0.0; LANES];
        for scores in scores.chunks_exact_mut(LANES) {
            for i in 0..LANES {
                scores[i] = exp(scores[i] - largest);
                sums[i] += scores[i];
            }
        }
        let rescale = exp(self.largest[row] - largest);
        self.sum[row] = self.sum[row].mul_add(rescale, fold_sum(sums));
        self.largest[row] = largest;
        // Skipping is exact only where the factor is exactly 1.
        if rescale != 1.0 {
            for output in &mut self.output[row * self.head_dim..][..self.head_dim] {
                *output *= rescale;
            }
        }
    }

    /// Merges the state of `row` over later keys; both have seen at least one key.
    #[inline(always)]
    pub(super) fn merge(&mut self, row: usize, later: &States) {
        let largest = larger(self.largest[row], later.largest[row]);
        let (own, other) = (exp(self.largest[row] - largest), exp(later.largest[row] - largest));
        self.largest[row] = largest;
        self.sum[row] = self.sum[row].mul_add(own, later.sum[row] * other);
        let range = row * self.head_dim..(row + 1) * self.head_dim;
        for (output, later) in self.output[range.clone()].iter_mut().zip(&later.output[range]) {
            *output = output.mul_add(own, later * other);
        }
    }

    /// out = output / sum
    #[inline(always)]
    pub(super) fn write_output(&self, row: usize, out: &mut [f32]) {
        for (out, output) in out.iter_mut().zip(&self.output[row * self.head_dim..][..self.head_dim]) {
            *out = output / self.sum[row];
        }
    }

    /// ln Σ exp(score) of `row`.
    #[inline(always)]
    pub(super) fn log_sum(&self, row: usize) -> f32 {
        self.largest[row] + log(self.sum[row])
    }
}
