//! Copies between host and buffers and from one buffer to another, and the addition of rows that ops share.

use crate::CpuBackend;
use crate::activation::{is_bf16, load_rest, run_rows, store_rest};
use crate::buffer::{Buffer, range_end};
use crate::disjoint::DisjointMut;
use crate::vector::{Vector, dispatch_vector};
use gradus_ops::{LANES, Result};
use gradus_tensor::Element;
use half::bf16;

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

/// See [`gradus_ops::Backend::copy`]; each buffer comes with its offset.
pub(crate) fn copy(
    backend: &CpuBackend,
    (src, src_offset): (&Buffer, usize),
    (dst, dst_offset): (&mut Buffer, usize),
    len: usize,
) -> Result<()> {
    if is_bf16("copy", "src", src)? {
        copy_of::<bf16>(backend, (src, src_offset), (dst, dst_offset), len)
    } else {
        copy_of::<f32>(backend, (src, src_offset), (dst, dst_offset), len)
    }
}

fn copy_of<T: Element>(
    backend: &CpuBackend,
    (src, src_offset): (&Buffer, usize),
    (dst, dst_offset): (&mut Buffer, usize),
    len: usize,
) -> Result<()> {
    let src_end = range_end("copy", "src", src_offset, len, src.len())?;
    let dst_end = range_end("copy", "dst", dst_offset, len, dst.len())?;
    let src = &src.slice::<T>("copy", "src", src_end)?[src_offset..];
    let dst = DisjointMut::new(&mut dst.slice_mut::<T>("copy", "dst", dst_end)?[dst_offset..]);
    run_rows(&backend.pool, len, 1, &|start, end| {
        // SAFETY: the ranges of one run do not overlap.
        unsafe { dst.range(start, end - start) }.copy_from_slice(&src[start..end]);
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
