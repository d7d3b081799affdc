//! The embedding, and rows picked out of a matrix and added back into one: the loss is taken on responses alone.

use crate::CudaBackend;
use crate::buffer::{Buffer, range_end};
use crate::device::Call;
use crate::driver::Address;
use crate::kernels::{
    EMBEDDING_BACKWARD, EMBEDDING_BF16, EMBEDDING_F32, EmbeddingBackwardParams, EmbeddingParams, GATHER_ROWS_16,
    GATHER_ROWS_32, RowsParams, SCATTER_ADD_ROWS,
};
use crate::weight::Weight;
use gradus_ops::{Precision, Result};
use gradus_tensor::DType;

/// Columns of one block.
const COLUMNS: usize = 1024;

fn blocks(rows: usize, columns: usize) -> [u32; 3] {
    [rows as u32, columns.div_ceil(COLUMNS) as u32, 1]
}

/// out[tokens, cols] = weight[ids[tokens], :]
pub(crate) fn embedding(
    backend: &CudaBackend,
    weight: &Weight,
    ids: &Buffer,
    tokens: usize,
    out: &mut Buffer,
) -> Result<()> {
    const OP: &str = "embedding";
    let (vocab, cols) = (weight.rows(), weight.cols());
    let (kernel, dtype) = match out.dtype() {
        DType::BF16 => (&EMBEDDING_BF16, DType::BF16),
        _ => (&EMBEDDING_F32, DType::F32),
    };
    let params = EmbeddingParams {
        weight: weight.address(OP, "weight", (vocab, cols), Precision::Bf16)?,
        ids: ids.u32(OP, "ids", tokens)?,
        out: out.address_mut(OP, "out", dtype, tokens * cols)?,
        tokens: tokens as u32,
        cols: cols as u32,
        ld_weight: weight.stride() as u32,
        unused: 0,
    };
    let call = Call { op: OP, shape: format_args!("[tokens {tokens}, vocab {vocab}, cols {cols}]") };
    // SAFETY: lengths were checked; ids below the vocabulary are the caller's part of the op.
    unsafe { backend.launch(call, kernel, blocks(tokens, cols), &params) }
}

/// d_weight[ids[t], :] += d_out[t, :]
pub(crate) fn embedding_backward(
    backend: &CudaBackend,
    d_weight: &mut Weight,
    ids: &Buffer,
    tokens: usize,
    d_out: &Buffer,
) -> Result<()> {
    const OP: &str = "embedding_backward";
    let (vocab, cols, stride) = (d_weight.rows(), d_weight.cols(), d_weight.stride());
    let params = EmbeddingBackwardParams {
        d_out: d_out.f32(OP, "d_out", tokens * cols)?,
        ids: ids.u32(OP, "ids", tokens)?,
        d_weight: d_weight.address_mut(OP, "d_weight", (vocab, cols), Precision::F32)?,
        tokens: tokens as u32,
        cols: cols as u32,
        ld_weight: stride as u32,
        unused: 0,
    };
    let call = Call { op: OP, shape: format_args!("[tokens {tokens}, vocab {vocab}, cols {cols}]") };
    // SAFETY: as in embedding.
    unsafe { backend.launch(call, &EMBEDDING_BACKWARD, [tokens as u32, 1, 1], &params) }
}

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
    let (kernel, dtype) = match x.dtype() {
        DType::BF16 => (&GATHER_ROWS_16, DType::BF16),
        _ => (&GATHER_ROWS_32, DType::F32),
    };
    let params = RowsParams {
        x: x.address(OP, "x", dtype, 0)?,
        indices: indices_from(OP, indices, offset, rows)?,
        out: out.address_mut(OP, "out", dtype, rows * dim)?,
        rows: rows as u32,
        dim: dim as u32,
    };
    let call = Call { op: OP, shape: format_args!("[rows {rows}, dim {dim}]") };
    // SAFETY: lengths were checked; that indices name rows of x is the caller's part of the op.
    unsafe { backend.launch(call, kernel, blocks(rows, dim), &params) }
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
        x: x.f32(OP, "x", rows * dim)?,
        indices: indices_from(OP, indices, offset, rows)?,
        out: y.f32_mut(OP, "y", 0)?,
        rows: rows as u32,
        dim: dim as u32,
    };
    let call = Call { op: OP, shape: format_args!("[rows {rows}, dim {dim}]") };
    // SAFETY: as in gather_rows.
    unsafe { backend.launch(call, &SCATTER_ADD_ROWS, blocks(rows, dim), &params) }
}

fn indices_from(op: &'static str, indices: &Buffer, offset: usize, rows: usize) -> Result<Address> {
    let end = range_end(op, "indices", offset, rows, indices.len())?;
    Ok(indices.u32(op, "indices", end)?.offset(offset * DType::U32.bytes()))
}
