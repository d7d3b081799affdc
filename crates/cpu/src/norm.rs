//! RMS norm with the residual addition before it, and its backward: the entry of every block of a layer.
//!
//! One row function serves whole rows here and single heads in `qk_norm`.

use crate::CpuBackend;
use crate::buffer::{Buffer, Weight};
use crate::lanes::{dot, fold_sum, load};
use crate::level::dispatch;
use crate::pool::{DisjointMut, run_ranges};
use gradus_ops::{GRADIENT_BLOCK, LANES, Result, RmsNormShape};
use std::sync::PoisonError;

/// Rows of one task.
const GRAIN: usize = 16;

/// See [`gradus_ops::Backend::rms_norm`].
#[allow(clippy::too_many_arguments)]
pub(crate) fn rms_norm(
    backend: &CpuBackend,
    shape: RmsNormShape,
    residual: &Buffer,
    delta: Option<&Buffer>,
    weight: &Weight,
    sum: &mut Buffer,
    rstd: &mut Buffer,
    out: &mut Buffer,
) -> Result<()> {
    const OP: &str = "rms_norm";
    let RmsNormShape { rows, dim, eps } = shape;
    let residual = residual.f32(OP, "residual", rows * dim)?;
    let delta = delta.map(|delta| delta.f32(OP, "delta", rows * dim)).transpose()?;
    let weight = weight.vector(OP, "weight", dim)?;
    let sum = DisjointMut::new(sum.f32_mut(OP, "sum", rows * dim)?);
    let rstd = DisjointMut::new(rstd.f32_mut(OP, "rstd", rows)?);
    let out = DisjointMut::new(out.f32_mut(OP, "out", rows * dim)?);
    run_ranges(&backend.pool, rows, GRAIN, &|start, end| {
        let (first, len) = (start * dim, (end - start) * dim);
        // SAFETY: the row ranges of one run do not overlap.
        let (sum, rstd, out) =
            unsafe { (sum.range(first, len), rstd.range(start, end - start), out.range(first, len)) };
        let delta = delta.map(|delta| &delta[first..first + len]);
        norm_rows(backend.level, eps, &residual[first..first + len], delta, weight, sum, rstd, out);
    });
    Ok(())
}

/// See [`gradus_ops::Backend::rms_norm_backward`].
#[allow(clippy::too_many_arguments)]
pub(crate) fn rms_norm_backward(
    backend: &CpuBackend,
    shape: RmsNormShape,
    sum: &Buffer,
    rstd: &Buffer,
    weight: &Weight,
    d_out: &Buffer,
    d_sum: &mut Buffer,
    d_weight: &mut Weight,
) -> Result<()> {
    const OP: &str = "rms_norm_backward";
    let RmsNormShape { rows, dim, .. } = shape;
    let sum = sum.f32(OP, "sum", rows * dim)?;
    let rstd = rstd.f32(OP, "rstd", rows)?;
    let weight = weight.vector(OP, "weight", dim)?;
    let d_out = d_out.f32(OP, "d_out", rows * dim)?;
    let d_sum = DisjointMut::new(d_sum.f32_mut(OP, "d_sum", rows * dim)?);
    let d_weight = d_weight.vector_mut(OP, "d_weight", dim)?;
    let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
    let partials = scratch.take_zeros(rows.div_ceil(GRADIENT_BLOCK) * dim)?;
    let parts = DisjointMut::new(partials);
    run_ranges(&backend.pool, rows, GRADIENT_BLOCK, &|start, end| {
        let range = start * dim..end * dim;
        // SAFETY: the row ranges of one run do not overlap, and each has its own partial sum.
        let (d_sum, partial) =
            unsafe { (d_sum.range(range.start, range.len()), parts.range(start / GRADIENT_BLOCK * dim, dim)) };
        norm_rows_backward(
            backend.level,
            &sum[range.clone()],
            &rstd[start..end],
            weight,
            &d_out[range],
            d_sum,
            partial,
        );
    });
    add_partials(d_weight, partials);
    Ok(())
}

/// gradient += each partial sum, in order.
pub(crate) fn add_partials(gradient: &mut [f32], partials: &[f32]) {
    for partial in partials.chunks_exact(gradient.len().max(1)) {
        for (gradient, partial) in gradient.iter_mut().zip(partial) {
            *gradient += partial;
        }
    }
}

dispatch! {
    fn norm_rows(
        eps: f32,
        residual: &[f32],
        delta: Option<&[f32]>,
        weight: &[f32],
        sum: &mut [f32],
        rstd: &mut [f32],
        out: &mut [f32],
    ) = norm_rows_body;
    fn norm_rows_backward(
        sum: &[f32],
        rstd: &[f32],
        weight: &[f32],
        d_out: &[f32],
        d_sum: &mut [f32],
        partial: &mut [f32],
    ) = norm_rows_backward_body;
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn norm_rows_body(
    eps: f32,
    residual: &[f32],
    delta: Option<&[f32]>,
    weight: &[f32],
    sum: &mut [f32],
    rstd: &mut [f32],
    out: &mut [f32],
) {
    sum.copy_from_slice(residual);
    for (sum, delta) in sum.iter_mut().zip(delta.unwrap_or_default()) {
        *sum += delta;
    }
    let dim = weight.len();
    for ((sum, rstd), out) in sum.chunks_exact(dim).zip(rstd).zip(out.chunks_exact_mut(dim)) {
        *rstd = normalise(sum, weight, eps, out);
    }
}

#[inline(always)]
fn norm_rows_backward_body(
    sum: &[f32],
    rstd: &[f32],
    weight: &[f32],
    d_out: &[f32],
    d_sum: &mut [f32],
    partial: &mut [f32],
) {
    let dim = weight.len();
    let gradients = d_out.chunks_exact(dim).zip(d_sum.chunks_exact_mut(dim));
    for ((x, rstd), (d_out, d_sum)) in sum.chunks_exact(dim).zip(rstd).zip(gradients) {
        let mean = mean_along_row(x, *rstd, weight, d_out);
        add_weight_gradient(x, *rstd, d_out, partial);
        for i in 0..dim {
            d_sum[i] += input_gradient(x[i], *rstd, weight[i], d_out[i], mean);
        }
    }
}

/// out = x · rstd · weight; returns rstd = 1/sqrt(mean(x²) + eps).
#[inline(always)]
pub(crate) fn normalise(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) -> f32 {
    let rstd = 1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * rstd * weight;
    }
    rstd
}

/// mean(d_out · weight · x · rstd): what the normalisation takes out of the gradient along x.
#[inline(always)]
pub(crate) fn mean_along_row(x: &[f32], rstd: f32, weight: &[f32], d_out: &[f32]) -> f32 {
    let dim = x.len();
    let whole = dim / LANES * LANES;
    let mut lanes = [0.0; LANES];
    for start in (0..whole).step_by(LANES) {
        let (x, weight, d_out) = (&x[start..][..LANES], &weight[start..][..LANES], &d_out[start..][..LANES]);
        for i in 0..LANES {
            lanes[i] = (d_out[i] * weight[i]).mul_add(x[i] * rstd, lanes[i]);
        }
    }
    let (x, weight, d_out) = (load(&x[whole..], 0.0), load(&weight[whole..], 0.0), load(&d_out[whole..], 0.0));
    for i in 0..LANES {
        lanes[i] = (d_out[i] * weight[i]).mul_add(x[i] * rstd, lanes[i]);
    }
    fold_sum(lanes) / dim as f32
}

/// The gradient of one element of x; `mean` is that of [`mean_along_row`].
#[inline(always)]
pub(crate) fn input_gradient(x: f32, rstd: f32, weight: f32, d_out: f32, mean: f32) -> f32 {
    rstd * (x * rstd).mul_add(-mean, d_out * weight)
}

/// partial += d_out · x · rstd
#[inline(always)]
pub(crate) fn add_weight_gradient(x: &[f32], rstd: f32, d_out: &[f32], partial: &mut [f32]) {
    for ((partial, x), d_out) in partial.iter_mut().zip(x).zip(d_out) {
        *partial = d_out.mul_add(x * rstd, *partial);
    }
}
