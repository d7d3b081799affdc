//! Backward of packed attention: probabilities are recomputed from lse. One task for each sequence and query head, then the
//! gradients of the keys and values of a group's heads are added in the order of the heads.
//!
//! Within a task the order is fixed (query panels of 64 rows, then key blocks), so gradients are the same bits on any number
//! of threads, and a sequence's do not depend on what is packed beside it.

use super::pages::{Block, Pages, page_elements};
use super::product::{Left, Start, TILE_ROWS, multiply_columns, multiply_rows};
use super::registers::Stored;
use super::scratch::{Arena, lines, run_in_parts};
use super::sequences::{Fill, PageTokens, Sequences, tokens_of_turn};
use super::state::masked_from;
use super::{check_heads, group_size};
use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::level::{Level, dispatch};
use crate::math::exp;
use crate::pool::{DisjointMut, Pool, run_ranges};
use crate::vector::{Vector, dispatch_vector, dot};
use bytemuck::{Pod, Zeroable};
use gradus_ops::{AttentionShape, KEY_BLOCK, LANES, PAGE_TOKENS, Result};
use gradus_tensor::DType;
use half::bf16;
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::PoisonError;

/// Query rows in one panel: as many as keys in a block, so that one panel meets one block on the diagonal.
const PANEL_ROWS: usize = KEY_BLOCK;
/// Tokens whose gradients are put together by one task.
const TOKENS_OF_SUM: usize = 32;

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
    let sequences = Sequences::new(OP, cu_seqlens.u32(OP, "cu_seqlens", sequences + 1)?)?;
    match qkv.dtype() {
        DType::BF16 => typed::<bf16>(backend, shape, qkv, sequences, out, lse, d_out, d_qkv),
        _ => typed::<f32>(backend, shape, qkv, sequences, out, lse, d_out, d_qkv),
    }
}

#[allow(clippy::too_many_arguments)]
fn typed<Q: Stored>(
    backend: &CpuBackend,
    shape: AttentionShape,
    qkv: &Buffer,
    sequences: Sequences,
    out: &Buffer,
    lse: &Buffer,
    d_out: &Buffer,
    d_qkv: &mut Buffer,
) -> Result<()> {
    const OP: &str = "attention_backward";
    let tokens = sequences.end();
    let inputs = Inputs {
        level: backend.level,
        shape,
        qkv: qkv.slice::<Q>(OP, "qkv", tokens * shape.qkv_dim())?,
        out: out.slice::<Q>(OP, "out", tokens * shape.q_dim())?,
        lse: lse.f32(OP, "lse", tokens * shape.heads)?,
        d_out: d_out.f32(OP, "d_out", tokens * shape.q_dim())?,
    };
    backward(backend, sequences, inputs, d_qkv.f32_mut(OP, "d_qkv", tokens * shape.qkv_dim())?)
}

#[derive(Clone, Copy)]
struct Inputs<'a, Q> {
    level: Level,
    shape: AttentionShape,
    qkv: &'a [Q],
    out: &'a [Q],
    lse: &'a [f32],
    d_out: &'a [f32],
}

/// A sequence of the batch.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Sequence {
    start: u32,
    end: u32,
    /// Its first page.
    page: u32,
}

impl Sequence {
    /// Elements of scratch for this many sequences.
    const fn len(sequences: usize) -> usize {
        sequences * size_of::<Sequence>() / size_of::<f32>()
    }

    fn tokens(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

fn backward<Q: Stored>(backend: &CpuBackend, sequences: Sequences, inputs: Inputs<Q>, d_qkv: &mut [f32]) -> Result<()> {
    let (pool, shape) = (&backend.pool, inputs.shape);
    let turns = || sequences.turns(tokens_of_turn(pool));
    let part_len = Panel::<Q>::len(shape);
    let parts_len = lines(pool.threads() * part_len);
    let len = turns().map(|turn| Turn::len(turn, shape)).max().unwrap_or(0);
    let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
    let (parts, memory) = scratch.take(parts_len + len)?.split_at_mut(parts_len);
    for turn in turns() {
        let turn = Turn::new(pool, inputs, turn, memory, d_qkv);
        run_in_parts(pool, turn.list.len() * shape.heads, parts, part_len, &|item, part| {
            head_backward(inputs.level, inputs, turn.list[item / shape.heads], item % shape.heads, &turn, part);
        });
        run_ranges(pool, turn.tokens.len(), TOKENS_OF_SUM, &|start, end| {
            sum_heads(inputs.level, shape, start..end, &turn);
        });
    }
    Ok(())
}

/// Some sequences: copies that all heads of a group read, and what each head of it adds to the gradients.
struct Turn<'a> {
    tokens: Range<usize>,
    /// Long sequences first, so that the threads end together.
    list: &'a [Sequence],
    /// Transposed.
    keys_and_values: Pages<'a, f32>,
    /// The same keys in order, twice.
    keys: Pages<'a, f32>,
    /// [heads, tokens, head_dim]
    d_keys: DisjointMut<'a, f32>,
    /// [heads, tokens, head_dim]
    d_values: DisjointMut<'a, f32>,
    /// Of the whole batch.
    d_qkv: DisjointMut<'a, f32>,
}

impl<'a> Turn<'a> {
    /// Elements of scratch that [`Turn::new`] takes.
    fn len(sequences: Sequences, shape: AttentionShape) -> usize {
        let (pages, count) = (sequences.pieces(PAGE_TOKENS), sequences.ranges().count());
        let gradient_len = (sequences.end() - sequences.start()) * shape.q_dim();
        let small = lines(PageTokens::len(pages)) + lines(Sequence::len(count));
        3 * lines(pages * page_elements(shape)) + 2 * lines(gradient_len) + small
    }

    fn new<Q: Stored>(
        pool: &Pool,
        inputs: Inputs<Q>,
        sequences: Sequences,
        memory: &'a mut [f32],
        d_qkv: &'a mut [f32],
    ) -> Turn<'a> {
        let mut memory = Arena::new(memory);
        let (shape, tokens) = (inputs.shape, sequences.start()..sequences.end());
        let (page_count, count) = (sequences.pieces(PAGE_TOKENS), sequences.ranges().count());
        let list: &mut [Sequence] = memory.cut_as(Sequence::len(count));
        let mut page = 0;
        for (sequence, range) in list.iter_mut().zip(sequences.ranges()) {
            *sequence = Sequence { start: range.start as u32, end: range.end as u32, page };
            page += range.len().div_ceil(PAGE_TOKENS) as u32;
        }
        list.sort_unstable_by_key(|sequence| Reverse(sequence.tokens().len()));
        let page_tokens: &mut [PageTokens] = memory.cut_as(PageTokens::len(page_count));
        sequences.fill_page_tokens(page_tokens);
        let pages = [(); 3].map(|()| memory.cut(page_count * page_elements(shape)));
        let [keys, keys_transposed, values_transposed] = pages;
        let (key_column, value_column) = (shape.q_dim(), shape.q_dim() + shape.kv_heads * shape.head_dim);
        let fills = [
            Fill::new(key_column, false, keys),
            Fill::new(key_column, true, keys_transposed),
            Fill::new(value_column, true, values_transposed),
        ];
        Fill::pages(pool, inputs.level, shape, inputs.qkv, page_tokens, &fills);
        let gradient_len = tokens.len() * shape.q_dim();
        Turn {
            tokens,
            list,
            keys_and_values: Pages { table: None, keys: keys_transposed, values: values_transposed },
            keys: Pages { table: None, keys, values: keys },
            d_keys: DisjointMut::new(memory.cut(gradient_len)),
            d_values: DisjointMut::new(memory.cut(gradient_len)),
            d_qkv: DisjointMut::new(d_qkv),
        }
    }
}

dispatch_vector! {
    fn head_backward<Q: Stored>(
        inputs: Inputs<Q>, sequence: Sequence, head: usize, turn: &Turn, part: &mut [f32]
    ) = head_backward_body;
}

dispatch! {
    fn sum_heads(shape: AttentionShape, range: Range<usize>, turn: &Turn) = sum_heads_body;
}

#[inline(always)]
fn head_backward_body<V: Vector, Q: Stored>(
    inputs: Inputs<Q>,
    sequence: Sequence,
    head: usize,
    turn: &Turn,
    part: &mut [f32],
) {
    let mut panel = Panel::new(inputs, sequence, head, part);
    let range = sequence.tokens();
    for first in range.clone().step_by(PANEL_ROWS) {
        panel.load::<V>(first..range.end.min(first + PANEL_ROWS));
        for start in (range.start..=first).step_by(KEY_BLOCK) {
            panel.meet::<V>(start..range.end.min(start + KEY_BLOCK), turn);
        }
        panel.write_query_gradients(turn);
    }
}

/// The gradients of keys and values: those of a group's heads, added in order. `range` counts from the turn's first token.
#[inline(always)]
fn sum_heads_body(shape: AttentionShape, range: Range<usize>, turn: &Turn) {
    let (group, head_dim) = (group_size(shape), shape.head_dim);
    for token in range {
        let row = (turn.tokens.start + token) * shape.qkv_dim() + shape.q_dim();
        for (which, part) in [&turn.d_keys, &turn.d_values].into_iter().enumerate() {
            for kv_head in 0..shape.kv_heads {
                let column = (which * shape.kv_heads + kv_head) * head_dim;
                // SAFETY: each token's gradients are put together by one task, after all tasks that made the parts.
                let sum = unsafe { turn.d_qkv.range(row + column, head_dim) };
                for (index, head) in (kv_head * group..(kv_head + 1) * group).enumerate() {
                    // SAFETY: as above.
                    let part = unsafe { part.range((head * turn.tokens.len() + token) * head_dim, head_dim) };
                    if index == 0 {
                        sum.copy_from_slice(part);
                    } else {
                        for (sum, part) in sum.iter_mut().zip(&*part) {
                            *sum += part;
                        }
                    }
                }
            }
        }
    }
}

/// Query rows of one head and sequence, against its key blocks one after another.
struct Panel<'a, 's, Q> {
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
    const fn len(shape: AttentionShape) -> usize {
        3 * lines(PANEL_ROWS * shape.head_dim) + lines(PANEL_ROWS) + 2 * lines(PANEL_ROWS * KEY_BLOCK)
    }

    #[inline(always)]
    fn new(inputs: Inputs<'a, Q>, sequence: Sequence, head: usize, memory: &'s mut [f32]) -> Self {
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
    fn load<V: Vector>(&mut self, tokens: Range<usize>) {
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
    fn meet<V: Vector>(&mut self, keys: Range<usize>, turn: &Turn) {
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
            multiply_columns(level, queries, [size, head_dim], &keys_transposed[..pages], scores, KEY_BLOCK);
            let d_out = Left { values: &self.d_out[start..], row: head_dim, step: 1 };
            let d_scores = &mut self.d_scores[place..];
            multiply_columns(level, d_out, [size, head_dim], &values_transposed[..pages], d_scores, KEY_BLOCK);
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
                multiply_rows(level, left, [size, head_dim], attending.clone(), &right, to, head_dim, start);
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
            multiply_rows(level, left, [size, head_dim], 0..inside, block, to, head_dim, start);
        }
    }

    #[inline(always)]
    fn write_query_gradients(&self, turn: &Turn) {
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
