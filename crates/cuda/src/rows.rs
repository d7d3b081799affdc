//! Rows picked out of a matrix and added back into one: the loss is taken on responses alone.

use crate::CudaBackend;
use crate::buffer::{Buffer, range_end};
use crate::device::{Call, Grid};
use crate::driver::Address;
use crate::kernels::{GATHER_ROWS_BF16, GATHER_ROWS_F32, RowsParams, SCATTER_ADD_ROWS_F32};
use gradus_ops::Result;
use gradus_tensor::DType;

/// out[row, :] = x[indices[offset + row], :], in F32 or BF16.
pub(crate) fn gather_rows(
    backend: &CudaBackend,
    x: &Buffer,
    indices: &Buffer,
    offset: usize,
    rows: usize,
    dim: usize,
    out: &mut Buffer,
) -> Result<()> {
    const OP: &str = "gather_rows";
    let kernel = if x.dtype() == DType::BF16 { &GATHER_ROWS_BF16 } else { &GATHER_ROWS_F32 };
    let dtype = if x.dtype() == DType::BF16 { DType::BF16 } else { DType::F32 };
    let params = RowsParams {
        to: out.address_mut(OP, "out", dtype, rows * dim)?,
        from: x.address(OP, "x", dtype, 0)?,
        indices: indices_from(OP, indices, offset, rows)?,
        rows: rows as u32,
        dim: dim as u32,
    };
    let call = Call { op: OP, shape: format_args!("[rows {rows}, dim {dim}]") };
    // SAFETY: lengths were checked; that indices name rows of x is the caller's part of the op, as on every backend.
    unsafe { backend.launch(call, kernel, Grid::blocks(rows), &params) }
}

/// y[indices[offset + row], :] += x[row, :]; indices are distinct.
pub(crate) fn scatter_add_rows(
    backend: &CudaBackend,
    x: &Buffer,
    indices: &Buffer,
    offset: usize,
    rows: usize,
    dim: usize,
    y: &mut Buffer,
) -> Result<()> {
    const OP: &str = "scatter_add_rows";
    let params = RowsParams {
        to: y.f32_mut(OP, "y", 0)?,
        from: x.f32(OP, "x", rows * dim)?,
        indices: indices_from(OP, indices, offset, rows)?,
        rows: rows as u32,
        dim: dim as u32,
    };
    let call = Call { op: OP, shape: format_args!("[rows {rows}, dim {dim}]") };
    // SAFETY: as in gather_rows.
    unsafe { backend.launch(call, &SCATTER_ADD_ROWS_F32, Grid::blocks(rows), &params) }
}

fn indices_from(op: &'static str, indices: &Buffer, offset: usize, rows: usize) -> Result<Address> {
    let end = range_end(op, "indices", offset, rows, indices.len())?;
    Ok(indices.address(op, "indices", DType::U32, end)?.offset(offset * DType::U32.bytes()))
}
