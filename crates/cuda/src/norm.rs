//! RMSNorm with the residual's addition, Qwen3's norm of heads, and their backwards.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Call;
use crate::driver::Address;
use crate::kernels::{
    COLUMN_SUM, ColumnSumParams, QK_NORM, QK_NORM_BACKWARD, QK_NORM_WEIGHT, QkNormBackwardParams, QkNormParams,
    QkNormWeightParams, RMS_NORM_BACKWARD, RMS_NORM_BF16, RMS_NORM_F32, RMS_NORM_WEIGHT, RmsNormBackwardParams,
    RmsNormParams, RmsNormWeightParams,
};
use crate::matmul::column_sum_blocks;
use crate::scratch::scratch;
use crate::weight::Weight;
use gradus_ops::{AttentionShape, GRADIENT_BLOCK, Precision, Result, RmsNormShape};
use gradus_tensor::DType;

/// Columns of one block of `rms_norm_weight`.
const WEIGHT_COLUMNS: usize = 32;
/// Heads of one block, a warp each.
const HEADS: usize = 8;

/// sum = residual (+ delta), rstd and the norm of the rounded sum.
#[allow(clippy::too_many_arguments)]
pub(crate) fn rms_norm(
    backend: &CudaBackend,
    RmsNormShape { rows, dim, eps }: RmsNormShape,
    residual: &Buffer,
    delta: Option<&Buffer>,
    weight: &Weight,
    sum: &mut Buffer,
    rstd: &mut Buffer,
    out: &mut Buffer,
) -> Result<()> {
    const OP: &str = "rms_norm";
    let (kernel, dtype) = match residual.dtype() {
        DType::BF16 => (&RMS_NORM_BF16, DType::BF16),
        _ => (&RMS_NORM_F32, DType::F32),
    };
    let delta = delta.map(|delta| delta.f32(OP, "delta", rows * dim)).transpose()?;
    let params = RmsNormParams {
        residual: residual.address(OP, "residual", dtype, rows * dim)?,
        delta: delta.unwrap_or(Address::NONE),
        weight: weight.address(OP, "weight", (dim, 1), Precision::Bf16)?,
        sum: sum.bf16_mut(OP, "sum", rows * dim)?,
        rstd: rstd.f32_mut(OP, "rstd", rows)?,
        out: out.bf16_mut(OP, "out", rows * dim)?,
        rows: rows as u32,
        dim: dim as u32,
        eps,
        unused: 0,
    };
    let call = Call { op: OP, shape: format_args!("[rows {rows}, dim {dim}]") };
    // SAFETY: all lengths were checked.
    unsafe { backend.launch(call, kernel, [rows as u32, 1, 1], &params) }
}

/// d_sum += the gradient through the norm; d_weight += Σ over rows of d_out · sum · rstd.
#[allow(clippy::too_many_arguments)]
pub(crate) fn rms_norm_backward(
    backend: &CudaBackend,
    RmsNormShape { rows, dim, .. }: RmsNormShape,
    sum: &Buffer,
    rstd: &Buffer,
    weight: &Weight,
    d_out: &Buffer,
    d_sum: &mut Buffer,
    d_weight: &mut Weight,
) -> Result<()> {
    const OP: &str = "rms_norm_backward";
    let params = RmsNormBackwardParams {
        sum: sum.bf16(OP, "sum", rows * dim)?,
        rstd: rstd.f32(OP, "rstd", rows)?,
        weight: weight.address(OP, "weight", (dim, 1), Precision::Bf16)?,
        d_out: d_out.f32(OP, "d_out", rows * dim)?,
        d_sum: d_sum.f32_mut(OP, "d_sum", rows * dim)?,
        rows: rows as u32,
        dim: dim as u32,
    };
    let RmsNormBackwardParams { sum, rstd, d_out, rows, dim, .. } = params;
    let d_weight = d_weight.address_mut(OP, "d_weight", (dim as usize, 1), Precision::F32)?;
    let call = Call { op: OP, shape: format_args!("[rows {rows}, dim {dim}]") };
    // SAFETY: all lengths were checked.
    unsafe { backend.launch(call, &RMS_NORM_BACKWARD, [rows, 1, 1], &params)? };
    let params = RmsNormWeightParams { sum, rstd, d_out, d_weight, rows, dim };
    // SAFETY: as above.
    unsafe { backend.launch(call, &RMS_NORM_WEIGHT, [dim.div_ceil(WEIGHT_COLUMNS as u32), 1, 1], &params) }
}

/// qkv_out = qkv with query and key heads normalised.
#[allow(clippy::too_many_arguments)]
pub(crate) fn qk_norm(
    backend: &CudaBackend,
    shape: AttentionShape,
    tokens: usize,
    eps: f32,
    qkv: &Buffer,
    q_weight: &Weight,
    k_weight: &Weight,
    rstd: &mut Buffer,
    qkv_out: &mut Buffer,
) -> Result<()> {
    const OP: &str = "qk_norm";
    let AttentionShape { heads, kv_heads, head_dim } = shape;
    let params = QkNormParams {
        qkv: qkv.bf16(OP, "qkv", tokens * shape.qkv_dim())?,
        q_weight: q_weight.address(OP, "q_weight", (head_dim, 1), Precision::Bf16)?,
        k_weight: k_weight.address(OP, "k_weight", (head_dim, 1), Precision::Bf16)?,
        rstd: rstd.f32_mut(OP, "rstd", tokens * (heads + kv_heads))?,
        qkv_out: qkv_out.bf16_mut(OP, "qkv_out", tokens * shape.qkv_dim())?,
        tokens: tokens as u32,
        heads: heads as u32,
        kv_heads: kv_heads as u32,
        head_dim: head_dim as u32,
        eps,
        unused: 0,
    };
    let call = Call { op: OP, shape: format_args!("[tokens {tokens}, {shape:?}]") };
    let blocks = [tokens as u32, (heads + 2 * kv_heads).div_ceil(HEADS) as u32, 1];
    // SAFETY: all lengths were checked.
    unsafe { backend.launch(call, &QK_NORM, blocks, &params) }
}

/// d_qkv in place; adds to both weight gradients first, which need the gradient that comes in.
#[allow(clippy::too_many_arguments)]
pub(crate) fn qk_norm_backward(
    backend: &CudaBackend,
    shape: AttentionShape,
    tokens: usize,
    qkv: &Buffer,
    rstd: &Buffer,
    q_weight: &Weight,
    k_weight: &Weight,
    d_qkv: &mut Buffer,
    d_q_weight: &mut Weight,
    d_k_weight: &mut Weight,
) -> Result<()> {
    const OP: &str = "qk_norm_backward";
    let AttentionShape { heads, kv_heads, head_dim } = shape;
    let params = QkNormBackwardParams {
        qkv: qkv.bf16(OP, "qkv", tokens * shape.qkv_dim())?,
        rstd: rstd.f32(OP, "rstd", tokens * (heads + kv_heads))?,
        q_weight: q_weight.address(OP, "q_weight", (head_dim, 1), Precision::Bf16)?,
        k_weight: k_weight.address(OP, "k_weight", (head_dim, 1), Precision::Bf16)?,
        d_qkv: d_qkv.f32_mut(OP, "d_qkv", tokens * shape.qkv_dim())?,
        tokens: tokens as u32,
        heads: heads as u32,
        kv_heads: kv_heads as u32,
        head_dim: head_dim as u32,
    };
    let d_q_weight = d_q_weight.address_mut(OP, "d_q_weight", (head_dim, 1), Precision::F32)?;
    let d_k_weight = d_k_weight.address_mut(OP, "d_k_weight", (head_dim, 1), Precision::F32)?;
    let call = Call { op: OP, shape: format_args!("[tokens {tokens}, {shape:?}]") };
    let sums = tokens.div_ceil(GRADIENT_BLOCK);
    let mut scratch = scratch(backend);
    let partials = scratch.partials(backend, sums * head_dim * size_of::<f32>())?;
    for (first_head, heads_summed, d_weight) in [(0, heads, d_q_weight), (heads, kv_heads, d_k_weight)] {
        let params = QkNormWeightParams {
            qkv: params.qkv,
            rstd: params.rstd,
            d_qkv: params.d_qkv,
            partials,
            tokens: tokens as u32,
            heads_all: (heads + 2 * kv_heads) as u32,
            heads_normed: (heads + kv_heads) as u32,
            first_head: first_head as u32,
            heads: heads_summed as u32,
            head_dim: head_dim as u32,
        };
        // SAFETY: lengths were checked, and the scratch has room for every partial sum.
        unsafe { backend.launch(call, &QK_NORM_WEIGHT, [sums as u32, 1, 1], &params)? };
        let (m, n) = (sums as u32, head_dim as u32);
        let params = ColumnSumParams { x: partials, sums: d_weight, m, n, ld_x: n, unused: 0 };
        // SAFETY: as above.
        unsafe { backend.launch(call, &COLUMN_SUM, column_sum_blocks(n), &params)? };
    }
    let blocks = [tokens as u32, (heads + kv_heads).div_ceil(HEADS) as u32, 1];
    // SAFETY: all lengths were checked.
    unsafe { backend.launch(call, &QK_NORM_BACKWARD, blocks, &params) }
}
