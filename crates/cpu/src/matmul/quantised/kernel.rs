//! What a q8_0 micro-kernel is: a few rows × one or two panels of 16 columns, whole chains over k in registers.

#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::block::{InputBlock, WeightBlock};
use super::portable;
#[cfg(target_arch = "x86_64")]
use super::vnni;
use crate::buffer::PANEL;
use crate::level::Level;

/// One micro-tile: `out[row][column]` is the chain of `fma(weight scale · input scale, dot, sum)` over all blocks, plus bias.
pub(super) struct Tile<'a> {
    /// `[block][row]`
    pub inputs: &'a [InputBlock],
    /// `[panel][block]`
    pub weights: &'a [WeightBlock],
    /// Blocks of one chain.
    pub blocks: usize,
    /// Element (row, column) is at `out + row · out_row + column`.
    pub out: *mut f32,
    pub out_row: usize,
    /// Columns that exist: less than 16 a panel at the right edge of the output.
    pub columns: usize,
    /// One value a column, padded to whole panels; added after the last block.
    pub bias: Option<&'a [f32]>,
    /// Weights to ask for meanwhile, one block for each of the tile's; the last one is asked for again where there are fewer.
    pub ahead: &'a [WeightBlock],
}

impl Tile<'_> {
    /// Adds the bias to the 16 sums of one row and panel and stores those that exist.
    ///
    /// # Safety
    /// The output of this row and panel is valid and not shared.
    #[inline(always)]
    pub(super) unsafe fn store(&self, row: usize, panel: usize, mut sums: [f32; PANEL]) {
        if let Some(bias) = self.bias {
            for (sum, bias) in sums.iter_mut().zip(&bias[panel * PANEL..]) {
                *sum += bias;
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.store_edge(row, panel, &sums) };
    }

    /// Stores as many of the 16 results as there are columns.
    ///
    /// # Safety
    /// The output of this row and panel is valid and not shared.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn store_edge(&self, row: usize, panel: usize, sums: &[f32; PANEL]) {
        let out = self.out.wrapping_add(row * self.out_row + panel * PANEL);
        let columns = (self.columns - panel * PANEL).min(PANEL);
        // SAFETY: as many columns as exist, by the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(sums.as_ptr(), out, columns) };
    }
}

/// The micro-kernels of one level.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    /// As many rows as one tile of a single panel takes: then the weights are read once, as they come from memory.
    pub rows_streamed: usize,
    /// Rows of the largest tile where there are more.
    pub rows_max: usize,
    /// Panels of such a tile.
    pub panels: usize,
    /// Computes a micro-tile of `rows` × `panels`: 1…`rows_streamed` × 1, or up to `rows_max` of rows cut evenly × `panels`.
    ///
    /// Safety: inputs and weights have the tile's blocks, its output is valid and not shared, and the machine has the level.
    pub tile: unsafe fn(rows: usize, panels: usize, tile: &Tile),
}

impl Kernels {
    pub(super) fn of(level: Level) -> Kernels {
        match level {
            Level::Portable => portable::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni | Level::Avx512Bf16 => vnni::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 => avx2::KERNELS,
            #[cfg(not(target_arch = "x86_64"))]
            _ => portable::KERNELS,
        }
    }
}
