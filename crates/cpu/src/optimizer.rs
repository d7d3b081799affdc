//! The update of a step: the sum of squares that clipping needs, and AdamW in one pass over packed parameters.
//!
//! Parameters, gradients and moments share one packing, so both ops are linear passes; padding is zero and stays zero.

use crate::CpuBackend;
use crate::buffer::Weight;
use crate::level::dispatch;
use crate::pool::{DisjointMut, run_ranges};
use gradus_ops::{AdamW, Error, LANES, Result};
use std::sync::PoisonError;

/// Elements of one partial sum of squares, counted from the start of each parameter: fixed, so that the sum is the same
/// on any number of threads.
const SUM_BLOCK: usize = 64 * 1024;
/// Elements of one task of an update.
const GRAIN: usize = 32 * 1024;

/// Σ of squares over all matrices: each element widened to f64, 16 virtual lanes a block, blocks added in order.
pub(crate) fn sum_of_squares(backend: &CpuBackend, weights: &[&Weight]) -> Result<f64> {
    let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
    let mut total = 0.0;
    for weight in weights {
        let values = weight.packed();
        let blocks = values.len().div_ceil(SUM_BLOCK);
        let partials = scratch.take::<f64>(blocks)?;
        let parts = DisjointMut::new(partials);
        backend.pool.run(blocks, &|block| {
            let end = ((block + 1) * SUM_BLOCK).min(values.len());
            // SAFETY: each block writes its own partial sum.
            let partial = unsafe { parts.range(block, 1) };
            partial[0] = block_squares(backend.level, &values[block * SUM_BLOCK..end]);
        });
        total = partials.iter().fold(total, |total, partial| total + partial);
    }
    Ok(total)
}

dispatch! {
    fn block_squares(values: &[f32]) -> f64 = block_squares_body;
}

#[inline(always)]
fn block_squares_body(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    // A packed parameter is whole panels, so nothing remains beyond the last 16.
    for group in values.as_chunks::<LANES>().0 {
        for (lane, value) in lanes.iter_mut().zip(group) {
            let value = f64::from(*value);
            *lane += value * value;
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}

/// The factors of one update, computed in f64 and rounded once.
#[derive(Clone, Copy)]
struct Factors {
    gradient_scale: f32,
    /// 1 − learning_rate · weight_decay
    decay: f32,
    /// 1 − β₁
    rate1: f32,
    beta2: f32,
    /// 1 − β₂
    rate2: f32,
    /// √(1 − β₂ᵗ)
    correction2_root: f32,
    eps: f32,
    /// −learning_rate / (1 − β₁ᵗ)
    negative_step: f32,
}

impl Factors {
    fn new(options: &AdamW) -> Result<Factors> {
        let invalid = |reason: String| Error::Invalid { op: "adamw", reason };
        let AdamW { learning_rate, beta1, beta2, eps, weight_decay, step, gradient_scale } = *options;
        if !(0.0..1.0).contains(&beta1) || !(0.0..1.0).contains(&beta2) {
            return Err(invalid(format!("betas are {beta1} and {beta2}, expected at least 0 and below 1")));
        }
        if eps.is_nan() || eps < f32::MIN_POSITIVE {
            return Err(invalid(format!("eps is {eps}, expected more than 0: a gradient of 0 would divide 0 by 0")));
        }
        if step == 0 {
            return Err(invalid("step is 0, but updates are counted from 1".into()));
        }
        let power = |beta: f64| beta.powf(step as f64);
        let learning_rate = f64::from(learning_rate);
        Ok(Factors {
            gradient_scale,
            decay: (1.0 - learning_rate * f64::from(weight_decay)) as f32,
            rate1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            rate2: (1.0 - beta2) as f32,
            correction2_root: (1.0 - power(beta2)).sqrt() as f32,
            eps,
            negative_step: (-learning_rate / (1.0 - power(beta1))) as f32,
        })
    }
}

/// One AdamW update as `torch.optim.AdamW` does it:
/// p ← p · (1 − lr · λ) − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε), m and v being the moments after this gradient.
#[allow(clippy::needless_pass_by_value)]
pub(crate) fn adamw(
    backend: &CpuBackend,
    weight: &mut Weight,
    master: Option<&mut Weight>,
    gradient: &Weight,
    m: &mut Weight,
    v: &mut Weight,
    options: &AdamW,
) -> Result<()> {
    let (rows, cols) = (weight.rows(), weight.cols());
    if master.is_some() {
        return Err(Error::Invalid { op: "adamw", reason: "an f32 weight has no master".into() });
    }
    gradient.check_shape("adamw", "gradient", rows, cols)?;
    m.check_shape("adamw", "m", rows, cols)?;
    v.check_shape("adamw", "v", rows, cols)?;
    let factors = Factors::new(options)?;
    let gradient = gradient.packed();
    let weight = DisjointMut::new(weight.packed_mut());
    let (m, v) = (DisjointMut::new(m.packed_mut()), DisjointMut::new(v.packed_mut()));
    run_ranges(&backend.pool, gradient.len(), GRAIN, &|start, end| {
        // SAFETY: the ranges of one run do not overlap, and these are three separate parameters.
        let (weight, m, v) =
            unsafe { (weight.range(start, end - start), m.range(start, end - start), v.range(start, end - start)) };
        update(backend.level, weight, &gradient[start..end], m, v, factors);
    });
    Ok(())
}

dispatch! {
    fn update(weight: &mut [f32], gradient: &[f32], m: &mut [f32], v: &mut [f32], factors: Factors) = update_body;
}

#[inline(always)]
fn update_body(weight: &mut [f32], gradient: &[f32], m: &mut [f32], v: &mut [f32], factors: Factors) {
    for (((weight, gradient), m), v) in weight.iter_mut().zip(gradient).zip(m).zip(v) {
        let gradient = gradient * factors.gradient_scale;
        *m = factors.rate1.mul_add(gradient - *m, *m);
        *v = (factors.rate2 * gradient).mul_add(gradient, factors.beta2 * *v);
        let root = v.sqrt() / factors.correction2_root + factors.eps;
        *weight = factors.negative_step.mul_add(*m / root, *weight * factors.decay);
    }
}
