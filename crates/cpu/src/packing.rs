//! One row of a weight into its panel and out of it: how `Weight` is set from row-major values and read back.

use crate::bfloat16::{even, odd, pair, rounded};
use crate::weight::PANEL;

/// Sets row `lane` of an f32 panel `[cols][16]`.
#[inline(always)]
pub(crate) fn set_row(panel: &mut [f32], lane: usize, values: &[f32]) {
    for (group, value) in panel.as_chunks_mut::<PANEL>().0.iter_mut().zip(values) {
        group[lane] = *value;
    }
}

/// As [`set_row`], with the values rounded to bf16.
#[inline(always)]
pub(crate) fn set_row_rounded(panel: &mut [f32], lane: usize, values: &[f32]) {
    for (group, value) in panel.as_chunks_mut::<PANEL>().0.iter_mut().zip(values) {
        group[lane] = rounded(*value);
    }
}

/// Reads row `lane` of an f32 panel.
#[inline(always)]
pub(crate) fn read_row(panel: &[f32], lane: usize, out: &mut [f32]) {
    for (value, group) in out.iter_mut().zip(panel.as_chunks::<PANEL>().0) {
        *value = group[lane];
    }
}

/// Sets row `lane` of a bf16 panel `[ceil(cols / 2)][16]`, rounded; an odd last element gets a zero beside it.
#[inline(always)]
pub(crate) fn set_row_of_pairs(panel: &mut [u32], lane: usize, values: &[f32]) {
    for (group, values) in panel.as_chunks_mut::<PANEL>().0.iter_mut().zip(values.chunks(2)) {
        group[lane] = pair(values[0], values.get(1).copied().unwrap_or(0.0));
    }
}

/// Reads row `lane` of a bf16 panel.
#[inline(always)]
pub(crate) fn read_row_of_pairs(panel: &[u32], lane: usize, out: &mut [f32]) {
    let (whole, last) = out.as_chunks_mut::<2>();
    let (groups, _) = panel.as_chunks::<PANEL>();
    for (values, group) in whole.iter_mut().zip(groups) {
        *values = [even(group[lane]), odd(group[lane])];
    }
    if let ([last], Some(group)) = (last, groups.last()) {
        *last = even(group[lane]);
    }
}
