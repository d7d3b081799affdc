//! The update of a step: the sum of squares that clipping needs, and AdamW in one pass over packed parameters.
//!
//! Parameters, gradients and moments share one packing, so both ops are linear passes; padding is zero and stays zero.

use crate::CpuBackend;
use crate::bfloat16::{pair, rounded};
use crate::buffer::{PANEL, Weight};
use crate::disjoint::DisjointMut;
use crate::level::{Level, dispatch};
use crate::optimizer_state::{OptimizerState, quantised};
use crate::pool::{Pool, run_ranges};
use gradus_ops::{AdamW, AdamWFactors, Error, LANES, Precision, Result};
use std::sync::PoisonError;

/// Elements of one partial sum of squares, counted from the start of each parameter: fixed, so that the sum is the same
/// on any number of threads.
const SUM_BLOCK: usize = 64 * 1024;
/// Elements of one task of an update.
const GRAIN: usize = 32 * 1024;
/// Columns of a panel that are updated and then rounded: their masters are still in the first-level cache.
const COLUMNS: usize = 128;

/// Σ of squares over all matrices: each element widened to f64, 16 virtual lanes a block, blocks added in order.
pub(crate) fn sum_of_squares<'a>(backend: &CpuBackend, weights: impl Iterator<Item = &'a Weight>) -> Result<f64> {
    let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
    let mut total = 0.0;
    for weight in weights {
        weight.check_f32("sum_of_squares", "a gradient")?;
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

/// What an update reads and writes, each f32 array packed alike.
struct Update<'a> {
    level: Level,
    factors: AdamWFactors,
    gradient: &'a [f32],
    /// The f32 parameter itself, or the master of a bf16 one.
    parameter: DisjointMut<'a, f32>,
    m: DisjointMut<'a, f32>,
    v: DisjointMut<'a, f32>,
}

/// One AdamW update as `torch.optim.AdamW` does it:
/// p ← p · (1 − lr · λ) − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε), m and v being the moments after this gradient.
/// A bf16 weight becomes its updated master, rounded.
pub(crate) fn adamw(
    backend: &CpuBackend,
    weight: &mut Weight,
    state: &mut OptimizerState,
    gradient: &Weight,
    options: &AdamW,
) -> Result<()> {
    let (rows, cols) = (weight.rows(), weight.cols());
    for (what, list) in [("gradient", gradient), ("the state", &state.m)] {
        list.check_shape("adamw", what, rows, cols)?;
    }
    gradient.check_f32("adamw", "gradient")?;
    let factors = options.factors()?;
    let (level, gradient) = (backend.level, gradient.packed());
    let OptimizerState { master, m, v } = state;
    let (m, v) = (DisjointMut::new(m.packed_mut()), DisjointMut::new(v.packed_mut()));
    let update = |parameter| Update { level, factors, gradient, parameter: DisjointMut::new(parameter), m, v };
    match (weight.precision(), master) {
        (Precision::F32, None) => update(weight.packed_mut()).all(&backend.pool),
        (Precision::Bf16, Some(master)) => update(master.packed_mut()).all_rounded(&backend.pool, weight),
        (Precision::Q8, _) => return Err(quantised()),
        (Precision::F32, Some(_)) | (Precision::Bf16, None) => {
            let reason = format!("the state is not of a weight in {}", weight.precision().name());
            return Err(Error::Invalid { op: "adamw", reason });
        }
    }
    Ok(())
}

impl Update<'_> {
    fn all(&self, pool: &Pool) {
        run_ranges(pool, self.gradient.len(), GRAIN, &|start, end| {
            // SAFETY: the ranges of one run do not overlap.
            unsafe { self.range(start, end - start) };
        });
    }

    /// As [`Update::all`], and each master is rounded into `weight` while it is still in the cache.
    fn all_rounded(&self, pool: &Pool, weight: &mut Weight) {
        let (rows, cols, stored) = (weight.rows(), weight.cols(), weight.stored());
        if stored == Precision::F32 {
            let rounded = DisjointMut::new(weight.packed_mut());
            run_ranges(pool, self.gradient.len(), GRAIN, &|start, end| {
                // SAFETY: the ranges of one run do not overlap.
                let (masters, rounded) = unsafe { (self.range(start, end - start), rounded.range(start, end - start)) };
                round(self.level, masters, rounded);
            });
            return;
        }
        let pairs = DisjointMut::new(weight.pairs_mut());
        let panels_of_task = GRAIN / (cols * PANEL).max(1);
        run_ranges(pool, rows.div_ceil(PANEL), panels_of_task, &|from, to| {
            for (panel, column) in
                (from..to).flat_map(|panel| (0..cols).step_by(COLUMNS).map(move |column| (panel, column)))
            {
                let columns = COLUMNS.min(cols - column);
                let words = (panel * cols.div_ceil(2) + column / 2) * PANEL;
                // SAFETY: each task has its own panels, and blocks of columns are disjoint.
                let (masters, words) = unsafe {
                    (
                        self.range((panel * cols + column) * PANEL, columns * PANEL),
                        pairs.range(words, columns.div_ceil(2) * PANEL),
                    )
                };
                round_pairs(self.level, masters, words);
            }
        });
    }

    /// Updates `len` elements from `start` and gives the parameters.
    ///
    /// Safety: no other call takes an element of them meanwhile.
    #[allow(clippy::mut_from_ref)]
    unsafe fn range(&self, start: usize, len: usize) -> &mut [f32] {
        // SAFETY: these are three separate parameters, and the caller shares out their elements.
        let (parameter, m, v) =
            unsafe { (self.parameter.range(start, len), self.m.range(start, len), self.v.range(start, len)) };
        update(self.level, parameter, &self.gradient[start..start + len], m, v, self.factors);
        parameter
    }
}

dispatch! {
    fn update(parameter: &mut [f32], gradient: &[f32], m: &mut [f32], v: &mut [f32], factors: AdamWFactors) = update_body;
    fn round(masters: &[f32], out: &mut [f32]) = round_body;
    fn round_pairs(masters: &[f32], out: &mut [u32]) = round_pairs_body;
}

#[inline(always)]
fn update_body(parameter: &mut [f32], gradient: &[f32], m: &mut [f32], v: &mut [f32], factors: AdamWFactors) {
    for (((parameter, gradient), m), v) in parameter.iter_mut().zip(gradient).zip(m).zip(v) {
        let gradient = gradient * factors.gradient_scale;
        *m = factors.rate1.mul_add(gradient - *m, *m);
        *v = (factors.rate2 * gradient).mul_add(gradient, factors.beta2 * *v);
        let root = v.sqrt() / factors.correction2_root + factors.eps;
        *parameter = factors.negative_step.mul_add(*m / root, *parameter * factors.decay);
    }
}

#[inline(always)]
fn round_body(masters: &[f32], out: &mut [f32]) {
    for (out, master) in out.iter_mut().zip(masters) {
        *out = rounded(*master);
    }
}

/// Columns `[cols][16]` to pairs of columns `[ceil(cols / 2)][16]`.
#[inline(always)]
fn round_pairs_body(masters: &[f32], out: &mut [u32]) {
    let (whole, last) = masters.as_chunks::<{ 2 * PANEL }>();
    let (words, _) = out.as_chunks_mut::<PANEL>();
    for (words, columns) in words.iter_mut().zip(whole) {
        for lane in 0..PANEL {
            words[lane] = pair(columns[lane], columns[PANEL + lane]);
        }
    }
    if let (Some(words), [_, ..]) = (words.last_mut(), last) {
        for lane in 0..PANEL {
            words[lane] = pair(last[lane], 0.0);
        }
    }
}
