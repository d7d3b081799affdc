//! The 16-column panels that inputs are multiplied with: a weight's own, or made of it inside a task a few steps at a
//! time.

use super::kernel::{Kernels, Square, WIDTH, Words};
use super::pack::prefetch;
use crate::bfloat16::{even, odd};
use crate::buffer::Weight;
use crate::level::{Level, dispatch};
use gradus_ops::Precision;
use std::ops::Range;

/// Which side of the weight the outputs are.
#[derive(Clone, Copy)]
pub(super) enum Panels<'a> {
    /// Rows of the weight are the outputs.
    Stored(&'a Weight),
    /// Columns of the weight are the outputs.
    Transposed(&'a Weight),
}

/// What panels are made with and for.
#[derive(Clone, Copy)]
pub(super) struct Maker<'a> {
    pub kernels: &'a Kernels,
    pub level: Level,
    pub words: Words,
}

/// A task's panels for one block of steps.
#[derive(Clone, Copy)]
pub(super) struct PanelBlock {
    first: *const u32,
    /// Words from one panel to the next.
    pub stride: usize,
}

impl PanelBlock {
    /// Panels side by side in `words`, `stride` words each.
    pub(super) fn new(words: &[u32], stride: usize) -> PanelBlock {
        PanelBlock { first: words.as_ptr(), stride }
    }

    /// Address of a panel, counted from the task's first.
    pub(super) fn panel(self, index: usize) -> *const u32 {
        self.first.wrapping_add(index * self.stride)
    }
}

impl Panels<'_> {
    /// The words of a product with them.
    pub(super) fn words(self, kernels: &Kernels) -> Words {
        let (Panels::Stored(weight) | Panels::Transposed(weight)) = self;
        if weight.stored() == Precision::Bf16 { kernels.bf16_words() } else { Words::F32 }
    }

    /// Panels from `panel` and steps from `step` where they lie in memory, if they lie there as the kernels read them.
    pub(super) fn in_place(self, words: Words, panel: usize, step: usize) -> Option<PanelBlock> {
        let Panels::Stored(weight) = self else { return None };
        let (stored, steps) = match words {
            Words::F32 => (bytemuck::cast_slice(weight.packed()), weight.cols()),
            Words::Pairs => (weight.pairs(), weight.cols().div_ceil(2)),
            Words::Swapped => return None,
        };
        Some(PanelBlock::new(&stored[(panel * steps + step) * WIDTH..], steps * WIDTH))
    }

    /// Makes `panels` for `steps`, which begin at a multiple of 16, in dst[panel][step][16]; panels are `stride` words
    /// apart, room for whole sixteens of steps.
    pub(super) fn make(
        self,
        maker: Maker,
        steps: &Range<usize>,
        panels: Range<usize>,
        dst: &mut [u32],
        stride: usize,
    ) -> PanelBlock {
        match self {
            Panels::Stored(weight) => {
                let pairs_of_panel = weight.cols().div_ceil(2) * WIDTH;
                for (panel, dst) in panels.zip(dst.chunks_exact_mut(stride)) {
                    let pairs = &weight.pairs()[panel * pairs_of_panel..][..pairs_of_panel];
                    let range = steps.start / 2 * WIDTH..steps.end / 2 * WIDTH;
                    split_pairs(maker.level, &pairs[range], dst);
                }
            }
            Panels::Transposed(weight) => {
                // Row by row over all panels, because those lie side by side in memory.
                let rows = maker.words.elements(steps.start)..maker.words.elements(steps.end);
                let words_of_square = maker.words.steps(WIDTH) * WIDTH;
                for (index, row) in rows.step_by(WIDTH).enumerate() {
                    for (panel, dst) in panels.clone().zip(dst.chunks_exact_mut(stride)) {
                        let dst = &mut dst[index * words_of_square..][..words_of_square];
                        transpose_square(maker, weight, row, panel, dst);
                    }
                }
            }
        }
        PanelBlock::new(dst, stride)
    }
}

/// dst holds the steps of rows `row` to `row` + 15, a multiple of 16, for 16 columns of the transposed weight. Rows
/// beyond the weight's are its padding; columns beyond its own are zero.
fn transpose_square(maker: Maker, weight: &Weight, row: usize, panel: usize, dst: &mut [u32]) {
    let Maker { kernels, level, words } = maker;
    let column = panel * WIDTH;
    let (stored, of_panel, first) = match words {
        Words::F32 => (bytemuck::cast_slice(weight.packed()), weight.cols(), column),
        Words::Pairs | Words::Swapped => (weight.pairs(), weight.cols().div_ceil(2), column / 2),
    };
    let count = if words == Words::F32 { WIDTH } else { WIDTH / 2 }.min(of_panel - first);
    let start = (row / WIDTH * of_panel + first) * WIDTH;
    let block = &stored[start..start + count * WIDTH];
    // The same columns of the next rows, which lie too far away for the hardware to look ahead.
    for line in 0..count {
        prefetch(block.as_ptr().wrapping_add((of_panel + line) * WIDTH));
    }
    match (words, kernels.pairs) {
        (Words::F32, _) => with_whole(block, |block| {
            if let Some(dst) = dst.first_chunk_mut() {
                // SAFETY: the table is the one of the backend's level.
                unsafe { (kernels.transpose)(block, dst) };
            }
        }),
        (Words::Pairs, Some(kernels)) => with_whole(block, |block| {
            if let Some(dst) = dst.first_chunk_mut() {
                // SAFETY: as above.
                unsafe { (kernels.transpose)(block, dst) };
            }
        }),
        _ => {
            let (mut source, mut transposed): (Square, Square) = ([0; _], [0; _]);
            widen_pairs(level, block, &mut source);
            // SAFETY: as above.
            unsafe { (kernels.transpose)(&source, &mut transposed) };
            swap_rows(level, &transposed, dst);
        }
    }
}

/// Calls with exactly `N` words: those of `block`, and zeros after them where the weight ends.
#[inline(always)]
fn with_whole<const N: usize>(block: &[u32], call: impl FnOnce(&[u32; N])) {
    if let Some(block) = block.first_chunk() {
        return call(block);
    }
    let mut padded = [0; N];
    padded[..block.len()].copy_from_slice(block);
    call(&padded);
}

dispatch! {
    /// Pairs [pairs][16] as swapped words: the odd ones, then the even ones of each.
    fn split_pairs(pairs: &[u32], dst: &mut [u32]) = split_pairs_body;
    /// Pairs [pairs][16] as f32 words, the even ones, then the odd ones of each.
    fn widen_pairs(pairs: &[u32], dst: &mut Square) = widen_pairs_body;
    /// Rows of f32 words as swapped steps.
    fn swap_rows(rows: &Square, dst: &mut [u32]) = swap_rows_body;
}

#[inline(always)]
fn split_pairs_body(pairs: &[u32], dst: &mut [u32]) {
    for (dst, pairs) in dst.as_chunks_mut::<{ 2 * WIDTH }>().0.iter_mut().zip(pairs.as_chunks::<WIDTH>().0) {
        for lane in 0..WIDTH {
            dst[lane] = odd(pairs[lane]).to_bits();
            dst[WIDTH + lane] = even(pairs[lane]).to_bits();
        }
    }
}

#[inline(always)]
fn widen_pairs_body(pairs: &[u32], dst: &mut Square) {
    for (dst, pairs) in dst.as_chunks_mut::<{ 2 * WIDTH }>().0.iter_mut().zip(pairs.as_chunks::<WIDTH>().0) {
        for lane in 0..WIDTH {
            dst[lane] = even(pairs[lane]).to_bits();
            dst[WIDTH + lane] = odd(pairs[lane]).to_bits();
        }
    }
}

#[inline(always)]
fn swap_rows_body(rows: &Square, dst: &mut [u32]) {
    let rows = rows.as_chunks::<{ 2 * WIDTH }>().0;
    for (dst, rows) in dst.as_chunks_mut::<{ 2 * WIDTH }>().0.iter_mut().zip(rows) {
        dst[..WIDTH].copy_from_slice(&rows[WIDTH..]);
        dst[WIDTH..].copy_from_slice(&rows[..WIDTH]);
    }
}
