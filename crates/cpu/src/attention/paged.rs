//! Attention over the paged cache: decode steps and chunks of prefill, mixed in one batch.

use super::forward::{Attention, Results, Run, attend_runs, attend_runs_in_splits, part_len, splits_len};
use super::pages::Pages;
use super::registers::Stored;
use super::scratch::{Arena, lines};
use super::{check_heads, tokens_of_task};
use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::disjoint::DisjointMut;
use gradus_ops::{AttentionShape, Error, KvPageShape, PAGE_TOKENS, Result};
use gradus_tensor::DType;
use half::bf16;
use std::sync::PoisonError;

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
    check_heads(OP, shape.attention)?;
    let positions = positions.u32(OP, "positions", tokens)?;
    let sequences = sequences.u32(OP, "sequences", tokens)?;
    let table_rows = sequences.iter().max().map_or(0, |sequence| *sequence as usize + 1);
    let table = page_table.u32(OP, "page_table", table_rows * pages_max)?;
    let queries = Queries { shape, tokens, positions, sequences, table, pages_max };
    match qkv.dtype() {
        DType::BF16 => queries.attend::<bf16>(backend, qkv, k_pages, v_pages, out),
        _ => queries.attend::<f32>(backend, qkv, k_pages, v_pages, out),
    }
}

/// The query tokens of one inference step.
struct Queries<'a> {
    shape: KvPageShape,
    tokens: usize,
    positions: &'a [u32],
    sequences: &'a [u32],
    table: &'a [u32],
    pages_max: usize,
}

impl Queries<'_> {
    fn attend<E: Stored>(
        &self,
        backend: &CpuBackend,
        qkv: &Buffer,
        k_pages: &Buffer,
        v_pages: &Buffer,
        out: &mut Buffer,
    ) -> Result<()> {
        const OP: &str = "paged_attention";
        let (shape, elements, tokens) = (self.shape.attention, self.shape.elements(), self.tokens);
        let qkv = qkv.slice::<E>(OP, "qkv", tokens * shape.qkv_dim())?;
        let keys = k_pages.slice::<E>(OP, "k_pages", elements)?;
        let values = v_pages.slice::<E>(OP, "v_pages", elements)?;
        let out = DisjointMut::new(out.slice_mut::<E>(OP, "out", tokens * shape.q_dim())?);
        let pages = Pages { table: Some(self.table), keys, values };
        let attention = Attention { level: backend.level, shape, qkv, pages, split: backend.decode_split };
        let (pool, results) = (&backend.pool, Results { out: &out, lse: None });

        let keys_max = self.positions.iter().max().map_or(0, |position| *position as usize + 1);
        let (splits, states_len) = splits_len(shape, keys_max, attention.split);
        // So few tasks, and so long, that the splits must keep the threads busy.
        let in_splits = splits > 1 && tokens * shape.kv_heads < 2 * pool.threads();
        let states_len = if in_splits { tokens * shape.kv_heads * states_len } else { 0 };
        let parts_len = pool.threads() * part_len(shape);
        let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = Arena::new(scratch.take(lines(Run::len(tokens)) + lines(parts_len) + lines(states_len))?);
        let runs = memory.cut_as(Run::len(tokens));
        let count = self.fill_runs(shape, runs)?;
        let (runs, parts) = (&mut runs[..count], memory.cut(parts_len));
        if in_splits {
            attend_runs_in_splits(pool, attention, runs, parts, memory.cut(states_len), results);
        } else {
            attend_runs(pool, attention, runs, parts, results);
        }
        Ok(())
    }

    /// Cuts the tokens into runs of one task each; their number. An error where a run's pages do not exist.
    fn fill_runs(&self, shape: AttentionShape, runs: &mut [Run]) -> Result<usize> {
        let step = tokens_of_task(shape);
        let (mut count, mut token) = (0, 0);
        while token < self.tokens {
            let (position, sequence) = (self.positions[token], self.sequences[token]);
            let follows = |next: &usize| {
                self.sequences[*next] == sequence && self.positions[*next] as usize == position as usize + next - token
            };
            let tokens = (token..self.tokens).take(step).take_while(follows).count();
            let table = sequence as usize * self.pages_max;
            let last = position as usize + tokens - 1;
            check_pages(last, &self.table[table..][..self.pages_max], self.shape.pages)?;
            runs[count] = Run { token: token as u32, tokens: tokens as u32, position, table: table as u32 };
            (count, token) = (count + 1, token + tokens);
        }
        Ok(count)
    }
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
