//! The three products of a linear layer, and the choice of a tile. Every tile gives equal bits: each output is one chain over k.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Call;
use crate::driver::Address;
use crate::kernels::{
    COLUMN_SUM, ColumnSumParams, ForwardKernels, GEMM_BACKWARD_INPUT_128X128, GEMM_BACKWARD_INPUT_128X256,
    GEMM_BACKWARD_WEIGHT_128X128, GEMM_DECODE_16X8, GEMM_DECODE_16X32, GEMM_DECODE_64X32, GEMM_FORWARD_128X128,
    GEMM_FORWARD_128X256, GemmBackwardInputParams, GemmBackwardWeightParams, GemmForwardParams,
};
use crate::scratch::scratch;
use crate::weight::Weight;
use gradus_ops::{Precision, Result};
use gradus_tensor::DType;

/// Rows up to which the weights are the m16 operand: fewer would leave most of a 128-row tile empty.
const DECODE_ROWS_MAX: usize = 64;
/// Columns that one block of `column_sum` adds up.
const COLUMN_SUM_COLUMNS: u32 = 32;

/// y[m, n] = x[m, k] · weightᵀ (+ bias[n])
pub(crate) fn forward(
    backend: &CudaBackend,
    x: &Buffer,
    m: usize,
    weight: &Weight,
    bias: Option<&Weight>,
    y: &mut Buffer,
) -> Result<()> {
    const OP: &str = "matmul";
    let (n, k) = (weight.rows(), weight.cols());
    let call = Call { op: OP, shape: format_args!("[m {m}, n {n}, k {k}]") };
    let dtype = if y.dtype() == DType::BF16 { DType::BF16 } else { DType::F32 };
    let y = y.address_mut(OP, "y", dtype, m * n)?;
    let bias = bias.map(|bias| bias.address(OP, "bias", (n, 1), Precision::Bf16)).transpose()?;
    let weight_address = weight.address(OP, "weight", (n, k), Precision::Bf16)?;
    let mut scratch = scratch(backend);
    let x = scratch.operand(backend, call, 0, ("x", x), (m, k))?;
    let params = GemmForwardParams {
        x: x.address,
        weight: weight_address,
        bias: bias.unwrap_or(Address::NONE),
        y,
        m: m as u32,
        n: n as u32,
        k: k as u32,
        ld_x: x.stride,
        ld_weight: weight.stride() as u32,
        ld_y: n as u32,
    };
    let (kernels, blocks) = forward_tile(backend.device.driver.properties().multiprocessors, m as u32, n as u32);
    let [to_bf16, to_f32] = kernels;
    let kernel = if dtype == DType::BF16 { to_bf16 } else { to_f32 };
    // SAFETY: the lengths of x and y were checked against m, n and k, those of the weights are their own.
    unsafe { backend.launch(call, kernel, blocks, &params) }
}

/// The kernels for m rows and n columns, and their blocks.
fn forward_tile(multiprocessors: u32, m: u32, n: u32) -> (&'static ForwardKernels, [u32; 3]) {
    const WIDE: &ForwardKernels = &GEMM_FORWARD_128X256;
    const SQUARE: &ForwardKernels = &GEMM_FORWARD_128X128;
    let decode = |rows: u32, columns: u32| [n.div_ceil(rows), m.div_ceil(columns), 1];
    if m <= 8 {
        return (&GEMM_DECODE_16X8, decode(16, 8));
    }
    if m as usize <= DECODE_ROWS_MAX {
        let blocks = decode(64, 32);
        let fills = blocks[0] * blocks[1] >= multiprocessors;
        return if fills { (&GEMM_DECODE_64X32, blocks) } else { (&GEMM_DECODE_16X32, decode(16, 32)) };
    }
    let wide = tiles(m, n, 256);
    if wide[0] >= multiprocessors { (WIDE, wide) } else { (SQUARE, tiles(m, n, 128)) }
}

/// Blocks of tiles with 128 rows.
fn tiles(rows: u32, columns: u32, tile_columns: u32) -> [u32; 3] {
    [rows.div_ceil(128) * columns.div_ceil(tile_columns), 1, 1]
}

/// Blocks of `column_sum` over n columns.
pub(crate) fn column_sum_blocks(n: u32) -> [u32; 3] {
    [n.div_ceil(COLUMN_SUM_COLUMNS), 1, 1]
}

/// d_x[m, k] = d_y[m, n] · weight
pub(crate) fn backward_input(
    backend: &CudaBackend,
    d_y: &Buffer,
    m: usize,
    weight: &Weight,
    d_x: &mut Buffer,
) -> Result<()> {
    const OP: &str = "matmul_backward_input";
    let (n, k) = (weight.rows(), weight.cols());
    let call = Call { op: OP, shape: format_args!("[m {m}, n {n}, k {k}]") };
    let d_x = d_x.f32_mut(OP, "d_x", m * k)?;
    let weight_address = weight.address(OP, "weight", (n, k), Precision::Bf16)?;
    let mut scratch = scratch(backend);
    let d_y = scratch.operand(backend, call, 0, ("d_y", d_y), (m, n))?;
    let params = GemmBackwardInputParams {
        d_y: d_y.address,
        weight: weight_address,
        d_x,
        m: m as u32,
        n: n as u32,
        k: k as u32,
        ld_d_y: d_y.stride,
        ld_weight: weight.stride() as u32,
        ld_d_x: k as u32,
    };
    let wide = tiles(params.m, params.k, 256);
    let (kernel, blocks) = if wide[0] >= backend.device.driver.properties().multiprocessors {
        (&GEMM_BACKWARD_INPUT_128X256, wide)
    } else {
        (&GEMM_BACKWARD_INPUT_128X128, tiles(params.m, params.k, 128))
    };
    // SAFETY: as in forward.
    unsafe { backend.launch(call, kernel, blocks, &params) }
}

/// d_weight[n, k] += d_yᵀ · x, d_bias[n] += column sums of d_y.
pub(crate) fn backward_weight(
    backend: &CudaBackend,
    d_y: &Buffer,
    x: &Buffer,
    m: usize,
    d_weight: &mut Weight,
    d_bias: Option<&mut Weight>,
) -> Result<()> {
    const OP: &str = "matmul_backward_weight";
    let (n, k) = (d_weight.rows(), d_weight.cols());
    let call = Call { op: OP, shape: format_args!("[m {m}, n {n}, k {k}]") };
    let ld_d_weight = d_weight.stride() as u32;
    let d_weight = d_weight.address_mut(OP, "d_weight", (n, k), Precision::F32)?;
    if let Some(d_bias) = d_bias {
        let sums = d_bias.address_mut(OP, "d_bias", (n, 1), Precision::F32)?;
        let x = d_y.f32(OP, "d_y", m * n)?;
        let params = ColumnSumParams { x, sums, m: m as u32, n: n as u32, ld_x: n as u32, unused: 0 };
        let blocks = column_sum_blocks(params.n);
        // SAFETY: the length of d_y was checked, that of the bias is n.
        unsafe { backend.launch(call, &COLUMN_SUM, blocks, &params)? };
    }
    let mut scratch = scratch(backend);
    let d_y = scratch.operand(backend, call, 0, ("d_y", d_y), (m, n))?;
    let x = scratch.operand(backend, call, 1, ("x", x), (m, k))?;
    let params = GemmBackwardWeightParams {
        d_y: d_y.address,
        x: x.address,
        d_weight,
        m: m as u32,
        n: n as u32,
        k: k as u32,
        ld_d_y: d_y.stride,
        ld_x: x.stride,
        ld_d_weight,
    };
    // SAFETY: as in forward.
    unsafe { backend.launch(call, &GEMM_BACKWARD_WEIGHT_128X128, tiles(params.n, params.k, 128), &params) }
}
