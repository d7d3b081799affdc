//! Backward of packed attention: probabilities are recomputed from lse; one task for each sequence and key head.
//!
//! Within a task the order is fixed (key blocks, then query panels, then rows), so gradients are the same bits on any
//! number of threads.

use super::product::{Left, Right, multiply_add};
use super::{check_heads, group_size, sequence_ranges, tokens_of_task};
use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::lanes::dot;
use crate::level::dispatch;
use crate::math::exp;
use crate::pool::DisjointMut;
use gradus_ops::{AttentionShape, KEY_BLOCK, LANES, Result};
use std::cmp::Reverse;
use std::ops::Range;

/// See [`gradus_ops::Backend::attention_backward`].
#[allow(clippy::too_many_arguments)]
pub(crate) fn attention_backward(
    backend: &CpuBackend,
    shape: AttentionShape,
    qkv: &Buffer,
    cu_seqlens: &Buffer,
    sequences: usize,
    out: &Buffer,
    lse: &Buffer,
    d_out: &Buffer,
    d_qkv: &mut Buffer,
) -> Result<()> {
    const OP: &str = "attention_backward";
    check_heads(OP, shape)?;
    let mut ranges = sequence_ranges(OP, cu_seqlens.u32(OP, "cu_seqlens", sequences + 1)?)?;
    let tokens = ranges.last().map_or(0, |range| range.end);
    let inputs = Inputs {
        shape,
        qkv: qkv.f32(OP, "qkv", tokens * shape.qkv_dim())?,
        out: out.f32(OP, "out", tokens * shape.q_dim())?,
        lse: lse.f32(OP, "lse", tokens * shape.heads)?,
        d_out: d_out.f32(OP, "d_out", tokens * shape.q_dim())?,
    };
    let d_qkv = DisjointMut::new(d_qkv.f32_mut(OP, "d_qkv", tokens * shape.qkv_dim())?);
    // Long sequences first, so that the threads end together.
    ranges.sort_by_key(|range| Reverse(range.len()));
    backend.pool.run(ranges.len() * shape.kv_heads, &|task| {
        let range = ranges[task / shape.kv_heads].clone();
        sequence_backward(backend.level, inputs, range, task % shape.kv_heads, &d_qkv);
    });
    Ok(())
}

#[derive(Clone, Copy)]
struct Inputs<'a> {
    shape: AttentionShape,
    qkv: &'a [f32],
    out: &'a [f32],
    lse: &'a [f32],
    d_out: &'a [f32],
}

dispatch! {
    fn sequence_backward(inputs: Inputs, range: Range<usize>, kv_head: usize, d_qkv: &DisjointMut<f32>)
        = sequence_backward_body;
}

#[inline(always)]
fn sequence_backward_body(inputs: Inputs, range: Range<usize>, kv_head: usize, d_qkv: &DisjointMut<f32>) {
    let shape = inputs.shape;
    let (head_dim, width) = (shape.head_dim, group_size(shape) * shape.head_dim);
    let (key_column, value_column) = key_and_value_columns(shape, kv_head);
    for token in range.clone() {
        // SAFETY: no other task has this sequence's query columns of this key head.
        unsafe { d_qkv.range(token * shape.qkv_dim() + kv_head * width, width) }.fill(0.0);
    }
    let step = tokens_of_task(shape);
    let mut panel = Panel::new(shape, step * group_size(shape));
    for start in range.clone().step_by(KEY_BLOCK) {
        let block = KeyBlock::load(inputs, start..range.end.min(start + KEY_BLOCK), kv_head);
        let (mut d_keys, mut d_values) = (vec![0.0; KEY_BLOCK * head_dim], vec![0.0; KEY_BLOCK * head_dim]);
        for first in (start..range.end).step_by(step) {
            let tokens = first..range.end.min(first + step);
            panel.load(inputs, tokens.clone(), kv_head);
            panel.recompute(&block, tokens.start);
            panel.add_key_gradients(&block, &mut d_keys, &mut d_values);
            panel.add_query_gradients(&block, tokens, kv_head, d_qkv);
        }
        for (key, token) in block.tokens.enumerate() {
            let row = token * shape.qkv_dim();
            // SAFETY: no other task has this sequence's keys and values of this key head.
            let (d_key, d_value) =
                unsafe { (d_qkv.range(row + key_column, head_dim), d_qkv.range(row + value_column, head_dim)) };
            d_key.copy_from_slice(&d_keys[key * head_dim..][..head_dim]);
            d_value.copy_from_slice(&d_values[key * head_dim..][..head_dim]);
        }
    }
}

/// Where the keys and the values of a key head begin in a qkv row.
fn key_and_value_columns(shape: AttentionShape, kv_head: usize) -> (usize, usize) {
    let keys = shape.q_dim() + kv_head * shape.head_dim;
    (keys, keys + shape.kv_heads * shape.head_dim)
}

/// Keys and values of one block, zero past the sequence.
struct KeyBlock {
    tokens: Range<usize>,
    /// [64, head_dim]
    keys: Vec<f32>,
    /// [head_dim, 64]
    keys_transposed: Vec<f32>,
    /// [head_dim, 64]
    values_transposed: Vec<f32>,
}

impl KeyBlock {
    fn load(inputs: Inputs, tokens: Range<usize>, kv_head: usize) -> KeyBlock {
        let shape = inputs.shape;
        let head_dim = shape.head_dim;
        let (key_column, value_column) = key_and_value_columns(shape, kv_head);
        let zeros = || vec![0.0; KEY_BLOCK * head_dim];
        let (mut keys, mut keys_transposed, mut values_transposed) = (zeros(), zeros(), zeros());
        for (index, token) in tokens.clone().enumerate() {
            let row = &inputs.qkv[token * shape.qkv_dim()..][..shape.qkv_dim()];
            let (key, value) = (&row[key_column..][..head_dim], &row[value_column..][..head_dim]);
            keys[index * head_dim..][..head_dim].copy_from_slice(key);
            for i in 0..head_dim {
                keys_transposed[i * KEY_BLOCK + index] = key[i];
                values_transposed[i * KEY_BLOCK + index] = value[i];
            }
        }
        KeyBlock { tokens, keys, keys_transposed, values_transposed }
    }
}

/// Query rows (tokens of a panel times heads of a group) against one key block.
struct Panel {
    shape: AttentionShape,
    rows: usize,
    /// [rows, head_dim]
    queries: Vec<f32>,
    /// [rows, head_dim]
    d_out: Vec<f32>,
    /// [rows]
    lse: Vec<f32>,
    /// [rows]: Σ d_out · out, which the softmax takes out of each score's gradient.
    projection: Vec<f32>,
    /// [rows, 64]
    probabilities: Vec<f32>,
    /// [rows, 64]
    d_scores: Vec<f32>,
}

impl Panel {
    fn new(shape: AttentionShape, rows_max: usize) -> Panel {
        let zeros = |width: usize| vec![0.0; rows_max * width];
        Panel {
            shape,
            rows: 0,
            queries: zeros(shape.head_dim),
            d_out: zeros(shape.head_dim),
            lse: zeros(1),
            projection: zeros(1),
            probabilities: zeros(KEY_BLOCK),
            d_scores: zeros(KEY_BLOCK),
        }
    }

    #[inline(always)]
    fn load(&mut self, inputs: Inputs, tokens: Range<usize>, kv_head: usize) {
        let (shape, group, head_dim) = (self.shape, group_size(self.shape), self.shape.head_dim);
        let width = group * head_dim;
        self.rows = tokens.len() * group;
        for (index, token) in tokens.enumerate() {
            let q_row = token * shape.q_dim() + kv_head * width;
            let (out, d_out) = (&inputs.out[q_row..][..width], &inputs.d_out[q_row..][..width]);
            let query = &inputs.qkv[token * shape.qkv_dim() + kv_head * width..][..width];
            let lse = &inputs.lse[token * shape.heads + kv_head * group..][..group];
            self.queries[index * width..][..width].copy_from_slice(query);
            self.d_out[index * width..][..width].copy_from_slice(d_out);
            self.lse[index * group..][..group].copy_from_slice(lse);
            let heads = out.chunks_exact(head_dim).zip(d_out.chunks_exact(head_dim));
            for (projection, (out, d_out)) in self.projection[index * group..].iter_mut().zip(heads) {
                *projection = dot(out, d_out);
            }
        }
    }

    /// Probabilities p = exp(score − lse) and score gradients p · (d_out · value − projection) · scale, 0 where masked.
    /// `first` is the token of row 0.
    #[inline(always)]
    fn recompute(&mut self, block: &KeyBlock, first: usize) {
        let (rows, group, head_dim) = (self.rows, group_size(self.shape), self.shape.head_dim);
        let scale = self.shape.scale();
        self.probabilities[..rows * KEY_BLOCK].fill(0.0);
        self.d_scores[..rows * KEY_BLOCK].fill(0.0);
        let size = [rows, head_dim, block.tokens.len().next_multiple_of(LANES)];
        let queries = Left { values: &self.queries, row: head_dim, step: 1 };
        let keys = Right { values: &block.keys_transposed, row: KEY_BLOCK };
        multiply_add(queries, keys, size, &mut self.probabilities, KEY_BLOCK);
        let d_out = Left { values: &self.d_out, row: head_dim, step: 1 };
        let values = Right { values: &block.values_transposed, row: KEY_BLOCK };
        multiply_add(d_out, values, size, &mut self.d_scores, KEY_BLOCK);
        for row in 0..rows {
            let keys = (first + row / group + 1 - block.tokens.start).min(KEY_BLOCK);
            let (lse, projection) = (self.lse[row], self.projection[row]);
            let probabilities = &mut self.probabilities[row * KEY_BLOCK..][..KEY_BLOCK];
            let d_scores = &mut self.d_scores[row * KEY_BLOCK..][..KEY_BLOCK];
            for key in 0..KEY_BLOCK {
                let p = exp(probabilities[key] * scale - lse);
                let d_score = p * (d_scores[key] - projection) * scale;
                probabilities[key] = if key < keys { p } else { 0.0 };
                d_scores[key] = if key < keys { d_score } else { 0.0 };
            }
        }
    }

    /// d_values += probabilitiesᵀ · d_out and d_keys += d_scoresᵀ · queries, rows in order.
    #[inline(always)]
    fn add_key_gradients(&self, block: &KeyBlock, d_keys: &mut [f32], d_values: &mut [f32]) {
        let head_dim = self.shape.head_dim;
        let size = [block.tokens.len(), self.rows, head_dim];
        let probabilities = Left { values: &self.probabilities, row: 1, step: KEY_BLOCK };
        multiply_add(probabilities, Right { values: &self.d_out, row: head_dim }, size, d_values, head_dim);
        let d_scores = Left { values: &self.d_scores, row: 1, step: KEY_BLOCK };
        multiply_add(d_scores, Right { values: &self.queries, row: head_dim }, size, d_keys, head_dim);
    }

    /// d_queries += d_scores · keys, in place in d_qkv, keys in order.
    #[inline(always)]
    fn add_query_gradients(&self, block: &KeyBlock, tokens: Range<usize>, kv_head: usize, d_qkv: &DisjointMut<f32>) {
        let (shape, group, head_dim) = (self.shape, group_size(self.shape), self.shape.head_dim);
        let size = [group, block.tokens.len(), head_dim];
        for (index, token) in tokens.enumerate() {
            let row = token * shape.qkv_dim() + kv_head * group * head_dim;
            // SAFETY: no other task has this sequence's query columns of this key head.
            let d_queries = unsafe { d_qkv.range(row, group * head_dim) };
            let d_scores = Left { values: &self.d_scores[index * group * KEY_BLOCK..], row: KEY_BLOCK, step: 1 };
            multiply_add(d_scores, Right { values: &block.keys, row: head_dim }, size, d_queries, head_dim);
        }
    }
}
