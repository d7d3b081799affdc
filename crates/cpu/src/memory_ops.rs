//! Copies between host and buffers, and the addition of two buffers.

use crate::CpuBackend;
use crate::activation::{load_rest, run_rows, store_rest};
use crate::buffer::{Buffer, range_end};
use crate::pool::DisjointMut;
use crate::vector::{Vector, dispatch_vector};
use gradus_ops::{LANES, Result};
use gradus_tensor::Element;

/// Copies `src` to `dst[offset..]`.
pub(crate) fn write<T: Element>(dst: &mut Buffer, offset: usize, src: &[T]) -> Result<()> {
    let end = range_end("write", "dst", offset, src.len(), dst.len())?;
    dst.slice_mut("write", "dst", end)?[offset..].copy_from_slice(src);
    Ok(())
}

/// Copies `src[offset..]` to `dst`.
pub(crate) fn read<T: Element>(src: &Buffer, offset: usize, dst: &mut [T]) -> Result<()> {
    let end = range_end("read", "src", offset, dst.len(), src.len())?;
    dst.copy_from_slice(&src.slice("read", "src", end)?[offset..]);
    Ok(())
}

/// y[..len] += x[..len]
pub(crate) fn add(backend: &CpuBackend, y: &mut Buffer, x: &Buffer, len: usize) -> Result<()> {
    let x = x.f32("add", "x", len)?;
    let y = DisjointMut::new(y.f32_mut("add", "y", len)?);
    run_rows(&backend.pool, len, 1, &|start, end| {
        // SAFETY: the ranges of one run do not overlap.
        let y = unsafe { y.range(start, end - start) };
        add_range(backend.level, y, &x[start..end]);
    });
    Ok(())
}

dispatch_vector! {
    pub(crate) fn add_range(y: &mut [f32], x: &[f32]) = add_body;
}

#[inline(always)]
fn add_body<V: Vector>(y: &mut [f32], x: &[f32]) {
    let ((y, y_rest), (x, x_rest)) = (y.as_chunks_mut::<LANES>(), x.as_chunks::<LANES>());
    for (y, x) in y.iter_mut().zip(x) {
        (V::load(y) + V::load(x)).store(y);
    }
    if !y_rest.is_empty() {
        store_rest(load_rest::<V, f32>(y_rest) + load_rest(x_rest), y_rest);
    }
}
