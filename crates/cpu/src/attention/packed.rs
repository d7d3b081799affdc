//! Attention over a packed batch, in training and scoring: keys and values are put into pages, then attended as in decode.

use super::forward::{Attention, Results, attend_runs, push_runs};
use super::pages::{page_elements, store_token};
use super::{check_heads, sequence_ranges};
use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::pool::{DisjointMut, Pool};
use gradus_ops::{AttentionShape, KEY_SPLIT, PAGE_TOKENS, Result};
use std::ops::Range;
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
    let ranges = sequence_ranges(OP, cu_seqlens.u32(OP, "cu_seqlens", sequences + 1)?)?;
    let tokens = ranges.last().map_or(0, |range| range.end);
    let qkv = qkv.f32(OP, "qkv", tokens * shape.qkv_dim())?;
    let out = DisjointMut::new(out.f32_mut(OP, "out", tokens * shape.q_dim())?);
    let lse = DisjointMut::new(lse.f32_mut(OP, "lse", tokens * shape.heads)?);
    let (mut positions, mut pages, mut runs) = (Vec::with_capacity(tokens), Vec::new(), Vec::new());
    for range in ranges {
        push_runs(&mut runs, shape, range.start, range.len(), pages.len());
        positions.extend(0..range.len() as u32);
        pages.extend(range.clone().step_by(PAGE_TOKENS).map(|start| start..range.end.min(start + PAGE_TOKENS)));
    }
    let table: Vec<u32> = (0..pages.len() as u32).collect();
    let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
    let elements = pages.len() * page_elements(shape);
    let (k_pages, v_pages) = scratch.take(2 * elements)?.split_at_mut(elements);
    fill_pages(&backend.pool, shape, qkv, &pages, k_pages, v_pages);
    let attention = Attention { shape, qkv, positions: &positions, table: &table, k_pages, v_pages, split: KEY_SPLIT };
    attend_runs(&backend.pool, backend.level, attention, runs, Results { out: &out, lse: Some(&lse) });
    Ok(())
}

/// Puts keys and values of the token ranges into one page each; what lies past a range's end stays as it was.
fn fill_pages(
    pool: &Pool,
    shape: AttentionShape,
    qkv: &[f32],
    pages: &[Range<usize>],
    k_pages: &mut [f32],
    v_pages: &mut [f32],
) {
    let (dim, page_len) = (shape.qkv_dim(), page_elements(shape));
    let (keys, values) = (DisjointMut::new(k_pages), DisjointMut::new(v_pages));
    pool.run(pages.len(), &|page| {
        // SAFETY: each page is taken once.
        let (k_page, v_page) =
            unsafe { (keys.range(page * page_len, page_len), values.range(page * page_len, page_len)) };
        for (offset, token) in pages[page].clone().enumerate() {
            store_token(shape, &qkv[token * dim..][..dim], offset, k_page, v_page);
        }
    });
}
