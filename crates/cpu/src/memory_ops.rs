//! Copies between host and buffers, and the addition of two buffers.

use crate::CpuBackend;
use crate::buffer::{Buffer, range_end};
use crate::level::dispatch;
use crate::pool::{DisjointMut, run_ranges};
use gradus_ops::Result;
use gradus_tensor::Element;

/// Elements of one task: a few times what a core adds while another one wakes up.
const GRAIN: usize = 32 * 1024;

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
    run_ranges(&backend.pool, len, GRAIN, &|start, end| {
        // SAFETY: the ranges of one run do not overlap.
        let y = unsafe { y.range(start, end - start) };
        add_range(backend.level, y, &x[start..end]);
    });
    Ok(())
}

dispatch! {
    fn add_range(y: &mut [f32], x: &[f32]) = add_body;
}

#[inline(always)]
fn add_body(y: &mut [f32], x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}
