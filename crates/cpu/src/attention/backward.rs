//! Backward of packed attention: probabilities are recomputed from lse. One task for each sequence and query head, then the
//! gradients of the keys and values of a group's heads are added in the order of the heads.
//!
//! Within a task the order is fixed (query panels of 64 rows, then key blocks), so gradients are the same bits on any number
//! of threads, and a sequence's do not depend on what is packed beside it.

use super::pages::{Pages, page_elements};
use super::panel::{PANEL_ROWS, Panel};
use super::registers::Stored;
use super::scratch::{Arena, lines, run_in_parts};
use super::sequences::{Fill, PageTokens, Sequences, tokens_of_turn};
use super::{check_heads, group_size};
use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::disjoint::DisjointMut;
use crate::level::{Level, dispatch};
use crate::pool::{Pool, run_ranges};
use crate::vector::{Vector, dispatch_vector};
use bytemuck::{Pod, Zeroable};
use gradus_ops::{AttentionShape, KEY_BLOCK, PAGE_TOKENS, Result};
use gradus_tensor::DType;
use half::bf16;
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::PoisonError;

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
pub(super) struct Inputs<'a, Q> {
    pub(super) level: Level,
    pub(super) shape: AttentionShape,
    pub(super) qkv: &'a [Q],
    pub(super) out: &'a [Q],
    pub(super) lse: &'a [f32],
    pub(super) d_out: &'a [f32],
}

/// A sequence of the batch.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct Sequence {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Its first page.
    pub(super) page: u32,
}

impl Sequence {
    /// Elements of scratch for this many sequences.
    const fn len(sequences: usize) -> usize {
        sequences * size_of::<Sequence>() / size_of::<f32>()
    }

    pub(super) fn tokens(&self) -> Range<usize> {
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
        run_in_parts(pool, turn.list.len() * shape.heads, 1, parts, part_len, &|item, part| {
            head_backward(inputs.level, inputs, turn.list[item / shape.heads], item % shape.heads, &turn, part);
        });
        run_ranges(pool, turn.tokens.len(), TOKENS_OF_SUM, &|start, end| {
            sum_heads(inputs.level, shape, start..end, &turn);
        });
    }
    Ok(())
}

/// Some sequences: copies that all heads of a group read, and what each head of it adds to the gradients.
pub(super) struct Turn<'a> {
    pub(super) tokens: Range<usize>,
    /// Long sequences first, so that the threads end together.
    pub(super) list: &'a [Sequence],
    /// Transposed.
    pub(super) keys_and_values: Pages<'a, f32>,
    /// The same keys in order, twice.
    pub(super) keys: Pages<'a, f32>,
    /// [heads, tokens, head_dim]
    pub(super) d_keys: DisjointMut<'a, f32>,
    /// [heads, tokens, head_dim]
    pub(super) d_values: DisjointMut<'a, f32>,
    /// Of the whole batch.
    pub(super) d_qkv: DisjointMut<'a, f32>,
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
