//! The gated activation of the MLP, silu(gate) · up, and its backward.

use crate::CpuBackend;
use crate::activation::{Activation, is_bf16, load_rest, run_rows, store_rest};
use crate::buffer::Buffer;
use crate::disjoint::DisjointMut;
use crate::math::sigmoid;
use crate::vector::{Vector, dispatch_vector, prefetch_after};
use gradus_ops::{LANES, Result};
use half::bf16;

const OP: &str = "swiglu";
const OP_BACKWARD: &str = "swiglu_backward";

/// See [`gradus_ops::Backend::swiglu`].
pub(crate) fn swiglu(
    backend: &CpuBackend,
    gate_up: &Buffer,
    tokens: usize,
    ffn: usize,
    out: &mut Buffer,
) -> Result<()> {
    if is_bf16(OP, "gate_up", gate_up)? {
        swiglu_of::<bf16>(backend, gate_up, tokens, ffn, out)
    } else {
        swiglu_of::<f32>(backend, gate_up, tokens, ffn, out)
    }
}

fn swiglu_of<T: Activation>(
    backend: &CpuBackend,
    gate_up: &Buffer,
    tokens: usize,
    ffn: usize,
    out: &mut Buffer,
) -> Result<()> {
    let gate_up = gate_up.slice::<T>(OP, "gate_up", tokens * 2 * ffn)?;
    let out = DisjointMut::new(out.slice_mut::<T>(OP, "out", tokens * ffn)?);
    run_rows(&backend.pool, tokens, ffn, &|start, end| {
        // SAFETY: the token ranges of one run do not overlap.
        let out = unsafe { out.range(start * ffn, (end - start) * ffn) };
        activate_rows(backend.level, ffn, &gate_up[start * 2 * ffn..end * 2 * ffn], out);
    });
    Ok(())
}

/// See [`gradus_ops::Backend::swiglu_backward`].
pub(crate) fn swiglu_backward(
    backend: &CpuBackend,
    gate_up: &Buffer,
    tokens: usize,
    ffn: usize,
    d_out: &Buffer,
    d_gate_up: &mut Buffer,
) -> Result<()> {
    if is_bf16(OP_BACKWARD, "gate_up", gate_up)? {
        swiglu_backward_of::<bf16>(backend, gate_up, tokens, ffn, d_out, d_gate_up)
    } else {
        swiglu_backward_of::<f32>(backend, gate_up, tokens, ffn, d_out, d_gate_up)
    }
}

fn swiglu_backward_of<T: Activation>(
    backend: &CpuBackend,
    gate_up: &Buffer,
    tokens: usize,
    ffn: usize,
    d_out: &Buffer,
    d_gate_up: &mut Buffer,
) -> Result<()> {
    let gate_up = gate_up.slice::<T>(OP_BACKWARD, "gate_up", tokens * 2 * ffn)?;
    let d_out = d_out.f32(OP_BACKWARD, "d_out", tokens * ffn)?;
    let d_gate_up = DisjointMut::new(d_gate_up.f32_mut(OP_BACKWARD, "d_gate_up", tokens * 2 * ffn)?);
    run_rows(&backend.pool, tokens, ffn, &|start, end| {
        let wide = start * 2 * ffn..end * 2 * ffn;
        // SAFETY: the token ranges of one run do not overlap.
        let d_gate_up = unsafe { d_gate_up.range(wide.start, wide.len()) };
        activate_rows_backward(backend.level, ffn, &gate_up[wide], &d_out[start * ffn..end * ffn], d_gate_up);
    });
    Ok(())
}

dispatch_vector! {
    fn activate_rows<T: Activation>(ffn: usize, gate_up: &[T], out: &mut [T]) = activate_rows_body;
    fn activate_rows_backward<T: Activation>(ffn: usize, gate_up: &[T], d_out: &[f32], d_gate_up: &mut [f32])
        = activate_rows_backward_body;
}

#[inline(always)]
fn activate_rows_body<V: Vector, T: Activation>(ffn: usize, gate_up: &[T], out: &mut [T]) {
    for (row, out) in gate_up.chunks_exact(2 * ffn).zip(out.chunks_exact_mut(ffn)) {
        let (gate, up) = row.split_at(ffn);
        let ((gate, gate_rest), (up, up_rest)) = (gate.as_chunks::<LANES>(), up.as_chunks::<LANES>());
        let (out, out_rest) = out.as_chunks_mut::<LANES>();
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            prefetch_after(gate);
            prefetch_after(up);
            prefetch_after(out);
            T::store(activation::<V>(T::load(gate), T::load(up)), out);
        }
        if !out_rest.is_empty() {
            store_rest(activation::<V>(load_rest(gate_rest), load_rest(up_rest)), out_rest);
        }
    }
}

/// silu(gate) · up
#[inline(always)]
fn activation<V: Vector>(gate: V, up: V) -> V {
    gate * sigmoid(gate) * up
}

#[inline(always)]
fn activate_rows_backward_body<V: Vector, T: Activation>(
    ffn: usize,
    gate_up: &[T],
    d_out: &[f32],
    d_gate_up: &mut [f32],
) {
    let rows = gate_up.chunks_exact(2 * ffn).zip(d_gate_up.chunks_exact_mut(2 * ffn));
    for ((row, d_row), d_out) in rows.zip(d_out.chunks_exact(ffn)) {
        let ((gate, up), (d_gate, d_up)) = (row.split_at(ffn), d_row.split_at_mut(ffn));
        let ((gate, gate_rest), (up, up_rest)) = (gate.as_chunks::<LANES>(), up.as_chunks::<LANES>());
        let (d_out, d_out_rest) = d_out.as_chunks::<LANES>();
        let ((d_gate, d_gate_rest), (d_up, d_up_rest)) =
            (d_gate.as_chunks_mut::<LANES>(), d_up.as_chunks_mut::<LANES>());
        for ((((d_gate, d_up), gate), up), d_out) in d_gate.iter_mut().zip(d_up).zip(gate).zip(up).zip(d_out) {
            let gradient = gradients::<V>(T::load(gate), T::load(up), V::load(d_out));
            gradient.0.store(d_gate);
            gradient.1.store(d_up);
        }
        if !d_gate_rest.is_empty() {
            let gradient = gradients::<V>(load_rest(gate_rest), load_rest(up_rest), load_rest(d_out_rest));
            store_rest(gradient.0, d_gate_rest);
            store_rest(gradient.1, d_up_rest);
        }
    }
}

/// (d_gate, d_up), where d silu(g)/dg = s + g·s·(1 − s).
#[inline(always)]
fn gradients<V: Vector>(gate: V, up: V, d_out: V) -> (V, V) {
    let s = sigmoid(gate);
    let silu = gate * s;
    (d_out * up * silu.fma(V::splat(1.0) - s, s), d_out * silu)
}
