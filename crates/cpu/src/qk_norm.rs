//! Qwen3's norm of each query and key head, and its backward: between the qkv projection and the rotation.

use crate::CpuBackend;
use crate::activation::{Activation, is_bf16, load_rest, run_rows, store_rest};
use crate::buffer::{Buffer, Weight};
use crate::disjoint::DisjointMut;
use crate::norm::{RowNorm, add_partials, normalise};
use crate::pool::run_ranges;
use crate::vector::{Vector, dispatch_vector};
use gradus_ops::{AttentionShape, GRADIENT_BLOCK, LANES, Result};
use half::bf16;
use std::sync::PoisonError;

const OP: &str = "qk_norm";
const OP_BACKWARD: &str = "qk_norm_backward";

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
    if is_bf16(OP, "qkv", qkv)? {
        qk_norm_of::<bf16>(backend, shape, tokens, eps, qkv, q_weight, k_weight, rstd, qkv_out)
    } else {
        qk_norm_of::<f32>(backend, shape, tokens, eps, qkv, q_weight, k_weight, rstd, qkv_out)
    }
}

#[allow(clippy::too_many_arguments)]
fn qk_norm_of<T: Activation>(
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
    let (dim, normed) = (shape.qkv_dim(), shape.heads + shape.kv_heads);
    let qkv = qkv.slice::<T>(OP, "qkv", tokens * dim)?;
    let q_weight = q_weight.vector(OP, "q_weight", shape.head_dim)?;
    let k_weight = k_weight.vector(OP, "k_weight", shape.head_dim)?;
    let rstd = DisjointMut::new(rstd.f32_mut(OP, "rstd", tokens * normed)?);
    let out = DisjointMut::new(qkv_out.slice_mut::<T>(OP, "qkv_out", tokens * dim)?);
    run_rows(&backend.pool, tokens, dim, &|start, end| {
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
    if is_bf16(OP_BACKWARD, "qkv", qkv)? {
        qk_norm_backward_of::<bf16>(
            backend, shape, tokens, qkv, rstd, q_weight, k_weight, d_qkv, d_q_weight, d_k_weight,
        )
    } else {
        qk_norm_backward_of::<f32>(backend, shape, tokens, qkv, rstd, q_weight, k_weight, d_qkv, d_q_weight, d_k_weight)
    }
}

#[allow(clippy::too_many_arguments)]
fn qk_norm_backward_of<T: Activation>(
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
    let (dim, normed, head_dim) = (shape.qkv_dim(), shape.heads + shape.kv_heads, shape.head_dim);
    let qkv = qkv.slice::<T>(OP_BACKWARD, "qkv", tokens * dim)?;
    let rstd = rstd.f32(OP_BACKWARD, "rstd", tokens * normed)?;
    let q_weight = q_weight.vector(OP_BACKWARD, "q_weight", head_dim)?;
    let k_weight = k_weight.vector(OP_BACKWARD, "k_weight", head_dim)?;
    let d_qkv = DisjointMut::new(d_qkv.f32_mut(OP_BACKWARD, "d_qkv", tokens * dim)?);
    let d_q_weight = d_q_weight.vector_mut(OP_BACKWARD, "d_q_weight", head_dim)?;
    let d_k_weight = d_k_weight.vector_mut(OP_BACKWARD, "d_k_weight", head_dim)?;
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
    add_partials(backend, d_q_weight, q_partials);
    add_partials(backend, d_k_weight, k_partials);
    Ok(())
}

dispatch_vector! {
    fn norm_heads<T: Activation>(
        shape: AttentionShape,
        eps: f32,
        qkv: &[T],
        q_weight: &[f32],
        k_weight: &[f32],
        rstd: &mut [f32],
        out: &mut [T],
    ) = norm_heads_body;
    fn norm_heads_backward<T: Activation>(
        shape: AttentionShape,
        qkv: &[T],
        rstd: &[f32],
        q_weight: &[f32],
        k_weight: &[f32],
        d_qkv: &mut [f32],
        q_partial: &mut [f32],
        k_partial: &mut [f32],
    ) = norm_heads_backward_body;
}

#[inline(always)]
fn norm_heads_body<V: Vector, T: Activation>(
    shape: AttentionShape,
    eps: f32,
    qkv: &[T],
    q_weight: &[f32],
    k_weight: &[f32],
    rstd: &mut [f32],
    out: &mut [T],
) {
    let (dim, normed, head_dim) = (shape.qkv_dim(), shape.heads + shape.kv_heads, shape.head_dim);
    let rows = qkv.chunks_exact(dim).zip(out.chunks_exact_mut(dim));
    for ((qkv, out), rstd) in rows.zip(rstd.chunks_exact_mut(normed)) {
        for head in 0..normed {
            let weight = if head < shape.heads { q_weight } else { k_weight };
            let range = head * head_dim..(head + 1) * head_dim;
            rstd[head] = normalise::<V, T>(&qkv[range.clone()], weight, eps, &mut out[range]);
        }
        out[normed * head_dim..].copy_from_slice(&qkv[normed * head_dim..]);
    }
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn norm_heads_backward_body<V: Vector, T: Activation>(
    shape: AttentionShape,
    qkv: &[T],
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
            let norm = RowNorm::<V>::new(*rstd, x, weight, gradient, partial);
            let (gradient, gradient_rest) = gradient.as_chunks_mut::<LANES>();
            let ((x, x_rest), (weight, weight_rest)) = (x.as_chunks::<LANES>(), weight.as_chunks::<LANES>());
            for ((gradient, x), weight) in gradient.iter_mut().zip(x).zip(weight) {
                norm.input_gradient(T::load(x), V::load(weight), V::load(gradient)).store(gradient);
            }
            if !gradient_rest.is_empty() {
                let d_out = load_rest::<V, f32>(gradient_rest);
                store_rest(norm.input_gradient(load_rest(x_rest), load_rest(weight_rest), d_out), gradient_rest);
            }
        }
    }
}
