//! Matrix products of the policy network: x · Wᵀ, d_y · W and d_yᵀ · x on packed weights, in f32 or of bf16 values.
//!
//! Every output of the first two is one chain of fused multiply-adds in f32 over k = 0, 1, 2, … (in bf16 k = 1, 0, 3,
//! 2, …), the same for any number of rows, threads and any level; a weight gradient adds one such chain a block of 64
//! rows. Work is split over rows and columns of the output, never over the chain, and only the order in which chains
//! are computed is chosen for speed.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod gradient;
mod kernel;
mod pack;
mod panels;
mod plan;
mod portable;
mod product;
pub(crate) mod quantised;

use crate::CpuBackend;
use crate::buffer::{Buffer, Weight};
use crate::disjoint::DisjointMut;
use gradient::WeightGradient;
use gradus_ops::{Error, Precision, Result};
use gradus_tensor::DType;
use pack::Input;
use panels::Panels;
use product::{Output, Product};

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
    check_matrix(OP, weight)?;
    let (x_len, y_len) = (elements(OP, m, k)?, elements(OP, m, n)?);
    let (input, out) = if weight.stored() == Precision::Bf16 {
        (input(OP, "x", x, x_len)?, output(OP, "y", y, y_len)?)
    } else {
        (Input::F32(x.f32(OP, "x", x_len)?), Output::F32(DisjointMut::new(y.f32_mut(OP, "y", y_len)?)))
    };
    let (panels, bias) = (Panels::Stored(weight), bias.map(Weight::packed));
    Product { input, rows: m, depth: k, columns: n, panels, bias, out }.run(backend)
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
    if weight.stored() == Precision::Q8 {
        return Err(Error::Invalid {
            op: OP,
            reason: "a q8_0 weight has no backward; load the policy in f32 or bf16".into(),
        });
    }
    check_matrix(OP, weight)?;
    let input = Input::F32(d_y.f32(OP, "d_y", elements(OP, m, n)?)?);
    let out = Output::F32(DisjointMut::new(d_x.f32_mut(OP, "d_x", elements(OP, m, k)?)?));
    let panels = Panels::Transposed(weight);
    Product { input, rows: m, depth: n, columns: k, panels, bias: None, out }.run(backend)
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
    d_weight.check_f32(OP, "d_weight")?;
    if let Some(d_bias) = &d_bias {
        d_bias.check_shape(OP, "d_bias", n, 1)?;
        d_bias.check_f32(OP, "d_bias")?;
    }
    let d_bias = d_bias.map(Weight::packed_mut);
    let d_y = d_y.f32(OP, "d_y", elements(OP, m, n)?)?;
    let x = input(OP, "x", x, elements(OP, m, k)?)?;
    WeightGradient { d_y, x, rows: m, outputs: n, inputs: k }.run(backend, d_weight, d_bias)
}

/// Vectors lie in memory as f32: those of a bf16 policy would be multiplied without rounding the other side.
fn check_matrix(op: &'static str, weight: &Weight) -> Result<()> {
    if weight.stored() == weight.precision() {
        return Ok(());
    }
    let reason = format!("a {} weight of one column is a vector, expected a matrix", weight.precision().name());
    Err(Error::Invalid { op, reason })
}

/// Activations in either dtype.
fn input<'a>(op: &'static str, what: &'static str, buffer: &'a Buffer, len: usize) -> Result<Input<'a>> {
    Ok(match buffer.dtype() {
        DType::BF16 => Input::Bf16(buffer.slice(op, what, len)?),
        _ => Input::F32(buffer.slice(op, what, len)?),
    })
}

fn output<'a>(op: &'static str, what: &'static str, buffer: &'a mut Buffer, len: usize) -> Result<Output<'a>> {
    Ok(match buffer.dtype() {
        DType::BF16 => Output::Bf16(DisjointMut::new(buffer.slice_mut(op, what, len)?)),
        _ => Output::F32(DisjointMut::new(buffer.slice_mut(op, what, len)?)),
    })
}

fn elements(op: &'static str, rows: usize, columns: usize) -> Result<usize> {
    let too_many = || Error::Invalid { op, reason: format!("{rows} rows of {columns} columns are beyond any memory") };
    rows.checked_mul(columns).ok_or_else(too_many)
}
