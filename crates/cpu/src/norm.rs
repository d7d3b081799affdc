//! RMS norm with the residual addition before it, and its backward: the entry of every block of a layer.
//!
//! One row function serves whole rows here and single heads in `qk_norm`.

use crate::CpuBackend;
use crate::activation::{Activation, is_bf16, load_rest, run_rows, store_rest};
use crate::buffer::{Buffer, Weight};
use crate::disjoint::DisjointMut;
use crate::memory_ops::add_range;
use crate::pool::run_ranges;
use crate::vector::{Vector, dispatch_vector, dot};
use gradus_ops::{GRADIENT_BLOCK, LANES, Result, RmsNormShape};
use half::bf16;
use std::sync::PoisonError;

const OP: &str = "rms_norm";
const OP_BACKWARD: &str = "rms_norm_backward";

/// See [`gradus_ops::Backend::rms_norm`]. The residual is F32 or of the outputs' dtype.
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
    match (is_bf16(OP, "residual", residual)?, is_bf16(OP, "sum", sum)?) {
        (true, true) => rms_norm_of::<bf16, bf16>(backend, shape, residual, delta, weight, sum, rstd, out),
        (false, true) => rms_norm_of::<f32, bf16>(backend, shape, residual, delta, weight, sum, rstd, out),
        // A BF16 residual beside an F32 sum is refused as any buffer of another dtype.
        (_, false) => rms_norm_of::<f32, f32>(backend, shape, residual, delta, weight, sum, rstd, out),
    }
}

#[allow(clippy::too_many_arguments)]
fn rms_norm_of<R: Activation, T: Activation>(
    backend: &CpuBackend,
    shape: RmsNormShape,
    residual: &Buffer,
    delta: Option<&Buffer>,
    weight: &Weight,
    sum: &mut Buffer,
    rstd: &mut Buffer,
    out: &mut Buffer,
) -> Result<()> {
    let RmsNormShape { rows, dim, eps } = shape;
    let residual = residual.slice::<R>(OP, "residual", rows * dim)?;
    let delta = delta.map(|delta| delta.f32(OP, "delta", rows * dim)).transpose()?;
    let weight = weight.vector(OP, "weight", dim)?;
    let sum = DisjointMut::new(sum.slice_mut::<T>(OP, "sum", rows * dim)?);
    let rstd = DisjointMut::new(rstd.f32_mut(OP, "rstd", rows)?);
    let out = DisjointMut::new(out.slice_mut::<T>(OP, "out", rows * dim)?);
    run_rows(&backend.pool, rows, dim, &|start, end| {
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
    if is_bf16(OP_BACKWARD, "sum", sum)? {
        rms_norm_backward_of::<bf16>(backend, shape, sum, rstd, weight, d_out, d_sum, d_weight)
    } else {
        rms_norm_backward_of::<f32>(backend, shape, sum, rstd, weight, d_out, d_sum, d_weight)
    }
}

#[allow(clippy::too_many_arguments)]
fn rms_norm_backward_of<T: Activation>(
    backend: &CpuBackend,
    shape: RmsNormShape,
    sum: &Buffer,
    rstd: &Buffer,
    weight: &Weight,
    d_out: &Buffer,
    d_sum: &mut Buffer,
    d_weight: &mut Weight,
) -> Result<()> {
    let RmsNormShape { rows, dim, .. } = shape;
    let sum = sum.slice::<T>(OP_BACKWARD, "sum", rows * dim)?;
    let rstd = rstd.f32(OP_BACKWARD, "rstd", rows)?;
    let weight = weight.vector(OP_BACKWARD, "weight", dim)?;
    let d_out = d_out.f32(OP_BACKWARD, "d_out", rows * dim)?;
    let d_sum = DisjointMut::new(d_sum.f32_mut(OP_BACKWARD, "d_sum", rows * dim)?);
    let d_weight = d_weight.vector_mut(OP_BACKWARD, "d_weight", dim)?;
    let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
    let partials = scratch.take_zeros(rows.div_ceil(GRADIENT_BLOCK) * dim)?;
    let parts = DisjointMut::new(partials);
    run_ranges(&backend.pool, rows, GRADIENT_BLOCK, &|start, end| {
        let range = start * dim..end * dim;
        // SAFETY: the row ranges of one run do not overlap, and each has its own partial sum.
        let (d_sum, partial) =
            unsafe { (d_sum.range(range.start, range.len()), parts.range(start / GRADIENT_BLOCK * dim, dim)) };
        let (sum, d_out) = (&sum[range.clone()], &d_out[range]);
        norm_rows_backward(backend.level, sum, &rstd[start..end], weight, d_out, d_sum, partial);
    });
    add_partials(backend, d_weight, partials);
    Ok(())
}

/// gradient += each partial sum, in order.
pub(crate) fn add_partials(backend: &CpuBackend, gradient: &mut [f32], partials: &[f32]) {
    let len = gradient.len();
    let gradient = DisjointMut::new(gradient);
    // One task: run for the floating-point mode of the contract.
    backend.pool.run(1, &|_| {
        // SAFETY: the only task.
        let gradient = unsafe { gradient.range(0, len) };
        for partial in partials.chunks_exact(len.max(1)) {
            add_range(backend.level, gradient, partial);
        }
    });
}

dispatch_vector! {
    fn norm_rows<R: Activation, T: Activation>(
        eps: f32,
        residual: &[R],
        delta: Option<&[f32]>,
        weight: &[f32],
        sum: &mut [T],
        rstd: &mut [f32],
        out: &mut [T],
    ) = norm_rows_body;
    fn norm_rows_backward<T: Activation>(
        sum: &[T],
        rstd: &[f32],
        weight: &[f32],
        d_out: &[f32],
        d_sum: &mut [f32],
        partial: &mut [f32],
    ) = norm_rows_backward_body;
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn norm_rows_body<V: Vector, R: Activation, T: Activation>(
    eps: f32,
    residual: &[R],
    delta: Option<&[f32]>,
    weight: &[f32],
    sum: &mut [T],
    rstd: &mut [f32],
    out: &mut [T],
) {
    let dim = weight.len();
    for (row, rstd) in rstd.iter_mut().enumerate() {
        let range = row * dim..(row + 1) * dim;
        let (sum, out) = (&mut sum[range.clone()], &mut out[range.clone()]);
        let squares = match delta {
            Some(delta) => add_delta::<V, R, T>(&residual[range.clone()], &delta[range], sum),
            None => copy_residual::<V, R, T>(&residual[range], sum),
        };
        *rstd = reciprocal_root(squares, dim, eps);
        scale_row::<V, T>(sum, *rstd, weight, out);
    }
}

/// sum = residual + delta, rounded; returns the sum of the squares of what was stored.
#[inline(always)]
fn add_delta<V: Vector, R: Activation, T: Activation>(residual: &[R], delta: &[f32], sum: &mut [T]) -> f32 {
    let mut squares = V::splat(0.0);
    let (sum, sum_rest) = sum.as_chunks_mut::<LANES>();
    let (residual, residual_rest) = residual.as_chunks::<LANES>();
    let (delta, delta_rest) = delta.as_chunks::<LANES>();
    for ((sum, residual), delta) in sum.iter_mut().zip(residual).zip(delta) {
        T::store(R::load::<V>(residual) + V::load(delta), sum);
        let x: V = T::load(sum);
        squares = x.fma(x, squares);
    }
    if !sum_rest.is_empty() {
        store_rest(load_rest::<V, R>(residual_rest) + load_rest(delta_rest), sum_rest);
        let x: V = load_rest(sum_rest);
        squares = x.fma(x, squares);
    }
    squares.fold_sum()
}

/// As [`add_delta`] without a delta, of which a sum with 0 would change the sign of −0.
#[inline(always)]
fn copy_residual<V: Vector, R: Activation, T: Activation>(residual: &[R], sum: &mut [T]) -> f32 {
    let (sum_whole, sum_rest) = sum.as_chunks_mut::<LANES>();
    let (residual, residual_rest) = residual.as_chunks::<LANES>();
    for (sum, residual) in sum_whole.iter_mut().zip(residual) {
        T::store(R::load::<V>(residual), sum);
    }
    if !sum_rest.is_empty() {
        store_rest(load_rest::<V, R>(residual_rest), sum_rest);
    }
    dot::<V, T, T>(sum, sum)
}

/// 1/sqrt(squares / dim + eps)
#[inline(always)]
fn reciprocal_root(squares: f32, dim: usize, eps: f32) -> f32 {
    1.0 / (squares / dim as f32 + eps).sqrt()
}

/// out = x · rstd · weight
#[inline(always)]
fn scale_row<V: Vector, T: Activation>(x: &[T], rstd: f32, weight: &[f32], out: &mut [T]) {
    let rstd = V::splat(rstd);
    let (out, out_rest) = out.as_chunks_mut::<LANES>();
    let ((x, x_rest), (weight, weight_rest)) = (x.as_chunks::<LANES>(), weight.as_chunks::<LANES>());
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        T::store(T::load::<V>(x) * rstd * V::load(weight), out);
    }
    if !out_rest.is_empty() {
        store_rest(load_rest::<V, T>(x_rest) * rstd * load_rest(weight_rest), out_rest);
    }
}

/// out = x · rstd · weight; returns rstd = 1/sqrt(mean(x²) + eps).
#[inline(always)]
pub(crate) fn normalise<V: Vector, T: Activation>(x: &[T], weight: &[f32], eps: f32, out: &mut [T]) -> f32 {
    let rstd = reciprocal_root(dot::<V, T, T>(x, x), x.len(), eps);
    scale_row::<V, T>(x, rstd, weight, out);
    rstd
}

#[inline(always)]
fn norm_rows_backward_body<V: Vector, T: Activation>(
    sum: &[T],
    rstd: &[f32],
    weight: &[f32],
    d_out: &[f32],
    d_sum: &mut [f32],
    partial: &mut [f32],
) {
    let dim = weight.len();
    for (row, rstd) in rstd.iter().enumerate() {
        let range = row * dim..(row + 1) * dim;
        let (x, d_out, d_sum) = (&sum[range.clone()], &d_out[range.clone()], &mut d_sum[range]);
        let norm = RowNorm::<V>::new(*rstd, x, weight, d_out, partial);
        let (d_sum, d_sum_rest) = d_sum.as_chunks_mut::<LANES>();
        let ((x, x_rest), (weight, weight_rest)) = (x.as_chunks::<LANES>(), weight.as_chunks::<LANES>());
        let (d_out, d_out_rest) = d_out.as_chunks::<LANES>();
        for (((d_sum, x), weight), d_out) in d_sum.iter_mut().zip(x).zip(weight).zip(d_out) {
            (V::load(d_sum) + norm.input_gradient(T::load(x), V::load(weight), V::load(d_out))).store(d_sum);
        }
        if !d_sum_rest.is_empty() {
            let gradient = norm.input_gradient(load_rest(x_rest), load_rest(weight_rest), load_rest(d_out_rest));
            store_rest(load_rest::<V, f32>(d_sum_rest) + gradient, d_sum_rest);
        }
    }
}

/// What the gradient of every element of one normalised row needs.
pub(crate) struct RowNorm<V> {
    rstd: V,
    /// mean(d_out · weight · x · rstd): what the normalisation takes out of the gradient along x.
    minus_mean: V,
}

impl<V: Vector> RowNorm<V> {
    /// Reads the row; adds its part of the weight's gradient: partial += d_out · x · rstd.
    #[inline(always)]
    pub(crate) fn new<T: Activation>(
        rstd: f32,
        x: &[T],
        weight: &[f32],
        d_out: &[f32],
        partial: &mut [f32],
    ) -> RowNorm<V> {
        let (dim, rstd, mut sums) = (x.len(), V::splat(rstd), V::splat(0.0));
        let (partial, partial_rest) = partial.as_chunks_mut::<LANES>();
        let ((x, x_rest), (weight, weight_rest)) = (x.as_chunks::<LANES>(), weight.as_chunks::<LANES>());
        let (d_out, d_out_rest) = d_out.as_chunks::<LANES>();
        for (((partial, x), weight), d_out) in partial.iter_mut().zip(x).zip(weight).zip(d_out) {
            let (normed, d_out): (V, V) = (T::load::<V>(x) * rstd, V::load(d_out));
            sums = (d_out * V::load(weight)).fma(normed, sums);
            d_out.fma(normed, V::load(partial)).store(partial);
        }
        if !partial_rest.is_empty() {
            let (normed, d_out) = (load_rest::<V, T>(x_rest) * rstd, load_rest::<V, f32>(d_out_rest));
            sums = (d_out * load_rest(weight_rest)).fma(normed, sums);
            store_rest(d_out.fma(normed, load_rest(partial_rest)), partial_rest);
        }
        RowNorm { rstd, minus_mean: V::splat(-(sums.fold_sum() / dim as f32)) }
    }

    #[inline(always)]
    pub(crate) fn input_gradient(&self, x: V, weight: V, d_out: V) -> V {
        self.rstd * (x * self.rstd).fma(self.minus_mean, d_out * weight)
    }
}
