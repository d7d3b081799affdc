//! Rotary positions on query and key heads, forward and inverse: between the qkv projection and attention.

use crate::CpuBackend;
use crate::activation::{Activation, is_bf16, load_rest, run_rows, store_rest};
use crate::buffer::Buffer;
use crate::disjoint::DisjointMut;
use crate::vector::{Vector, dispatch_vector};
use gradus_ops::{Error, LANES, Result, RopeShape};
use half::bf16;

/// Which way the pairs are turned.
#[derive(Clone, Copy)]
pub(crate) enum Rotation {
    Forward,
    Inverse,
}

/// See [`gradus_ops::Backend::rope`] and, for the inverse, [`gradus_ops::Backend::rope_backward`], whose gradient is F32.
pub(crate) fn rope(
    backend: &CpuBackend,
    rotation: Rotation,
    shape: RopeShape,
    table: &Buffer,
    positions: &Buffer,
    qkv: &mut Buffer,
) -> Result<()> {
    match rotation {
        Rotation::Forward if is_bf16("rope", "qkv", qkv)? => {
            rotate::<bf16>(backend, "rope", 1.0, shape, table, positions, qkv)
        }
        Rotation::Forward => rotate::<f32>(backend, "rope", 1.0, shape, table, positions, qkv),
        Rotation::Inverse => rotate::<f32>(backend, "rope_backward", -1.0, shape, table, positions, qkv),
    }
}

fn rotate<T: Activation>(
    backend: &CpuBackend,
    op: &'static str,
    sign: f32,
    shape: RopeShape,
    table: &Buffer,
    positions: &Buffer,
    qkv: &mut Buffer,
) -> Result<()> {
    let RopeShape { attention, rows, positions_max } = shape;
    let (dim, head_dim) = (attention.qkv_dim(), attention.head_dim);
    let table = table.f32(op, "table", positions_max * head_dim)?;
    let positions = positions.u32(op, "positions", rows)?;
    if let Some(row) = positions.iter().position(|position| *position as usize >= positions_max) {
        let reason = format!("row {row} has position {}, the table ends at {positions_max}", positions[row]);
        return Err(Error::Invalid { op, reason });
    }
    let rotated = (attention.heads + attention.kv_heads) * head_dim;
    let qkv = DisjointMut::new(qkv.slice_mut::<T>(op, "qkv", rows * dim)?);
    run_rows(&backend.pool, rows, dim, &|start, end| {
        // SAFETY: the row ranges of one run do not overlap.
        let qkv = unsafe { qkv.range(start * dim, (end - start) * dim) };
        rotate_rows(backend.level, sign, head_dim, dim, rotated, table, &positions[start..end], qkv);
    });
    Ok(())
}

dispatch_vector! {
    fn rotate_rows<T: Activation>(
        sign: f32,
        head_dim: usize,
        dim: usize,
        rotated: usize,
        table: &[f32],
        positions: &[u32],
        qkv: &mut [T],
    ) = rotate_rows_body;
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn rotate_rows_body<V: Vector, T: Activation>(
    sign: f32,
    head_dim: usize,
    dim: usize,
    rotated: usize,
    table: &[f32],
    positions: &[u32],
    qkv: &mut [T],
) {
    let sign = V::splat(sign);
    for (row, position) in qkv.chunks_exact_mut(dim).zip(positions) {
        let (cosines, sines) = table[*position as usize * head_dim..][..head_dim].split_at(head_dim / 2);
        let ((cosines, cosine_rest), (sines, sine_rest)) = (cosines.as_chunks::<LANES>(), sines.as_chunks::<LANES>());
        for head in row[..rotated].chunks_exact_mut(head_dim) {
            let (low, high) = head.split_at_mut(head_dim / 2);
            let ((low, low_rest), (high, high_rest)) = (low.as_chunks_mut::<LANES>(), high.as_chunks_mut::<LANES>());
            for (((low, high), cosine), sine) in low.iter_mut().zip(high).zip(cosines).zip(sines) {
                let turned = turn::<V>(T::load(low), T::load(high), V::load(cosine), sign * V::load(sine));
                T::store(turned.0, low);
                T::store(turned.1, high);
            }
            if !low_rest.is_empty() {
                let (cosine, sine) = (load_rest(cosine_rest), sign * load_rest(sine_rest));
                let turned = turn::<V>(load_rest(low_rest), load_rest(high_rest), cosine, sine);
                store_rest(turned.0, low_rest);
                store_rest(turned.1, high_rest);
            }
        }
    }
}

/// The pair (low, high) turned by an angle.
#[inline(always)]
fn turn<V: Vector>(low: V, high: V, cosine: V, sine: V) -> (V, V) {
    (low.fma(cosine, -(high * sine)), high.fma(cosine, low * sine))
}
