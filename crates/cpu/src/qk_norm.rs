//! Qwen3's norm of each query and key head, and its backward: between the qkv projection and the rotation.

use crate::CpuBackend;
use crate::buffer::{Buffer, Weight};
use crate::level::dispatch;
use crate::norm::{add_partials, add_weight_gradient, input_gradient, mean_along_row, normalise};
use crate::pool::{DisjointMut, run_ranges};
use gradus_ops::{AttentionShape, GRADIENT_BLOCK, Result};
use std::sync::PoisonError;

/// Tokens of one task.
const GRAIN: usize = 8;

/// See [`gradus_ops::Backend::qk_norm`].
#[allow(clippy::too_many_arguments)]
pub(crate) fn qk_norm(
    backend: &CpuBackend,
    shape: AttentionShape,
    tokens: usize,
    eps: f32,
    qkv: &Buffer,
    q_weight: &Weight,
    k_weight: &Weight,
    rstd: &mut Buffer,
    qkv_out: &mut Buffer,
) -> Result<()> {
    const OP: &str = "qk_norm";
    let (dim, normed) = (shape.qkv_dim(), shape.heads + shape.kv_heads);
    let qkv = qkv.f32(OP, "qkv", tokens * dim)?;
    let q_weight = q_weight.vector(OP, "q_weight", shape.head_dim)?;
    let k_weight = k_weight.vector(OP, "k_weight", shape.head_dim)?;
    let rstd = DisjointMut::new(rstd.f32_mut(OP, "rstd", tokens * normed)?);
    let out = DisjointMut::new(qkv_out.f32_mut(OP, "qkv_out", tokens * dim)?);
    run_ranges(&backend.pool, tokens, GRAIN, &|start, end| {
        let count = end - start;
        // SAFETY: the token ranges of one run do not overlap.
        let (rstd, out) = unsafe { (rstd.range(start * normed, count * normed), out.range(start * dim, count * dim)) };
        norm_heads(backend.level, shape, eps, &qkv[start * dim..end * dim], q_weight, k_weight, rstd, out);
    });
    Ok(())
}

/// See [`gradus_ops::Backend::qk_norm_backward`].
#[allow(clippy::too_many_arguments)]
pub(crate) fn qk_norm_backward(
    backend: &CpuBackend,
    shape: AttentionShape,
    tokens: usize,
    qkv: &Buffer,
    rstd: &Buffer,
    q_weight: &Weight,
    k_weight: &Weight,
    d_qkv: &mut Buffer,
    d_q_weight: &mut Weight,
    d_k_weight: &mut Weight,
) -> Result<()> {
    const OP: &str = "qk_norm_backward";
    let (dim, normed, head_dim) = (shape.qkv_dim(), shape.heads + shape.kv_heads, shape.head_dim);
    let qkv = qkv.f32(OP, "qkv", tokens * dim)?;
    let rstd = rstd.f32(OP, "rstd", tokens * normed)?;
    let q_weight = q_weight.vector(OP, "q_weight", head_dim)?;
    let k_weight = k_weight.vector(OP, "k_weight", head_dim)?;
    let d_qkv = DisjointMut::new(d_qkv.f32_mut(OP, "d_qkv", tokens * dim)?);
    let d_q_weight = d_q_weight.vector_mut(OP, "d_q_weight", head_dim)?;
    let d_k_weight = d_k_weight.vector_mut(OP, "d_k_weight", head_dim)?;
    let blocks = tokens.div_ceil(GRADIENT_BLOCK);
    let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
    let (q_partials, k_partials) = scratch.take_zeros(2 * blocks * head_dim)?.split_at_mut(blocks * head_dim);
    let (q_parts, k_parts) = (DisjointMut::new(q_partials), DisjointMut::new(k_partials));
    run_ranges(&backend.pool, tokens, GRADIENT_BLOCK, &|start, end| {
        let part = start / GRADIENT_BLOCK * head_dim;
        // SAFETY: the token ranges of one run do not overlap, and each has its own partial sums.
        let (d_qkv, q_partial, k_partial) = unsafe {
            (
                d_qkv.range(start * dim, (end - start) * dim),
                q_parts.range(part, head_dim),
                k_parts.range(part, head_dim),
            )
        };
        let (qkv, rstd) = (&qkv[start * dim..end * dim], &rstd[start * normed..end * normed]);
        norm_heads_backward(backend.level, shape, qkv, rstd, q_weight, k_weight, d_qkv, q_partial, k_partial);
    });
    add_partials(d_q_weight, q_partials);
    add_partials(d_k_weight, k_partials);
    Ok(())
}

dispatch! {
    fn norm_heads(
        shape: AttentionShape,
        eps: f32,
        qkv: &[f32],
        q_weight: &[f32],
        k_weight: &[f32],
        rstd: &mut [f32],
        out: &mut [f32],
    ) = norm_heads_body;
    fn norm_heads_backward(
        shape: AttentionShape,
        qkv: &[f32],
        rstd: &[f32],
        q_weight: &[f32],
        k_weight: &[f32],
        d_qkv: &mut [f32],
        q_partial: &mut [f32],
        k_partial: &mut [f32],
    ) = norm_heads_backward_body;
}

#[inline(always)]
fn norm_heads_body(
    shape: AttentionShape,
    eps: f32,
    qkv: &[f32],
    q_weight: &[f32],
    k_weight: &[f32],
    rstd: &mut [f32],
    out: &mut [f32],
) {
    let (dim, normed, head_dim) = (shape.qkv_dim(), shape.heads + shape.kv_heads, shape.head_dim);
    let rows = qkv.chunks_exact(dim).zip(out.chunks_exact_mut(dim));
    for ((qkv, out), rstd) in rows.zip(rstd.chunks_exact_mut(normed)) {
        for head in 0..normed {
            let weight = if head < shape.heads { q_weight } else { k_weight };
            let range = head * head_dim..(head + 1) * head_dim;
            rstd[head] = normalise(&qkv[range.clone()], weight, eps, &mut out[range]);
        }
        out[normed * head_dim..].copy_from_slice(&qkv[normed * head_dim..]);
    }
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn norm_heads_backward_body(
    shape: AttentionShape,
    qkv: &[f32],
    rstd: &[f32],
    q_weight: &[f32],
    k_weight: &[f32],
    d_qkv: &mut [f32],
    q_partial: &mut [f32],
    k_partial: &mut [f32],
) {
    let (dim, normed, head_dim) = (shape.qkv_dim(), shape.heads + shape.kv_heads, shape.head_dim);
    let rows = qkv.chunks_exact(dim).zip(d_qkv.chunks_exact_mut(dim));
    for ((qkv, d_qkv), rstd) in rows.zip(rstd.chunks_exact(normed)) {
        let heads = qkv.chunks_exact(head_dim).zip(d_qkv.chunks_exact_mut(head_dim)).zip(rstd);
        for (head, ((x, gradient), rstd)) in heads.enumerate() {
            let (weight, partial) =
                if head < shape.heads { (q_weight, &mut *q_partial) } else { (k_weight, &mut *k_partial) };
            let mean = mean_along_row(x, *rstd, weight, gradient);
            add_weight_gradient(x, *rstd, gradient, partial);
            for ((gradient, x), weight) in gradient.iter_mut().zip(x).zip(weight) {
                *gradient = input_gradient(*x, *rstd, *weight, *gradient, mean);
            }
        }
    }
}
