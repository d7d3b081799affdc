//! Attention over a packed batch, in training and scoring: keys and values are put into pages, then attended as in decode.

use super::check_heads;
use super::forward::{Attention, Results, Run, attend_runs, part_len};
use super::pages::{Pages, page_elements};
use super::registers::Stored;
use super::scratch::{Arena, lines};
use super::sequences::{Fill, PageTokens, Sequences, tokens_of_turn};
use super::tokens_of_task;
use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::disjoint::DisjointMut;
use gradus_ops::{AttentionShape, KEY_SPLIT, PAGE_TOKENS, Result};
use gradus_tensor::DType;
use half::bf16;
use std::sync::PoisonError;

/// See [`gradus_ops::Backend::attention`].
pub(crate) fn attention(
    backend: &CpuBackend,
    shape: AttentionShape,
    qkv: &Buffer,
    cu_seqlens: &Buffer,
    sequences: usize,
    out: &mut Buffer,
    lse: &mut Buffer,
) -> Result<()> {
    const OP: &str = "attention";
    check_heads(OP, shape)?;
    let sequences = Sequences::new(OP, cu_seqlens.u32(OP, "cu_seqlens", sequences + 1)?)?;
    match qkv.dtype() {
        DType::BF16 => attend::<bf16>(backend, shape, qkv, sequences, out, lse),
        _ => attend::<f32>(backend, shape, qkv, sequences, out, lse),
    }
}

fn attend<Q: Stored>(
    backend: &CpuBackend,
    shape: AttentionShape,
    qkv: &Buffer,
    sequences: Sequences,
    out: &mut Buffer,
    lse: &mut Buffer,
) -> Result<()> {
    const OP: &str = "attention";
    let tokens = sequences.end();
    let qkv = qkv.slice::<Q>(OP, "qkv", tokens * shape.qkv_dim())?;
    let out = DisjointMut::new(out.slice_mut::<Q>(OP, "out", tokens * shape.q_dim())?);
    let lse = DisjointMut::new(lse.f32_mut(OP, "lse", tokens * shape.heads)?);
    let results = Results { out: &out, lse: Some(&lse) };
    let turns = || sequences.turns(tokens_of_turn(&backend.pool));
    let parts_len = backend.pool.threads() * part_len(shape);
    let len = turns().map(|turn| Turn::len(turn, shape)).max().unwrap_or(0);
    let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
    let (parts, memory) = scratch.take(lines(parts_len) + len)?.split_at_mut(lines(parts_len));
    for turn in turns() {
        let Turn { runs, pages } = Turn::new(backend, shape, qkv, turn, memory);
        let attention = Attention { level: backend.level, shape, qkv, pages, split: KEY_SPLIT };
        attend_runs(&backend.pool, attention, runs, parts, results);
    }
    Ok(())
}

/// Some sequences' keys and values in pages, and their query tokens.
struct Turn<'a> {
    runs: &'a mut [Run],
    pages: Pages<'a, f32>,
}

impl<'a> Turn<'a> {
    /// Elements of scratch that [`Turn::new`] takes.
    fn len(sequences: Sequences, shape: AttentionShape) -> usize {
        let (pages, runs) = (sequences.pieces(PAGE_TOKENS), sequences.pieces(tokens_of_task(shape)));
        2 * lines(pages * page_elements(shape)) + lines(PageTokens::len(pages)) + lines(Run::len(runs))
    }

    fn new<Q: Stored>(
        backend: &CpuBackend,
        shape: AttentionShape,
        qkv: &[Q],
        sequences: Sequences,
        memory: &'a mut [f32],
    ) -> Turn<'a> {
        let mut memory = Arena::new(memory);
        let step = tokens_of_task(shape);
        let (page_count, run_count) = (sequences.pieces(PAGE_TOKENS), sequences.pieces(step));
        let [keys, values] = [(); 2].map(|()| memory.cut(page_count * page_elements(shape)));
        let tokens: &mut [PageTokens] = memory.cut_as(PageTokens::len(page_count));
        sequences.fill_page_tokens(tokens);
        let value_column = shape.q_dim() + shape.kv_heads * shape.head_dim;
        let fills = [Fill::new(shape.q_dim(), true, keys), Fill::new(value_column, false, values)];
        Fill::pages(&backend.pool, backend.level, shape, qkv, tokens, &fills);
        let runs: &mut [Run] = memory.cut_as(Run::len(run_count));
        let (mut run, mut table) = (0, 0);
        for range in sequences.ranges() {
            for start in range.clone().step_by(step) {
                let (tokens, position) = (step.min(range.end - start) as u32, (start - range.start) as u32);
                runs[run] = Run { token: start as u32, tokens, position, table };
                run += 1;
            }
            table += range.len().div_ceil(PAGE_TOKENS) as u32;
        }
        Turn { runs, pages: Pages { table: None, keys, values } }
    }
}
