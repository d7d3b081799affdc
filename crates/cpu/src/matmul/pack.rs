//! Rearranges row-major inputs into the words and the order in which the micro-kernels read them; bf16 products round
//! f32 inputs here.

use super::kernel::{InputRows, Kernels, Square, WIDTH, Words};
use crate::bfloat16::rounded_bits;
use crate::level::{Level, dispatch};
use half::bf16;
use std::ops::Range;

const LINE_BYTES: usize = 64;
/// Rows that are asked for ahead of their use where a few columns of each are taken.
const ROWS_AHEAD: usize = 8;
/// Bytes of a row that are asked for ahead of their use where a few rows are taken side by side.
const BYTES_AHEAD: usize = 256;

/// Row-major inputs of a product, in either dtype of activations.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

/// An element of such inputs.
pub(super) trait Scalar: Copy {
    /// As it is; a bf16 is widened.
    fn bits(self) -> u32;
    /// The f32 bits of the value rounded to bf16.
    fn rounded_bits(self) -> u32;
}

impl Scalar for f32 {
    #[inline(always)]
    fn bits(self) -> u32 {
        self.to_bits()
    }
    #[inline(always)]
    fn rounded_bits(self) -> u32 {
        rounded_bits(self)
    }
}

impl Scalar for bf16 {
    #[inline(always)]
    fn bits(self) -> u32 {
        u32::from(self.to_bits()) << 16
    }
    #[inline(always)]
    fn rounded_bits(self) -> u32 {
        self.bits()
    }
}

/// `rows` rows of `columns` elements from `first`, as dst[step][row] for `steps` of their reduction over the columns.
pub(super) struct Interleave {
    pub words: Words,
    pub columns: usize,
    pub first: usize,
    pub rows: usize,
    pub steps: Range<usize>,
}

impl Interleave {
    pub(super) fn pack(&self, kernels: &Kernels, level: Level, input: Input, dst: &mut [u32]) {
        let (mut rows, mut steps): (Square, Square) = ([0; _], [0; _]);
        let size = WIDTH * self.rows;
        for (index, dst_from) in (self.steps.clone().step_by(WIDTH)).zip((0..).step_by(size)) {
            let count = WIDTH.min(self.steps.end - index);
            if count == WIDTH && self.interleave(kernels, input, index, &mut dst[dst_from..]) {
                continue;
            }
            match input {
                Input::F32(input) => load_square(level, self, input, index, &mut rows),
                Input::Bf16(input) => load_square(level, self, input, index, &mut rows),
            }
            if self.rows == 1 {
                dst[dst_from..][..count].copy_from_slice(&rows[..count]);
                continue;
            }
            // SAFETY: the table is the one of the backend's level.
            unsafe { (kernels.transpose)(&rows, &mut steps) };
            store_steps(level, &steps, count, self.rows, &mut dst[dst_from..]);
        }
    }
}

impl Interleave {
    /// Packs sixteen steps straight from the inputs, if the level can, and all elements of them are there.
    fn interleave(&self, kernels: &Kernels, input: Input, step: usize, dst: &mut [u32]) -> bool {
        let (first, elements) = (self.words.elements(step), self.words.elements(WIDTH));
        if self.rows == 1 || first + elements > self.columns {
            return false;
        }
        let start = self.first * self.columns + first;
        let end = start + (self.rows - 1) * self.columns + elements;
        let (interleave, address, bytes) = match (self.words, input, kernels.pairs) {
            (Words::F32, Input::F32(input), _) => {
                (kernels.interleave, input[start..end].as_ptr().cast(), size_of::<f32>())
            }
            (Words::Pairs, Input::Bf16(input), _) => {
                (kernels.interleave, input[start..end].as_ptr().cast(), size_of::<bf16>())
            }
            (Words::Pairs, Input::F32(input), Some(pairs)) => {
                (Some(pairs.interleave), input[start..end].as_ptr().cast(), size_of::<f32>())
            }
            _ => return false,
        };
        let (Some(interleave), size) = (interleave, WIDTH * self.rows) else { return false };
        assert!(size <= dst.len(), "no room for {size} words");
        let exact = dst.len() < size + WIDTH;
        let rows = InputRows { first: address, stride: self.columns * bytes, rows: self.rows, exact };
        // SAFETY: `start..end` are the elements that are read, `size` words (and 16 more unless exact) those that are
        // written; the table is the one of the backend's level.
        unsafe { interleave(rows, dst.as_mut_ptr()) };
        true
    }
}

dispatch! {
    fn load_square<T: Scalar>(rows: &Interleave, input: &[T], step: usize, dst: &mut Square) = load_square_body;
    fn store_steps(steps: &Square, count: usize, rows: usize, dst: &mut [u32]) = store_steps_body;
    /// Rows `rows` of `columns` elements as the steps of a reduction over rows: dst[step][lane] holds column `column` +
    /// lane for `width` lanes (at most 16); columns that are not there are zero, and so is what an odd last row is
    /// paired with.
    pub(super) fn pack_columns<T: Scalar>(
        words: Words, input: &[T], columns: usize, rows: Range<usize>, column: usize, width: usize, dst: &mut [u32],
    ) = pack_columns_body;
}

/// dst[row][i] = the word of step `step` + i of the row; zero beyond the last column.
#[inline(always)]
fn load_square_body<T: Scalar>(rows: &Interleave, input: &[T], step: usize, dst: &mut Square) {
    let first = rows.words.elements(step);
    let there = rows.columns.saturating_sub(first);
    for (row, dst) in (rows.first..rows.first + rows.rows).zip(dst.as_chunks_mut::<WIDTH>().0) {
        let values = &input[row * rows.columns + first..][..there];
        prefetch(values.as_ptr().wrapping_byte_add(BYTES_AHEAD));
        match rows.words {
            Words::F32 if there >= WIDTH => *dst = bits(&values[..WIDTH]),
            Words::F32 => *dst = bits(values),
            Words::Pairs => *dst = pairs(values),
            Words::Swapped => *dst = swapped(values),
        }
    }
}

#[inline(always)]
fn pairs<T: Scalar>(values: &[T]) -> [u32; WIDTH] {
    let mut halves = [0_u16; 2 * WIDTH];
    if let Some(values) = values.first_chunk::<{ 2 * WIDTH }>() {
        for lane in 0..2 * WIDTH {
            halves[lane] = (values[lane].rounded_bits() >> 16) as u16;
        }
    } else {
        for (half, value) in halves.iter_mut().zip(values) {
            *half = (value.rounded_bits() >> 16) as u16;
        }
    }
    // The even element of a pair comes first in memory, as the machine's order of bytes has it in the low half.
    bytemuck::cast(halves)
}

#[inline(always)]
fn swapped<T: Scalar>(values: &[T]) -> [u32; WIDTH] {
    let mut words = [0; WIDTH];
    for (lane, value) in values.iter().take(WIDTH).enumerate() {
        words[lane ^ 1] = value.rounded_bits();
    }
    words
}

/// Stores the first `rows` lanes of each step, step after step. Whole vectors are written where there is room: the next
/// step overwrites what was too much.
#[inline(always)]
fn store_steps_body(steps: &Square, count: usize, rows: usize, dst: &mut [u32]) {
    let steps = &steps.as_chunks::<WIDTH>().0[..count];
    let whole = dst.len().checked_sub(WIDTH).map_or(0, |room| room / rows + 1).min(count);
    // Two loops: one with both kinds of copies would call memcpy for every step.
    for (step, values) in steps[..whole].iter().enumerate() {
        if let Some(dst) = dst[step * rows..].first_chunk_mut() {
            *dst = *values;
        }
    }
    for (step, values) in steps.iter().enumerate().skip(whole) {
        dst[step * rows..][..rows].copy_from_slice(&values[..rows]);
    }
}

#[inline(always)]
fn store_lanes(values: &[u32; WIDTH], lanes: usize, dst: &mut [u32]) {
    match dst.first_chunk_mut::<WIDTH>() {
        Some(dst) => *dst = *values,
        None => dst[..lanes].copy_from_slice(&values[..lanes]),
    }
}

#[inline(always)]
fn pack_columns_body<T: Scalar>(
    words: Words,
    input: &[T],
    columns: usize,
    rows: Range<usize>,
    column: usize,
    width: usize,
    dst: &mut [u32],
) {
    let from = Columns { input, stride: columns, first: column };
    match (words, WIDTH <= columns - column) {
        (Words::F32, true) => pack_floats::<T, true>(from, rows, width, dst),
        (Words::F32, false) => pack_floats::<T, false>(from, rows, width, dst),
        (_, true) => pack_bf16::<T, true>(words, from, rows, width, dst),
        (_, false) => pack_bf16::<T, false>(words, from, rows, width, dst),
    }
}

/// At most 16 columns of row-major inputs.
#[derive(Clone, Copy)]
struct Columns<'a, T> {
    input: &'a [T],
    /// Elements of a row.
    stride: usize,
    first: usize,
}

impl<T: Scalar> Columns<'_, T> {
    /// The columns of one row; `WHOLE` where there are 16.
    #[inline(always)]
    fn values<const WHOLE: bool>(&self, row: usize) -> &[T] {
        let there = if WHOLE { WIDTH } else { self.stride - self.first };
        let values = &self.input[row * self.stride + self.first..][..there];
        // Rows lie too far apart for the hardware to look ahead, and the columns beside these ones are taken next.
        prefetch(values.as_ptr().wrapping_byte_add(LINE_BYTES));
        prefetch(values.as_ptr().wrapping_add(ROWS_AHEAD * self.stride));
        values
    }
}

#[inline(always)]
fn pack_floats<T: Scalar, const WHOLE: bool>(from: Columns<T>, rows: Range<usize>, width: usize, dst: &mut [u32]) {
    for (step, row) in rows.enumerate() {
        store_lanes(&bits(from.values::<WHOLE>(row)), width, &mut dst[step * width..]);
    }
}

#[inline(always)]
fn pack_bf16<T: Scalar, const WHOLE: bool>(
    words: Words,
    from: Columns<T>,
    rows: Range<usize>,
    width: usize,
    dst: &mut [u32],
) {
    for (pair, row) in rows.clone().step_by(2).enumerate() {
        let even = kept(from.values::<WHOLE>(row));
        let odd = if row + 1 < rows.end { kept(from.values::<WHOLE>(row + 1)) } else { [0; WIDTH] };
        if words == Words::Pairs {
            let mut both = [0; WIDTH];
            for lane in 0..WIDTH {
                both[lane] = (even[lane] >> 16) | odd[lane];
            }
            store_lanes(&both, width, &mut dst[pair * width..]);
        } else {
            store_lanes(&odd, width, &mut dst[2 * pair * width..]);
            store_lanes(&even, width, &mut dst[(2 * pair + 1) * width..]);
        }
    }
}

/// The words of at most 16 values as they are, then zeros.
#[inline(always)]
fn bits<T: Scalar>(values: &[T]) -> [u32; WIDTH] {
    let mut words = [0; WIDTH];
    for lane in 0..WIDTH.min(values.len()) {
        words[lane] = values[lane].bits();
    }
    words
}

/// As [`bits`], rounded to bf16.
#[inline(always)]
fn kept<T: Scalar>(values: &[T]) -> [u32; WIDTH] {
    let mut words = [0; WIDTH];
    for lane in 0..WIDTH.min(values.len()) {
        words[lane] = values[lane].rounded_bits();
    }
    words
}

/// Asks for the line of an address; any will do.
#[inline(always)]
pub(super) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch may name any address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
