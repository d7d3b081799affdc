//! Attention over the paged cache: decode steps and chunks of prefill, mixed in one batch.

use super::check_heads;
use super::forward::{Attention, Results, attend_runs, push_runs};
use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::pool::DisjointMut;
use gradus_ops::{Error, KvPageShape, PAGE_TOKENS, Result};

/// See [`gradus_ops::Backend::paged_attention`].
#[allow(clippy::too_many_arguments)]
pub(crate) fn paged_attention(
    backend: &CpuBackend,
    shape: KvPageShape,
    qkv: &Buffer,
    tokens: usize,
    positions: &Buffer,
    sequences: &Buffer,
    page_table: &Buffer,
    pages_max: usize,
    k_pages: &Buffer,
    v_pages: &Buffer,
    out: &mut Buffer,
) -> Result<()> {
    const OP: &str = "paged_attention";
    let heads = shape.attention;
    check_heads(OP, heads)?;
    let qkv = qkv.f32(OP, "qkv", tokens * heads.qkv_dim())?;
    let positions = positions.u32(OP, "positions", tokens)?;
    let sequences = sequences.u32(OP, "sequences", tokens)?;
    let table_rows = sequences.iter().max().map_or(0, |sequence| *sequence as usize + 1);
    let table = page_table.u32(OP, "page_table", table_rows * pages_max)?;
    for (position, sequence) in positions.iter().zip(sequences) {
        check_pages(*position as usize, &table[*sequence as usize * pages_max..][..pages_max], shape.pages)?;
    }
    let k_pages = k_pages.f32(OP, "k_pages", shape.elements())?;
    let v_pages = v_pages.f32(OP, "v_pages", shape.elements())?;
    let out = DisjointMut::new(out.f32_mut(OP, "out", tokens * heads.q_dim())?);
    let (mut runs, mut token) = (Vec::new(), 0);
    for same in sequences.chunk_by(|a, b| a == b) {
        push_runs(&mut runs, heads, token, same.len(), same[0] as usize * pages_max);
        token += same.len();
    }
    let split = backend.decode_split;
    let attention = Attention { shape: heads, qkv, positions, table, k_pages, v_pages, split };
    attend_runs(&backend.pool, backend.level, attention, runs, Results { out: &out, lse: None });
    Ok(())
}

/// An error unless the table covers `position` with pages that exist.
fn check_pages(position: usize, table: &[u32], pages: usize) -> Result<()> {
    let needed = position / PAGE_TOKENS + 1;
    let Some(used) = table.get(..needed) else {
        let reason = format!("position {position} needs {needed} pages, the table has {}", table.len());
        return Err(Error::Invalid { op: "paged_attention", reason });
    };
    match used.iter().find(|page| **page as usize >= pages) {
        None => Ok(()),
        Some(page) => {
            let reason = format!("position {position} lies on page {page}, the cache has {pages} pages");
            Err(Error::Invalid { op: "paged_attention", reason })
        }
    }
}
