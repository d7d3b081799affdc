//! Backward of one panel of query rows against the key blocks of its sequence, one after another.
//!
//! Five products a block: scores and score gradients are recomputed, then added to the gradients of queries, keys, values.

use super::backward::{Inputs, Sequence, Turn};
use super::group_size;
use super::pages::Block;
use super::product::{Left, Start, TILE_ROWS, multiply_columns, multiply_rows};
use super::registers::Stored;
use super::scratch::{Arena, lines};
use super::state::masked_from;
use crate::math::exp;
use crate::vector::{Vector, dot};
use gradus_ops::{AttentionShape, KEY_BLOCK, LANES, PAGE_TOKENS};
use std::ops::Range;

/// Query rows in one panel: as many as keys in a block, so that one panel meets one block on the diagonal.
pub(super) const PANEL_ROWS: usize = KEY_BLOCK;

/// Query rows of one head and sequence, against its key blocks one after another.
pub(super) struct Panel<'a, 's, Q> {
    inputs: Inputs<'a, Q>,
    sequence: Sequence,
    head: usize,
    /// The tokens of the rows.
    tokens: Range<usize>,
    /// [64, head_dim]
    queries: &'s mut [f32],
    /// [64, head_dim]
    d_out: &'s mut [f32],
    /// [64, head_dim]
    d_queries: &'s mut [f32],
    /// [64]: Σ d_out · out, which the softmax takes out of each score's gradient.
    projection: &'s mut [f32],
    /// [64, 64]
    probabilities: &'s mut [f32],
    /// [64, 64]
    d_scores: &'s mut [f32],
}

impl<'a, 's, Q: Stored> Panel<'a, 's, Q> {
    /// Elements of scratch that a panel takes.
    pub(super) const fn len(shape: AttentionShape) -> usize {
        3 * lines(PANEL_ROWS * shape.head_dim) + lines(PANEL_ROWS) + 2 * lines(PANEL_ROWS * KEY_BLOCK)
    }

    #[inline(always)]
    pub(super) fn new(inputs: Inputs<'a, Q>, sequence: Sequence, head: usize, memory: &'s mut [f32]) -> Self {
        let mut memory = Arena::new(memory);
        let mut cut = |width: usize| memory.cut(PANEL_ROWS * width);
        let head_dim = inputs.shape.head_dim;
        Panel {
            inputs,
            sequence,
            head,
            tokens: 0..0,
            queries: cut(head_dim),
            d_out: cut(head_dim),
            d_queries: cut(head_dim),
            projection: cut(1),
            probabilities: cut(KEY_BLOCK),
            d_scores: cut(KEY_BLOCK),
        }
    }

    #[inline(always)]
    pub(super) fn load<V: Vector>(&mut self, tokens: Range<usize>) {
        let Inputs { shape, qkv, out, d_out, .. } = self.inputs;
        let head_dim = shape.head_dim;
        for (index, token) in tokens.clone().enumerate() {
            let column = token * shape.q_dim() + self.head * head_dim;
            let (out, d_out) = (&out[column..][..head_dim], &d_out[column..][..head_dim]);
            let query = &qkv[token * shape.qkv_dim() + self.head * head_dim..][..head_dim];
            for (to, from) in self.queries[index * head_dim..][..head_dim].iter_mut().zip(query) {
                *to = from.to_f32();
            }
            self.d_out[index * head_dim..][..head_dim].copy_from_slice(d_out);
            self.projection[index] = dot::<V, Q, f32>(out, d_out);
        }
        self.tokens = tokens;
    }

    /// Recomputes probabilities and score gradients against one block of keys, and adds what they give to all gradients.
    #[inline(always)]
    pub(super) fn meet<V: Vector>(&mut self, keys: Range<usize>, turn: &Turn) {
        let shape = self.inputs.shape;
        let kv_head = self.head / group_size(shape);
        let first_page = self.sequence.page as usize + (keys.start - self.sequence.start as usize) / PAGE_TOKENS;
        let count = keys.len().div_ceil(PAGE_TOKENS);
        let (keys_transposed, values_transposed) = turn.keys_and_values.block(shape, kv_head, first_page, count);
        self.recompute::<V>(&keys, &keys_transposed, &values_transposed);
        self.add_key_gradients(&keys, turn);
        self.add_query_gradients(&keys, &turn.keys.block(shape, kv_head, first_page, count).0);
    }

    /// Keys of the block that the row attends.
    #[inline(always)]
    fn inside(&self, row: usize, keys: &Range<usize>) -> usize {
        (self.tokens.start + row + 1 - keys.start).min(keys.len())
    }

    /// Probabilities p = exp(score − lse) and score gradients p · (d_out · value − projection) · scale, 0 where masked, of
    /// the pages that some row of a tile attends.
    #[inline(always)]
    fn recompute<V: Vector>(
        &mut self,
        keys: &Range<usize>,
        keys_transposed: &Block<f32>,
        values_transposed: &Block<f32>,
    ) {
        let Inputs { level, shape, lse, .. } = self.inputs;
        let (rows, head_dim, scale) = (self.tokens.len(), shape.head_dim, shape.scale());
        for first in (0..rows).step_by(TILE_ROWS) {
            let size = TILE_ROWS.min(rows - first);
            let pages = self.inside(first + size - 1, keys).div_ceil(PAGE_TOKENS);
            let (start, place) = (first * head_dim, first * KEY_BLOCK);
            let queries = Left { values: &self.queries[start..], row: head_dim, step: 1 };
            let scores = &mut self.probabilities[place..];
            multiply_columns(level, queries, [size, head_dim], &keys_transposed[..pages], &[], scores, KEY_BLOCK);
            let d_out = Left { values: &self.d_out[start..], row: head_dim, step: 1 };
            let d_scores = &mut self.d_scores[place..];
            multiply_columns(level, d_out, [size, head_dim], &values_transposed[..pages], &[], d_scores, KEY_BLOCK);
            for row in first..first + size {
                let (inside, lse) = (self.inside(row, keys), lse[(self.tokens.start + row) * shape.heads + self.head]);
                let constants = [scale, lse, self.projection[row]];
                let (start, len) = (row * KEY_BLOCK, pages * PAGE_TOKENS);
                let probabilities = &mut self.probabilities[start..][..len];
                score_gradients::<V>(probabilities, &mut self.d_scores[start..][..len], inside, constants);
            }
        }
    }

    /// d_values += probabilitiesᵀ · d_out and d_keys += d_scoresᵀ · queries, rows in order.
    #[inline(always)]
    fn add_key_gradients(&self, keys: &Range<usize>, turn: &Turn) {
        let Inputs { level, shape, .. } = self.inputs;
        let (rows, head_dim) = (self.tokens.len(), shape.head_dim);
        // The first panel that meets a block is the one on its diagonal.
        let diagonal = keys.start == self.tokens.start;
        let start = if diagonal { Start::Zero } else { Start::Sum };
        let place = (self.head * turn.tokens.len() + keys.start - turn.tokens.start) * head_dim;
        for first in (0..keys.len()).step_by(TILE_ROWS) {
            let size = TILE_ROWS.min(keys.len() - first);
            let attending = if diagonal { first..rows } else { 0..rows };
            for (left, right, to) in
                [(&self.probabilities, &self.d_out, &turn.d_values), (&self.d_scores, &self.queries, &turn.d_keys)]
            {
                // SAFETY: no other task has this head's part of the gradients of this sequence's keys and values.
                let to = unsafe { to.range(place + first * head_dim, size * head_dim) };
                let left = Left { values: &left[first..], row: 1, step: KEY_BLOCK };
                let right = pages_of(right, head_dim);
                multiply_rows(level, left, [size, head_dim], attending.clone(), &right, &[], to, head_dim, start);
            }
        }
    }

    /// d_queries += d_scores · keys, keys in order.
    #[inline(always)]
    fn add_query_gradients(&mut self, keys: &Range<usize>, block: &Block<f32>) {
        let Inputs { level, shape, .. } = self.inputs;
        let (rows, head_dim) = (self.tokens.len(), shape.head_dim);
        let start = if keys.start == self.sequence.start as usize { Start::Zero } else { Start::Sum };
        for first in (0..rows).step_by(TILE_ROWS) {
            let size = TILE_ROWS.min(rows - first);
            let inside = self.inside(first + size - 1, keys);
            let left = Left { values: &self.d_scores[first * KEY_BLOCK..], row: KEY_BLOCK, step: 1 };
            let to = &mut self.d_queries[first * head_dim..];
            multiply_rows(level, left, [size, head_dim], 0..inside, block, &[], to, head_dim, start);
        }
    }

    #[inline(always)]
    pub(super) fn write_query_gradients(&self, turn: &Turn) {
        let shape = self.inputs.shape;
        for (index, token) in self.tokens.clone().enumerate() {
            let start = token * shape.qkv_dim() + self.head * shape.head_dim;
            // SAFETY: no other task has this head's queries of this sequence.
            let to = unsafe { turn.d_qkv.range(start, shape.head_dim) };
            to.copy_from_slice(&self.d_queries[index * shape.head_dim..][..shape.head_dim]);
        }
    }
}

/// 64 rows of head_dim as pages of 16.
#[inline(always)]
fn pages_of(rows: &[f32], head_dim: usize) -> Block<'_, f32> {
    std::array::from_fn(|page| &rows[page * PAGE_TOKENS * head_dim..][..PAGE_TOKENS * head_dim])
}

/// One row: products q·k become probabilities, products d_out·v become score gradients; 0 from key `inside` on.
#[inline(always)]
fn score_gradients<V: Vector>(scores: &mut [f32], d_scores: &mut [f32], inside: usize, constants: [f32; 3]) {
    let [scale, lse, projection] = constants.map(V::splat);
    let chunks = scores.as_chunks_mut::<LANES>().0.iter_mut().zip(d_scores.as_chunks_mut::<LANES>().0);
    for (page, (scores, d_scores)) in chunks.enumerate() {
        let p = exp(V::load(scores) * scale - lse);
        let d_score = p * (V::load(d_scores) - projection) * scale;
        let seen = inside.saturating_sub(page * LANES).min(LANES);
        if seen == LANES {
            p.store(scores);
            d_score.store(d_scores);
            continue;
        }
        let (mask, zero) = (masked_from(seen), V::splat(0.0));
        V::if_less(mask, zero, zero, p).store(scores);
        V::if_less(mask, zero, zero, d_score).store(d_scores);
    }
}
