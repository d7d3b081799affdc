//! The gated activation of the MLP, silu(gate) · up, and its backward.

use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::level::dispatch;
use crate::math::sigmoid;
use crate::pool::{DisjointMut, run_ranges};
use gradus_ops::Result;

/// Elements of one task: long enough to outweigh waking a thread.
const GRAIN_ELEMENTS: usize = 16 * 1024;

/// See [`gradus_ops::Backend::swiglu`].
pub(crate) fn swiglu(
    backend: &CpuBackend,
    gate_up: &Buffer,
    tokens: usize,
    ffn: usize,
    out: &mut Buffer,
) -> Result<()> {
    let gate_up = gate_up.f32("swiglu", "gate_up", tokens * 2 * ffn)?;
    let out = DisjointMut::new(out.f32_mut("swiglu", "out", tokens * ffn)?);
    run_ranges(&backend.pool, tokens, GRAIN_ELEMENTS.div_ceil(ffn.max(1)), &|start, end| {
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
    const OP: &str = "swiglu_backward";
    let gate_up = gate_up.f32(OP, "gate_up", tokens * 2 * ffn)?;
    let d_out = d_out.f32(OP, "d_out", tokens * ffn)?;
    let d_gate_up = DisjointMut::new(d_gate_up.f32_mut(OP, "d_gate_up", tokens * 2 * ffn)?);
    run_ranges(&backend.pool, tokens, GRAIN_ELEMENTS.div_ceil(ffn.max(1)), &|start, end| {
        let wide = start * 2 * ffn..end * 2 * ffn;
        // SAFETY: the token ranges of one run do not overlap.
        let d_gate_up = unsafe { d_gate_up.range(wide.start, wide.len()) };
        activate_rows_backward(backend.level, ffn, &gate_up[wide], &d_out[start * ffn..end * ffn], d_gate_up);
    });
    Ok(())
}

dispatch! {
    fn activate_rows(ffn: usize, gate_up: &[f32], out: &mut [f32]) = activate_rows_body;
    fn activate_rows_backward(ffn: usize, gate_up: &[f32], d_out: &[f32], d_gate_up: &mut [f32])
        = activate_rows_backward_body;
}

#[inline(always)]
fn activate_rows_body(ffn: usize, gate_up: &[f32], out: &mut [f32]) {
    for (row, out) in gate_up.chunks_exact(2 * ffn).zip(out.chunks_exact_mut(ffn)) {
        let (gate, up) = row.split_at(ffn);
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = gate * sigmoid(*gate) * up;
        }
    }
}

#[inline(always)]
fn activate_rows_backward_body(ffn: usize, gate_up: &[f32], d_out: &[f32], d_gate_up: &mut [f32]) {
    let rows = gate_up.chunks_exact(2 * ffn).zip(d_gate_up.chunks_exact_mut(2 * ffn));
    for ((row, d_row), d_out) in rows.zip(d_out.chunks_exact(ffn)) {
        let ((gate, up), (d_gate, d_up)) = (row.split_at(ffn), d_row.split_at_mut(ffn));
        for i in 0..ffn {
            let s = sigmoid(gate[i]);
            d_up[i] = d_out[i] * (gate[i] * s);
            // d silu(g)/dg = s + g·s·(1 − s)
            d_gate[i] = d_out[i] * up[i] * (gate[i] * s).mul_add(1.0 - s, s);
        }
    }
}
