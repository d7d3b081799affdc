//! Matrix products of the policy network: x · Wᵀ, d_y · W and d_yᵀ · x on packed f32 weights.
//!
//! Every output of the first two is one chain of fused multiply-adds over k = 0, 1, 2, … in f32, the same for any number
//! of rows, threads and any level; a weight gradient adds one such chain a block of 64 rows. Work is split over rows and
//! columns of the output, never over the chain, and only the order in which chains are computed is chosen for speed.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod gradient;
mod kernel;
mod pack;
mod plan;
mod portable;
mod product;
pub(crate) mod quantised;

use crate::CpuBackend;
use crate::buffer::{Buffer, Weight};
use gradient::WeightGradient;
use gradus_ops::{Error, Precision, Result};
use product::{Panels, Product};

/// y[m, n] = x[m, k] · weightᵀ (+ bias[n]); weight is [n, k].
pub(crate) fn forward(
    backend: &CpuBackend,
    x: &Buffer,
    m: usize,
    weight: &Weight,
    bias: Option<&Weight>,
    y: &mut Buffer,
) -> Result<()> {
    const OP: &str = "matmul";
    let (n, k) = (weight.rows(), weight.cols());
    if let Some(bias) = bias {
        bias.check_shape(OP, "bias", n, 1)?;
    }
    if weight.stored() == Precision::Q8 {
        let (input, out) = (x.f32(OP, "x", elements(OP, m, k)?)?, y.f32_mut(OP, "y", elements(OP, m, n)?)?);
        let (weight, bias) = (weight.blocks(), bias.map(Weight::packed));
        return quantised::Product { input, rows: m, steps: k, columns: n, weight, bias }.run(backend, out);
    }
    check_precision(OP, weight)?;
    let input = x.f32(OP, "x", elements(OP, m, k)?)?;
    let out = y.f32_mut(OP, "y", elements(OP, m, n)?)?;
    let panels = Panels::Stored(weight);
    Product { input, rows: m, steps: k, columns: n, panels, bias: bias.map(Weight::packed) }.run(backend, out)
}

/// d_x[m, k] = d_y[m, n] · weight; one chain over n.
pub(crate) fn backward_input(
    backend: &CpuBackend,
    d_y: &Buffer,
    m: usize,
    weight: &Weight,
    d_x: &mut Buffer,
) -> Result<()> {
    const OP: &str = "matmul_backward_input";
    let (n, k) = (weight.rows(), weight.cols());
    check_precision(OP, weight)?;
    let input = d_y.f32(OP, "d_y", elements(OP, m, n)?)?;
    let out = d_x.f32_mut(OP, "d_x", elements(OP, m, k)?)?;
    let panels = Panels::Transposed(weight);
    Product { input, rows: m, steps: n, columns: k, panels, bias: None }.run(backend, out)
}

/// d_weight[n, k] += d_yᵀ · x, and d_bias[n] += column sums of d_y.
pub(crate) fn backward_weight(
    backend: &CpuBackend,
    d_y: &Buffer,
    x: &Buffer,
    m: usize,
    d_weight: &mut Weight,
    d_bias: Option<&mut Weight>,
) -> Result<()> {
    const OP: &str = "matmul_backward_weight";
    let (n, k) = (d_weight.rows(), d_weight.cols());
    check_precision(OP, d_weight)?;
    if let Some(d_bias) = &d_bias {
        d_bias.check_shape(OP, "d_bias", n, 1)?;
    }
    let d_bias = d_bias.map(Weight::packed_mut);
    let d_y = d_y.f32(OP, "d_y", elements(OP, m, n)?)?;
    let x = x.f32(OP, "x", elements(OP, m, k)?)?;
    WeightGradient { d_y, x, rows: m, outputs: n, inputs: k }.run(backend, d_weight, d_bias)
}

/// For the time being every matrix is f32.
fn check_precision(op: &'static str, weight: &Weight) -> Result<()> {
    weight.check_f32(op, "weight")
}

fn elements(op: &'static str, rows: usize, columns: usize) -> Result<usize> {
    let too_many = || Error::Invalid { op, reason: format!("{rows} rows of {columns} columns are beyond any memory") };
    rows.checked_mul(columns).ok_or_else(too_many)
}
