//! What a micro-kernel is: the innermost step of every matmul, one table of functions per instruction level.
//!
//! A micro-tile is a few rows × a few panels of 16 columns of the output, held in registers while one chain of fused
//! multiply-adds runs over the reduction index. A level is added as a file with such a kernel and an arm in
//! [`Kernels::of`].

#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::portable;
use crate::buffer::PANEL;
use crate::level::Level;

/// What the accumulators start from, and what becomes of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accumulate {
    /// out = 0 + …: the chain begins here.
    Begin,
    /// out = out + …: the chain goes on from what an earlier block of the same chain stored.
    Continue,
    /// out += (0 + …): a partial sum of its own, then added to the gradient.
    AddPartial,
}

/// One micro-tile: `out[row][panel · 16 + lane] = Σ_step a[row][step] · b[panel][step][lane]`.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// Element (row, step) is at `a + row · a_row + step · a_step`.
    pub a: *const f32,
    pub a_row: usize,
    pub a_step: usize,
    /// `[steps][16]`; the next panel is `b_panel` elements further.
    pub b: *const f32,
    pub b_panel: usize,
    pub steps: usize,
    /// Element (row, column) is at `out + row · out_row + column`.
    pub out: *mut f32,
    pub out_row: usize,
    /// Where the output of the tile computed next begins: a hint, any address will do.
    pub next_out: *const f32,
    pub accumulate: Accumulate,
    /// Null, or one value a column, added after the last step.
    pub bias: *const f32,
}

/// The micro-kernels of one level.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    /// Rows of the largest micro-tile.
    pub rows_max: usize,
    /// Computes a micro-tile of `rows` (1 to `rows_max`) × `panels` (1, or at most `panels_at_once(rows)`).
    ///
    /// Safety: every address of the tile is valid, the output is not shared, and the machine has the level.
    pub tile: unsafe fn(rows: usize, panels: usize, tile: &Tile),
    /// dst[j][i] = src[i][j].
    ///
    /// Safety: the machine has the level.
    pub transpose: unsafe fn(src: &Square, dst: &mut Square),
}

/// 16 × 16 elements.
pub(super) type Square = [f32; WIDTH * WIDTH];

impl Kernels {
    pub(super) fn of(level: Level) -> Kernels {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 | Level::Avx512Vnni | Level::Avx512Bf16 => {
                Kernels { rows_max: avx2::TILE_ROWS, tile: avx2::tile, transpose: avx2::transpose }
            }
            _ => Kernels { rows_max: portable::TILE_ROWS, tile: portable::tile, transpose: portable::transpose },
        }
    }
}

/// Panels that one micro-tile of few rows spans, so that enough chains are in flight to hide the latency of an addition.
pub(super) const fn panels_at_once(rows: usize) -> usize {
    match rows {
        1 => 4,
        2 => 2,
        _ => 1,
    }
}

/// Rows of the largest micro-tile of any level.
pub(super) const ROWS_MAX: usize = 6;
/// Columns of one panel, as the kernels' arrays need it.
pub(super) const WIDTH: usize = PANEL;
