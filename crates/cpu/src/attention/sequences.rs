//! The sequences of a packed batch, and their keys and values copied into pages.

use super::pages::page_elements;
use super::registers::Stored;
use super::transpose::{copy_page, transpose_page};
use crate::disjoint::DisjointMut;
use crate::level::Level;
use crate::pool::Pool;
use bytemuck::{Pod, Zeroable};
use gradus_ops::{AttentionShape, Error, PAGE_TOKENS, Result};
use std::ops::Range;

/// Token ranges of a packed batch, or of some of its sequences.
#[derive(Clone, Copy)]
pub(super) struct Sequences<'a> {
    cu_seqlens: &'a [u32],
}

impl<'a> Sequences<'a> {
    /// An error unless cu_seqlens starts at 0 and never falls.
    pub(super) fn new(op: &'static str, cu_seqlens: &'a [u32]) -> Result<Sequences<'a>> {
        if cu_seqlens[0] != 0 || !cu_seqlens.is_sorted() {
            let reason = "cu_seqlens must start at 0 and never fall".into();
            return Err(Error::Invalid { op, reason });
        }
        Ok(Sequences { cu_seqlens })
    }

    pub(super) fn ranges(self) -> impl Iterator<Item = Range<usize>> + use<'a> {
        self.cu_seqlens.windows(2).map(|pair| pair[0] as usize..pair[1] as usize)
    }

    /// The end of the last token.
    pub(super) fn end(self) -> usize {
        self.cu_seqlens[self.cu_seqlens.len() - 1] as usize
    }

    /// The batch in turns of some sequences each, at least `tokens` tokens in all but the last: what a turn copies stays in
    /// the caches until it is read.
    pub(super) fn turns(self, tokens: usize) -> impl Iterator<Item = Sequences<'a>> + use<'a> {
        let mut rest = self.cu_seqlens;
        std::iter::from_fn(move || {
            let enough = |end: &u32| (end - rest[0]) as usize >= tokens;
            let last = rest.iter().position(enough).unwrap_or(rest.len() - 1);
            let turn = &rest[..=last];
            rest = &rest[last..];
            (last > 0).then_some(Sequences { cu_seqlens: turn })
        })
    }

    /// The first token.
    pub(super) fn start(self) -> usize {
        self.cu_seqlens[0] as usize
    }

    /// Pieces of `step` tokens (a sequence's last one may be shorter) that the sequences make.
    pub(super) fn pieces(self, step: usize) -> usize {
        self.ranges().map(|range| range.len().div_ceil(step)).sum()
    }

    /// The tokens of each page, of as many as the sequences make.
    pub(super) fn fill_page_tokens(self, pages: &mut [PageTokens]) {
        let starts = self.ranges().flat_map(|range| {
            let end = range.end;
            range.step_by(PAGE_TOKENS).map(move |start| (start, PAGE_TOKENS.min(end - start)))
        });
        for (page, (start, count)) in pages.iter_mut().zip(starts) {
            *page = PageTokens { start: start as u32, count: count as u32 };
        }
    }
}

/// Tokens of a turn for each thread.
const TOKENS_OF_TURN: usize = 512;

/// Tokens of one turn at least: enough tasks for all threads.
pub(super) fn tokens_of_turn(pool: &Pool) -> usize {
    TOKENS_OF_TURN * pool.threads()
}

/// The tokens that one page holds.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct PageTokens {
    start: u32,
    count: u32,
}

impl PageTokens {
    /// Elements of scratch for this many pages.
    pub(super) const fn len(pages: usize) -> usize {
        pages * size_of::<PageTokens>() / size_of::<f32>()
    }
}

/// Pages to make of the keys, or of the values, of a packed batch.
pub(super) struct Fill<'a> {
    /// Where the heads begin in a qkv row.
    column: usize,
    transposed: bool,
    /// [pages, kv_heads, 16 · head_dim]
    to: DisjointMut<'a, f32>,
}

impl<'a> Fill<'a> {
    pub(super) fn new(column: usize, transposed: bool, to: &'a mut [f32]) -> Fill<'a> {
        Fill { column, transposed, to: DisjointMut::new(to) }
    }

    /// Fills the pages. What lies past a page's tokens is 0 where it is transposed, else left over from earlier batches.
    pub(super) fn pages<Q: Stored>(
        pool: &Pool,
        level: Level,
        shape: AttentionShape,
        qkv: &[Q],
        pages: &[PageTokens],
        fills: &[Fill],
    ) {
        let (row, head_dim, page_len) = (shape.qkv_dim(), shape.head_dim, page_elements(shape));
        pool.run(pages.len(), &|page| {
            let PageTokens { start, count } = pages[page];
            for fill in fills {
                // SAFETY: each page is taken once.
                let to = unsafe { fill.to.range(page * page_len, page_len) };
                for (head, to) in to.chunks_exact_mut(head_dim * PAGE_TOKENS).enumerate() {
                    let from = &qkv[start as usize * row + fill.column + head * head_dim..];
                    let copy = if fill.transposed { transpose_page } else { copy_page };
                    copy(level, from, row, count as usize, to);
                }
            }
        });
    }
}
