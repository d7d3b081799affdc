//! Gather and scatter-add of rows: the loss is taken of the responses only, so the head sees some rows of the hidden states.

use crate::CpuBackend;
use crate::activation::{TASK_ELEMENTS, is_bf16, run_rows};
use crate::buffer::{Buffer, range_end};
use crate::disjoint::DisjointMut;
use crate::memory_ops::add_range;
use gradus_ops::{Error, Result};
use gradus_tensor::Element;
use half::bf16;

/// Most tasks of a scatter: each looks through all indices.
const SCATTER_TASKS_MAX: usize = 16;

/// See [`gradus_ops::Backend::gather_rows`]. x and out are of one dtype.
pub(crate) fn gather_rows(
    backend: &CpuBackend,
    x: &Buffer,
    indices: &Buffer,
    offset: usize,
    rows: usize,
    dim: usize,
    out: &mut Buffer,
) -> Result<()> {
    let indices = checked_indices("gather_rows", indices, offset, rows, dim, x.len())?;
    if is_bf16("gather_rows", "x", x)? {
        gather_rows_of::<bf16>(backend, x, indices, dim, out)
    } else {
        gather_rows_of::<f32>(backend, x, indices, dim, out)
    }
}

fn gather_rows_of<T: Element>(
    backend: &CpuBackend,
    x: &Buffer,
    indices: &[u32],
    dim: usize,
    out: &mut Buffer,
) -> Result<()> {
    let x = x.slice::<T>("gather_rows", "x", x.len())?;
    let out = DisjointMut::new(out.slice_mut::<T>("gather_rows", "out", indices.len() * dim)?);
    run_rows(&backend.pool, indices.len(), dim, &|start, end| {
        for row in start..end {
            // SAFETY: each row is taken once.
            let out = unsafe { out.range(row * dim, dim) };
            out.copy_from_slice(&x[indices[row] as usize * dim..][..dim]);
        }
    });
    Ok(())
}

/// See [`gradus_ops::Backend::scatter_add_rows`].
pub(crate) fn scatter_add_rows(
    backend: &CpuBackend,
    x: &Buffer,
    indices: &Buffer,
    offset: usize,
    rows: usize,
    dim: usize,
    y: &mut Buffer,
) -> Result<()> {
    const OP: &str = "scatter_add_rows";
    let y_len = y.len();
    let indices = checked_indices(OP, indices, offset, rows, dim, y_len)?;
    let x = x.f32(OP, "x", rows * dim)?;
    let y = DisjointMut::new(y.f32_mut(OP, "y", y_len)?);
    let (first, last) =
        indices.iter().fold((u32::MAX, 0), |(first, last), index| (first.min(*index), last.max(*index)));
    // Tasks are ranges of rows of y, so that they would stay apart even if an index came twice.
    let tasks = (rows * dim).div_ceil(TASK_ELEMENTS).min(SCATTER_TASKS_MAX);
    let range = last.saturating_sub(first) as usize / tasks.max(1) + 1;
    backend.pool.run(tasks, &|task| {
        let start = first as usize + task * range;
        for (row, index) in indices.iter().enumerate() {
            let index = *index as usize;
            if (start..start + range).contains(&index) {
                // SAFETY: the row ranges of one run do not overlap, and one task holds one row at a time.
                let y = unsafe { y.range(index * dim, dim) };
                add_range(backend.level, y, &x[row * dim..][..dim]);
            }
        }
    });
    Ok(())
}

/// `rows` indices from `offset`, each the index of a whole row of `dim` within `len` elements.
fn checked_indices<'a>(
    op: &'static str,
    indices: &'a Buffer,
    offset: usize,
    rows: usize,
    dim: usize,
    len: usize,
) -> Result<&'a [u32]> {
    let end = range_end(op, "indices", offset, rows, indices.len())?;
    let indices = &indices.u32(op, "indices", end)?[offset..];
    match indices.iter().find(|index| (**index as usize + 1) * dim > len) {
        None => Ok(indices),
        Some(index) => {
            let reason = format!("row {index} of {dim} elements lies beyond the {len} elements there");
            Err(Error::Invalid { op, reason })
        }
    }
}
