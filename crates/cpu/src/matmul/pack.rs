//! Rearranges inputs into the order in which the micro-kernels read them. Values are only moved.

use super::kernel::{Kernels, Square, WIDTH};
use crate::buffer::Weight;
use crate::level::dispatch;
use std::ops::Range;

/// One panel of [`super::plan::STEPS`] steps, packed inside a task.
pub(super) type StepPanel = [f32; super::plan::STEPS * WIDTH];

dispatch! {
    /// Packs rows of equal length, `stride` elements apart: dst[step][row] = src[row · stride + step], for `rows` rows.
    pub(super) fn interleave_rows(src: &[f32], stride: usize, rows: usize, dst: &mut [f32]) = interleave_rows_body;
    /// dst[row][i] = src[row · stride + column + i] for `width` columns: the inputs of one tile, row after row.
    pub(super) fn group_columns(src: &[f32], stride: usize, column: usize, width: usize, dst: &mut [f32]) =
        group_columns_body;
    /// Copies 16 columns from `column` of the `rows` in src[.., width] to dst[row][16]; columns beyond the width are zero.
    pub(super) fn copy_columns(src: &[f32], width: usize, rows: Range<usize>, column: usize, dst: &mut [[f32; WIDTH]]) =
        copy_columns_body;
}

#[inline(always)]
fn interleave_rows_body(src: &[f32], stride: usize, rows: usize, dst: &mut [f32]) {
    match rows {
        6 => interleave::<6>(src, stride, dst),
        5 => interleave::<5>(src, stride, dst),
        4 => interleave::<4>(src, stride, dst),
        3 => interleave::<3>(src, stride, dst),
        2 => interleave::<2>(src, stride, dst),
        _ => dst.copy_from_slice(&src[..dst.len()]),
    }
}

#[inline(always)]
fn interleave<const ROWS: usize>(src: &[f32], stride: usize, dst: &mut [f32]) {
    let (groups, _) = dst.as_chunks_mut::<ROWS>();
    let steps = groups.len();
    for row in 0..ROWS {
        let src = &src[row * stride..][..steps];
        for (group, value) in groups.iter_mut().zip(src) {
            group[row] = *value;
        }
    }
}

/// dst[step][lane] = W[row + step, panel · 16 + lane] for 16 steps from `row`, a multiple of 16: a square of the transposed
/// weight. Rows beyond the weight's are its padding; lanes beyond its columns are zero.
pub(super) fn transpose_square(kernels: &Kernels, weight: &Weight, row: usize, panel: usize, dst: &mut Square) {
    let (first_column, columns) = (panel * WIDTH, WIDTH.min(weight.cols() - panel * WIDTH));
    let block = &weight.packed()[weight.index(row, first_column)..][..columns * WIDTH];
    let mut padded = [0.0; WIDTH * WIDTH];
    let block = block.first_chunk().unwrap_or_else(|| {
        padded[..block.len()].copy_from_slice(block);
        &padded
    });
    // SAFETY: the table is the one of the backend's level.
    unsafe { (kernels.transpose)(block, dst) };
}

#[inline(always)]
fn group_columns_body(src: &[f32], stride: usize, column: usize, width: usize, dst: &mut [f32]) {
    match width {
        6 => group::<6>(src, stride, column, dst),
        5 => group::<5>(src, stride, column, dst),
        4 => group::<4>(src, stride, column, dst),
        3 => group::<3>(src, stride, column, dst),
        2 => group::<2>(src, stride, column, dst),
        _ => group::<1>(src, stride, column, dst),
    }
}

#[inline(always)]
fn group<const WIDTH: usize>(src: &[f32], stride: usize, column: usize, dst: &mut [f32]) {
    for (row, group) in dst.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
        group.copy_from_slice(&src[row * stride + column..][..WIDTH]);
    }
}

#[inline(always)]
fn copy_columns_body(src: &[f32], width: usize, rows: Range<usize>, column: usize, dst: &mut [[f32; WIDTH]]) {
    let columns = WIDTH.min(width - column);
    for (row, group) in rows.zip(dst) {
        let values = &src[row * width + column..][..columns];
        if let Some(values) = values.first_chunk::<WIDTH>() {
            *group = *values;
        } else {
            *group = [0.0; WIDTH];
            group[..columns].copy_from_slice(values);
        }
    }
}
