//! Blocks of 32 signed bytes with an f32 scale: how q8_0 weights are stored and how both sides of its product are rounded.

use crate::buffer::PANEL;
use crate::level::dispatch;
use bytemuck::{Pod, Zeroable};

/// Elements along k that share a scale.
pub(crate) const BLOCK: usize = 32;
/// Bytes that one lane of a dot product instruction takes at once.
pub(super) const GROUP: usize = 4;
/// Groups of a block.
pub(super) const GROUPS: usize = BLOCK / GROUP;
/// Weight bytes are stored as value + 128, the unsigned operand of VNNI's dot product.
pub(super) const OFFSET: i32 = 128;
/// The largest magnitude of an element: −128 would overflow the 16-bit sums of AVX2's kernel.
const LARGEST: f32 = 127.0;

/// 32 values rounded to multiples of their scale.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub scale: f32,
    /// −127 to 127.
    pub values: [i32; BLOCK],
}

/// The rule of rounding for weights and inputs: scale = absmax / 127, element = value / scale to the nearest even.
///
/// A scale below the smallest normal number is 0, as are the block's elements. A block with a value that is not finite
/// has the scale NaN, so that every product with it is NaN. Called inside a run of the pool, whose threads flush
/// denormals.
#[inline(always)]
pub(super) fn quantise(values: &[f32; BLOCK]) -> Block {
    let mut largest = 0;
    for value in values {
        // Magnitudes of floats are ordered as their bits are; an infinity or NaN is above every number.
        largest = (value.to_bits() & !SIGN).max(largest);
    }
    let absmax = f32::from_bits(largest);
    let scale = absmax / LARGEST;
    if !absmax.is_finite() {
        return Block { scale: f32::NAN, values: [0; BLOCK] };
    }
    if scale < f32::MIN_POSITIVE {
        return Block { scale: 0.0, values: [0; BLOCK] };
    }
    let mut rounded = [0; BLOCK];
    for (rounded, value) in rounded.iter_mut().zip(values) {
        // Adding 1.5 · 2²³ leaves no bits for a fraction: the sum is rounded to the nearest even integer, which then
        // stands in its lowest bits.
        *rounded = (value / scale + INTEGERS).to_bits().wrapping_sub(INTEGERS.to_bits()) as i32;
    }
    Block { scale, values: rounded }
}

const SIGN: u32 = 1 << 31;
const INTEGERS: f32 = 12_582_912.0;

/// One block of the 16 rows of a panel.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct WeightBlock {
    pub(super) scales: [f32; PANEL],
    /// Each stored as value + 128.
    pub(super) values: [[[u8; GROUP]; PANEL]; GROUPS],
}

/// Sets row `lane` of a panel `[ceil(cols / 32)]`, rounded; the last block is filled with zeros.
#[inline(always)]
pub(crate) fn set_row(panel: &mut [WeightBlock], lane: usize, values: &[f32]) {
    let (whole, last) = values.as_chunks();
    let last = (!last.is_empty()).then(|| padded(last));
    for (weight, values) in panel.iter_mut().zip(whole.iter().chain(&last)) {
        let block = quantise(values);
        weight.scales[lane] = block.scale;
        for (group, values) in weight.values.iter_mut().zip(block.values.as_chunks::<GROUP>().0) {
            group[lane] = values.map(|value| (value + OFFSET) as u8);
        }
    }
}

/// Reads row `lane` of a panel: the values that its elements stand for, element · scale.
#[inline(always)]
pub(crate) fn read_row(panel: &[WeightBlock], lane: usize, out: &mut [f32]) {
    for (out, weight) in out.chunks_mut(BLOCK).zip(panel) {
        let scale = weight.scales[lane];
        for (out, group) in out.chunks_mut(GROUP).zip(&weight.values) {
            for (out, stored) in out.iter_mut().zip(group[lane]) {
                *out = (i32::from(stored) - OFFSET) as f32 * scale;
            }
        }
    }
}

#[inline(always)]
fn padded(values: &[f32]) -> [f32; BLOCK] {
    let mut padded = [0.0; BLOCK];
    padded[..values.len()].copy_from_slice(values);
    padded
}

/// One block of one input row, as the kernels read it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct InputBlock {
    /// Four values each, in order of address.
    pub groups: [i32; GROUPS],
    pub scale: f32,
    /// −128 times the sum of the values: what a dot product with the stored weight bytes begins with.
    pub start: i32,
}

dispatch! {
    /// Quantises the first `cols` values of `rows` rows, `stride` values apart, to dst[block][row]; the last block is filled
    /// with zeros.
    pub(super) fn quantise_rows(src: &[f32], stride: usize, cols: usize, rows: usize, dst: &mut [InputBlock]) =
        quantise_rows_body;
}

#[inline(always)]
fn quantise_rows_body(src: &[f32], stride: usize, cols: usize, rows: usize, dst: &mut [InputBlock]) {
    for row in 0..rows {
        let (whole, last) = src[row * stride..][..cols].as_chunks();
        let last = (!last.is_empty()).then(|| padded(last));
        for (dst, values) in dst.iter_mut().skip(row).step_by(rows).zip(whole.iter().chain(&last)) {
            let Block { scale, values } = quantise(values);
            let sum = values.iter().fold(0_i32, |sum, value| sum.wrapping_add(*value));
            let mut bytes = [0; BLOCK];
            for (byte, value) in bytes.iter_mut().zip(values) {
                *byte = value as i8;
            }
            *dst = InputBlock { groups: bytemuck::cast(bytes), scale, start: -OFFSET * sum };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(values: &[f32]) -> Block {
        quantise(&padded(values))
    }

    #[test]
    fn rounds_to_the_nearest_even() {
        let Block { scale, values } =
            block(&[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 2.500_001, -127.0, 126.5, -126.5]);
        assert_eq!(scale, 1.0);
        assert_eq!(values[..11], [127, 0, 2, 2, 0, -2, -2, 3, -127, 126, -126]);
    }

    /// A quotient rounded twice, as by a reciprocal, would miss 1.5 for some scales.
    #[test]
    fn the_largest_is_127_and_halves_are_even_whatever_the_scale() {
        for step in 0..200_000_u32 {
            let absmax = f32::from_bits(0x3f80_0000 + step * 42);
            // The nearest to it whose product with 1.5 is exact.
            let scale = f32::from_bits((absmax / LARGEST).to_bits() & !3);
            assert_eq!(block(&[0.5 * absmax, -absmax]).values[1], -127, "absmax {absmax:e}");
            let Block { scale: found, values } = block(&[scale * LARGEST, 1.5 * scale]);
            if found == scale {
                assert_eq!(values[..2], [127, 2], "scale {scale:e}");
            }
        }
    }

    #[test]
    fn zeros_denormal_scales_and_infinities_have_a_defined_block() {
        assert_eq!(block(&[]).scale.to_bits(), 0);
        assert_eq!(block(&[-0.0, 1e-38]).scale.to_bits(), 0);
        assert_eq!(block(&[1e-38, -2e-37]).values[..2], [0, 0]);
        assert_eq!(block(&[f32::MAX, -f32::MAX]).values[..2], [127, -127]);
        for strange in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let Block { scale, values } = block(&[1.0, strange]);
            assert_eq!((scale.to_bits(), values), (f32::NAN.to_bits(), [0; BLOCK]));
        }
    }

    #[test]
    fn rows_come_back_from_a_panel() {
        let mut panel = [WeightBlock::zeroed(); 2];
        let values: Vec<f32> = (0..BLOCK + 3).map(|index| (index as f32 - 15.5) * 0.01).collect();
        set_row(&mut panel, 5, &values);
        let mut found = [0.0; BLOCK + 3];
        read_row(&panel, 5, &mut found);
        let steps = [0.155 / LARGEST, 0.185 / LARGEST];
        for (index, (found, value)) in found.iter().zip(values).enumerate() {
            assert!((found - value).abs() <= 0.5001 * steps[index / BLOCK], "element {index}: {found} for {value}");
        }
        assert_eq!(panel[1].values[1][5], [OFFSET as u8; GROUP]);
        read_row(&panel, 4, &mut found);
        assert_eq!(found, [0.0; BLOCK + 3]);
    }
}
