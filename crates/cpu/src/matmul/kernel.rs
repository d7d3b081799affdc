//! What a micro-kernel is: the innermost step of every matmul, one table of functions per instruction level.
//!
//! A micro-tile is a few rows × a few panels of 16 columns of the output, held in registers while one chain of fused
//! multiply-adds runs over the reduction index. Both operands are words of 32 bits: f32, or pairs of bf16. A level is
//! added as a file with such kernels and an arm in [`Kernels::of`].

use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::buffer::PANEL;
use crate::level::Level;

/// Columns of one panel, as the kernels' arrays need it.
pub(super) const WIDTH: usize = PANEL;
/// Rows of the largest micro-tile of any level.
pub(super) const ROWS_MAX: usize = 14;

/// 16 × 16 words.
pub(super) type Square = [u32; WIDTH * WIDTH];
/// 8 × 16 words: 16 × 16 elements of bf16.
pub(super) type HalfSquare = [u32; WIDTH * WIDTH / 2];

/// What the words of a product are. A step of its reduction is one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// One f32.
    F32,
    /// Two neighbouring bf16, for a level whose instructions multiply pairs: the odd product is added first, then the
    /// even one.
    Pairs,
    /// The same chain on any other level: f32 words of bf16 values, the odd one of each pair before the even one.
    Swapped,
}

impl Words {
    /// Steps of a reduction over `elements`.
    pub(super) fn steps(self, elements: usize) -> usize {
        match self {
            Words::F32 => elements,
            Words::Pairs => elements.div_ceil(2),
            Words::Swapped => elements.next_multiple_of(2),
        }
    }

    /// Elements of the reduction that `steps` hold; `steps` is even where words are swapped.
    pub(super) fn elements(self, steps: usize) -> usize {
        if self == Words::Pairs { 2 * steps } else { steps }
    }
}

/// What the accumulators start from, and what becomes of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accumulate {
    /// out = 0 + …: the chain begins here.
    Begin,
    /// out = out + …: the chain goes on from what an earlier block of the same chain stored.
    Continue,
    /// out += (0 + …): a partial sum of its own for each `Tile::block` steps, added to the gradient one after the
    /// other.
    AddPartials,
}

/// One micro-tile: `out[row][panel][lane] = Σ_step a[step][row] · b[panel][step][lane]`.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// `[steps][rows]` words.
    pub a: *const u32,
    /// `[steps][16]` words; the next panel is `b_panel` words further.
    pub b: *const u32,
    pub b_panel: usize,
    pub steps: usize,
    /// Steps of one partial sum; of no meaning otherwise.
    pub block: usize,
    /// Element (row, panel, lane) is at `out + row · out_row + panel · out_panel + lane`.
    pub out: *mut f32,
    pub out_row: usize,
    pub out_panel: usize,
    /// Where the output of the tile computed next begins: a hint, any address will do.
    pub next_out: *const f32,
    pub accumulate: Accumulate,
    /// Null, or one value a column, added after the last step.
    pub bias: *const f32,
}

/// Computes a micro-tile of `rows` (1 to `rows_max`) × `panels` (1 or `panels_at_once(rows)`).
///
/// Safety: every address of the tile is valid, the output is not shared, and the machine has the level.
pub(super) type Compute = unsafe fn(rows: usize, panels: usize, tile: &Tile);

/// Sixteen steps of a micro-tile's inputs where they lie row-major: 64 bytes of words a row, or 16 or 32 elements to be
/// rounded.
#[derive(Clone, Copy)]
pub(super) struct InputRows {
    pub first: *const u8,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// At most [`ROWS_MAX`].
    pub rows: usize,
    /// Whether the words after the last of `dst` must be left alone; else up to 15 of them are overwritten.
    pub exact: bool,
}

/// dst[step][row] = words of the rows.
///
/// Safety: the addresses are valid, and the machine has the level.
pub(super) type Interleave = unsafe fn(rows: InputRows, dst: *mut u32);

/// What a level has for pairs of bf16.
#[derive(Clone, Copy)]
pub(super) struct PairKernels {
    pub compute: Compute,
    /// Of src[j][i], pairs of columns 2 j and 2 j + 1 of row i: dst[i][j], pairs of rows 2 i and 2 i + 1 of column j.
    ///
    /// Safety: the machine has the level.
    pub transpose: unsafe fn(src: &HalfSquare, dst: &mut HalfSquare),
    /// Of f32 elements, rounded to pairs.
    pub interleave: Interleave,
}

/// The micro-kernels of one level.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    /// Rows of the largest micro-tile.
    pub rows_max: usize,
    /// Panels that one micro-tile of so many rows spans, so that enough chains are in flight to hide the latency of an
    /// addition.
    pub panels_at_once: fn(rows: usize) -> usize,
    /// For words of f32.
    pub floats: Compute,
    /// For pairs of bf16, where the level has an instruction for them.
    pub pairs: Option<PairKernels>,
    /// dst[j][i] = src[i][j].
    ///
    /// Safety: the machine has the level.
    pub transpose: unsafe fn(src: &Square, dst: &mut Square),
    /// The same of words in place, for up to [`ROWS_MAX`] rows; where there is none, squares are filled and transposed.
    pub interleave: Option<Interleave>,
}

impl Kernels {
    pub(super) fn of(level: Level) -> Kernels {
        match level {
            Level::Portable => portable::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Avx512Vnni => avx512::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => avx512::KERNELS_OF_PAIRS,
            #[cfg(not(target_arch = "x86_64"))]
            _ => portable::KERNELS,
        }
    }

    /// The words of a product with bf16 operands.
    pub(super) fn bf16_words(&self) -> Words {
        if self.pairs.is_some() { Words::Pairs } else { Words::Swapped }
    }

    pub(super) fn compute(&self, words: Words) -> Compute {
        match words {
            Words::Pairs => self.pairs.map_or(self.floats, |pairs| pairs.compute),
            Words::F32 | Words::Swapped => self.floats,
        }
    }
}
