//! Gather and scatter-add of rows: the loss is taken of the responses only, so the head sees some rows of the hidden states.

use crate::CpuBackend;
use crate::buffer::{Buffer, range_end};
use crate::pool::{DisjointMut, run_ranges};
use gradus_ops::{Error, Result};

/// Rows of one task of a gather.
const GRAIN_ROWS: usize = 32;
/// Columns of one task of a scatter.
const GRAIN_COLUMNS: usize = 128;

/// See [`gradus_ops::Backend::gather_rows`].
pub(crate) fn gather_rows(
    backend: &CpuBackend,
    x: &Buffer,
    indices: &Buffer,
    offset: usize,
    rows: usize,
    dim: usize,
    out: &mut Buffer,
) -> Result<()> {
    const OP: &str = "gather_rows";
    let indices = checked_indices(OP, indices, offset, rows, dim, x.len())?;
    let x = x.f32(OP, "x", x.len())?;
    let out = DisjointMut::new(out.f32_mut(OP, "out", rows * dim)?);
    run_ranges(&backend.pool, rows, GRAIN_ROWS, &|start, end| {
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
    let indices = checked_indices(OP, indices, offset, rows, dim, y.len())?;
    let x = x.f32(OP, "x", rows * dim)?;
    let y_len = y.len();
    let y = DisjointMut::new(y.f32_mut(OP, "y", y_len)?);
    // Tasks are columns, not rows, so that they would stay apart even if an index came twice.
    run_ranges(&backend.pool, dim, GRAIN_COLUMNS, &|start, end| {
        for (row, index) in indices.iter().enumerate() {
            // SAFETY: the column ranges of one run do not overlap, and one task holds one row at a time.
            let y = unsafe { y.range(*index as usize * dim + start, end - start) };
            for (y, x) in y.iter_mut().zip(&x[row * dim + start..row * dim + end]) {
                *y += x;
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
