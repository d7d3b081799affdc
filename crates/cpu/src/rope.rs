//! Rotary positions on query and key heads, forward and inverse: between the qkv projection and attention.

use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::level::dispatch;
use crate::pool::{DisjointMut, run_ranges};
use gradus_ops::{Error, Result, RopeShape};

/// Rows of one task.
const GRAIN: usize = 16;

/// Which way the pairs are turned.
#[derive(Clone, Copy)]
pub(crate) enum Rotation {
    Forward,
    Inverse,
}

/// See [`gradus_ops::Backend::rope`] and, for the inverse, [`gradus_ops::Backend::rope_backward`].
pub(crate) fn rope(
    backend: &CpuBackend,
    rotation: Rotation,
    shape: RopeShape,
    table: &Buffer,
    positions: &Buffer,
    qkv: &mut Buffer,
) -> Result<()> {
    let (op, sign) = match rotation {
        Rotation::Forward => ("rope", 1.0),
        Rotation::Inverse => ("rope_backward", -1.0),
    };
    let RopeShape { attention, rows, positions_max } = shape;
    let (dim, head_dim) = (attention.qkv_dim(), attention.head_dim);
    let table = table.f32(op, "table", positions_max * head_dim)?;
    let positions = positions.u32(op, "positions", rows)?;
    if let Some(row) = positions.iter().position(|position| *position as usize >= positions_max) {
        let reason = format!("row {row} has position {}, the table ends at {positions_max}", positions[row]);
        return Err(Error::Invalid { op, reason });
    }
    let rotated = (attention.heads + attention.kv_heads) * head_dim;
    let qkv = DisjointMut::new(qkv.f32_mut(op, "qkv", rows * dim)?);
    run_ranges(&backend.pool, rows, GRAIN, &|start, end| {
        // SAFETY: the row ranges of one run do not overlap.
        let qkv = unsafe { qkv.range(start * dim, (end - start) * dim) };
        rotate_rows(backend.level, sign, head_dim, dim, rotated, table, &positions[start..end], qkv);
    });
    Ok(())
}

dispatch! {
    fn rotate_rows(
        sign: f32,
        head_dim: usize,
        dim: usize,
        rotated: usize,
        table: &[f32],
        positions: &[u32],
        qkv: &mut [f32],
    ) = rotate_rows_body;
}

#[inline(always)]
fn rotate_rows_body(
    sign: f32,
    head_dim: usize,
    dim: usize,
    rotated: usize,
    table: &[f32],
    positions: &[u32],
    qkv: &mut [f32],
) {
    for (row, position) in qkv.chunks_exact_mut(dim).zip(positions) {
        let (cosines, sines) = table[*position as usize * head_dim..][..head_dim].split_at(head_dim / 2);
        for head in row[..rotated].chunks_exact_mut(head_dim) {
            let (low, high) = head.split_at_mut(head_dim / 2);
            for (((low, high), cosine), sine) in low.iter_mut().zip(high).zip(cosines).zip(sines) {
                let sine = sign * sine;
                let (first, second) = (*low, *high);
                *low = first.mul_add(*cosine, -(second * sine));
                *high = second.mul_add(*cosine, first * sine);
            }
        }
    }
}
