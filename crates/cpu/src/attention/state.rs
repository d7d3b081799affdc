//! The running state of query rows in the online softmax: largest score, sum of exponentials, weighted sum of values.

use super::registers::Stored;
use super::scratch::{Arena, lines};
use crate::lanes::larger;
use crate::math::{exp, log};
use crate::vector::Vector;
use gradus_ops::{KEY_BLOCK, LANES};

/// Numbers of a row array: sixteen rows are computed at once, from any row on.
const fn padded(rows: usize) -> usize {
    rows + LANES
}

/// States of several query rows over the keys seen so far.
pub(super) struct States<'a> {
    rows: usize,
    head_dim: usize,
    /// [rows], padded
    largest: &'a mut [f32],
    /// [rows], padded
    sum: &'a mut [f32],
    /// [rows, head_dim], not yet divided by the sum.
    pub(super) output: &'a mut [f32],
}

impl<'a> States<'a> {
    /// Elements of scratch that [`States::new`] takes.
    pub(super) const fn len(rows: usize, head_dim: usize) -> usize {
        2 * lines(padded(rows)) + lines(rows * head_dim)
    }

    /// Undefined until cleared.
    pub(super) fn new(memory: &mut Arena<'a>, rows: usize, head_dim: usize) -> States<'a> {
        let (largest, sum) = (memory.cut(padded(rows)), memory.cut(padded(rows)));
        States { rows, head_dim, largest, sum, output: memory.cut(rows * head_dim) }
    }

    /// No key seen.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.largest.fill(f32::NEG_INFINITY);
        self.sum.fill(0.0);
        self.output.fill(0.0);
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
    pub(super) fn write_output<T: Stored>(&self, row: usize, out: &mut [T]) {
        for (out, output) in out.iter_mut().zip(&self.output[row * self.head_dim..][..self.head_dim]) {
            *out = T::from_f32(output / self.sum[row]);
        }
    }

    /// ln Σ exp(score) of `row`.
    #[inline(always)]
    pub(super) fn log_sum(&self, row: usize) -> f32 {
        self.largest[row] + log(self.sum[row])
    }
}

/// Scores of several query rows against one block of keys, and what the softmax needs beside them.
pub(super) struct Scores<'a> {
    /// [rows, 64]
    pub(super) values: &'a mut [f32],
    /// [rows], padded: the block's largest score, then the factor on what the state had.
    factor: &'a mut [f32],
    /// [rows], padded
    sum: &'a mut [f32],
}

impl<'a> Scores<'a> {
    /// Elements of scratch that [`Scores::new`] takes.
    pub(super) const fn len(rows: usize) -> usize {
        lines(rows * KEY_BLOCK) + 2 * lines(padded(rows))
    }

    pub(super) fn new(memory: &mut Arena<'a>, rows: usize) -> Scores<'a> {
        let values = memory.cut(rows * KEY_BLOCK);
        Scores { values, factor: memory.cut(padded(rows)), sum: memory.cut(padded(rows)) }
    }

    /// Takes the products q·k of one block into the states of all rows from `first`. Row r has `keys[r] - start` keys in the
    /// block (64 at most, 1 at least): each of its scores becomes exp(score − largest), 0 from there to the end of a page.
    /// The output is rescaled; adding the block's values to it is the caller's part.
    #[inline(always)]
    pub(super) fn take<V: Vector>(
        &mut self,
        first: usize,
        keys: &[u32],
        start: usize,
        scale: f32,
        states: &mut States,
    ) {
        let rows = states.rows;
        for row in first..rows {
            let inside = (keys[row] as usize - start).min(KEY_BLOCK);
            self.factor[row] = scale_scores::<V>(self.row(row), inside, scale);
        }
        for row in (first..rows).step_by(LANES) {
            let largest: V = at(states.largest, row);
            let grown = largest.larger(at(self.factor, row));
            put(states.largest, row, grown);
            put(self.factor, row, exp(largest - grown));
        }
        for row in first..rows {
            let inside = (keys[row] as usize - start).min(KEY_BLOCK);
            let largest = states.largest[row];
            self.sum[row] = exponentials::<V>(self.row(row), inside, largest);
            // Skipping is exact only where the factor is exactly 1.
            let factor = self.factor[row];
            if factor != 1.0 {
                for output in &mut states.output[row * states.head_dim..][..states.head_dim] {
                    *output *= factor;
                }
            }
        }
        for row in (first..rows).step_by(LANES) {
            let sum: V = at(states.sum, row);
            put(states.sum, row, sum.fma(at(self.factor, row), at(self.sum, row)));
        }
    }

    #[inline(always)]
    fn row(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * KEY_BLOCK..][..KEY_BLOCK]
    }
}

#[inline(always)]
fn at<V: Vector>(values: &[f32], start: usize) -> V {
    V::load(values[start..].first_chunk().expect("row arrays are padded"))
}

#[inline(always)]
fn put<V: Vector>(values: &mut [f32], start: usize, value: V) {
    value.store(values[start..].first_chunk_mut().expect("row arrays are padded"));
}

/// Scales the products of the first `keys` keys; those beyond, up to the end of their page, become −inf. The largest score.
#[inline(always)]
fn scale_scores<V: Vector>(scores: &mut [f32], keys: usize, scale: f32) -> f32 {
    let mut tops = V::splat(f32::NEG_INFINITY);
    for (page, scores) in scores.as_chunks_mut::<LANES>().0.iter_mut().enumerate().take(keys.div_ceil(LANES)) {
        let mut scaled = V::load(scores) * V::splat(scale);
        if keys < (page + 1) * LANES {
            let mask = masked_from(keys % LANES);
            scaled = V::if_less(mask, V::splat(0.0), mask, scaled);
        }
        tops = tops.larger(scaled);
        scaled.store(scores);
    }
    tops.fold_max()
}

/// −inf in the lanes from `lane` on, 0 before.
#[inline(always)]
pub(super) fn masked_from<V: Vector>(lane: usize) -> V {
    const MASKS: [f32; 2 * LANES] = {
        let mut masks = [f32::NEG_INFINITY; 2 * LANES];
        let mut lane = 0;
        while lane < LANES {
            masks[lane] = 0.0;
            lane += 1;
        }
        masks
    };
    at(&MASKS, LANES - lane)
}

/// score = exp(score − largest) of the pages of the first `keys` keys; their sum.
#[inline(always)]
fn exponentials<V: Vector>(scores: &mut [f32], keys: usize, largest: f32) -> f32 {
    let mut sums = V::splat(0.0);
    for scores in scores.as_chunks_mut::<LANES>().0.iter_mut().take(keys.div_ceil(LANES)) {
        let share = exp(V::load(scores) - V::splat(largest));
        sums = sums + share;
        share.store(scores);
    }
    sums.fold_sum()
}
