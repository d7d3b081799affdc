//! Statistics of a row of logits (lse, logprob, entropy) and the gradient of the loss by the logits.
//!
//! One function serves the sampler, `score` and the trainer, so that their logprobs are the same bits.

use crate::CpuBackend;
use crate::activation::{load_rest, store_rest};
use crate::buffer::Buffer;
use crate::disjoint::DisjointMut;
use crate::lanes;
use crate::math::{exp, log};
use crate::pool::run_ranges;
use crate::vector::{Vector, dispatch_vector, maximum};
use gradus_ops::{Error, LANES, LossRows, Result};

/// Logits of one task: a row of a large vocabulary, several of a small one.
const GRAIN_LOGITS: usize = 16 * 1024;

/// See [`gradus_ops::Backend::softmax_statistics`].
pub(crate) fn softmax_statistics(
    backend: &CpuBackend,
    logits: &Buffer,
    rows: &LossRows<'_, Buffer>,
    lse: &mut Buffer,
    logprob: &mut Buffer,
    entropy: &mut Buffer,
) -> Result<()> {
    const OP: &str = "softmax_statistics";
    let LossRows { rows: count, vocab, .. } = *rows;
    let (targets, inv_t) = checked_rows(OP, rows)?;
    let logits = logits.f32(OP, "logits", count * vocab)?;
    let lse = DisjointMut::new(lse.f32_mut(OP, "lse", count)?);
    let logprob = DisjointMut::new(logprob.f32_mut(OP, "logprob", count)?);
    let entropy = DisjointMut::new(entropy.f32_mut(OP, "entropy", count)?);
    run_ranges(&backend.pool, count, GRAIN_LOGITS / vocab.max(1), &|start, end| {
        for row in start..end {
            let logits = &logits[row * vocab..][..vocab];
            let statistics = row_statistics(backend.level, logits, inv_t[row]);
            // SAFETY: each row is taken once.
            let (lse, logprob, entropy) = unsafe { (lse.range(row, 1), logprob.range(row, 1), entropy.range(row, 1)) };
            lse[0] = statistics.lse;
            logprob[0] = logits[targets[row] as usize] * inv_t[row] - statistics.lse;
            entropy[0] = statistics.entropy;
        }
    });
    Ok(())
}

/// See [`gradus_ops::Backend::softmax_backward`].
pub(crate) fn softmax_backward(
    backend: &CpuBackend,
    logits: &mut Buffer,
    rows: &LossRows<'_, Buffer>,
    lse: &Buffer,
    coefficient: &Buffer,
) -> Result<()> {
    const OP: &str = "softmax_backward";
    let LossRows { rows: count, vocab, .. } = *rows;
    let (targets, inv_t) = checked_rows(OP, rows)?;
    let lse = lse.f32(OP, "lse", count)?;
    let coefficient = coefficient.f32(OP, "coefficient", count)?;
    let logits = DisjointMut::new(logits.f32_mut(OP, "logits", count * vocab)?);
    run_ranges(&backend.pool, count, GRAIN_LOGITS / vocab.max(1), &|start, end| {
        for row in start..end {
            // SAFETY: each row is taken once.
            let logits = unsafe { logits.range(row * vocab, vocab) };
            row_gradient(backend.level, logits, targets[row] as usize, inv_t[row], lse[row], coefficient[row]);
        }
    });
    Ok(())
}

/// Targets inside the vocabulary and usable inverse temperatures.
fn checked_rows<'a>(op: &'static str, rows: &LossRows<'a, Buffer>) -> Result<(&'a [u32], &'a [f32])> {
    let targets = rows.targets.u32(op, "targets", rows.rows)?;
    if let Some(row) = targets.iter().position(|target| *target as usize >= rows.vocab) {
        let reason = format!("row {row} has target {}, the vocabulary has {} ids", targets[row], rows.vocab);
        return Err(Error::Invalid { op, reason });
    }
    Ok((targets, checked_inverse_temperatures(op, rows.inv_t, rows.rows)?))
}

/// 1/T of each row: finite and above zero.
pub(crate) fn checked_inverse_temperatures<'a>(op: &'static str, inv_t: &'a Buffer, rows: usize) -> Result<&'a [f32]> {
    let inv_t = inv_t.f32(op, "inv_t", rows)?;
    match inv_t.iter().position(|inv_t| !(inv_t.is_finite() && *inv_t > 0.0)) {
        None => Ok(inv_t),
        Some(row) => {
            let reason = format!("row {row} has inverse temperature {}, expected a positive number", inv_t[row]);
            Err(Error::Invalid { op, reason })
        }
    }
}

pub(crate) struct Statistics {
    pub lse: f32,
    pub entropy: f32,
}

dispatch_vector! {
    fn row_statistics(logits: &[f32], inv_t: f32) -> Statistics = row_statistics_body;
    fn row_gradient(logits: &mut [f32], target: usize, inv_t: f32, lse: f32, coefficient: f32) = row_gradient_body;
}

/// With m the largest z, S = Σ exp(z − m) and W = Σ exp(z − m)·(z − m): lse = m + ln S, entropy = ln S − W/S,
/// which is lse − Σ p·z without the cancellation of a common offset.
///
/// Two passes: the second one finds the row in the cache.
#[inline(always)]
fn row_statistics_body<V: Vector>(logits: &[f32], inv_t: f32) -> Statistics {
    // Rounding is monotone, so the largest logit has the largest z.
    let largest = maximum::<V>(logits) * inv_t;
    let mut shares = Shares::<V>::new(inv_t, largest);
    let (whole, rest) = logits.as_chunks::<LANES>();
    for logits in whole {
        shares.add(V::load(logits));
    }
    if !rest.is_empty() {
        shares.add(V::load(&lanes::load(rest, f32::NEG_INFINITY)));
    }
    shares.statistics(largest)
}

/// The sums S and W of [`row_statistics_body`], lane by lane.
pub(crate) struct Shares<V> {
    inv_t: V,
    largest: V,
    sums: V,
    weighted: V,
}

impl<V: Vector> Shares<V> {
    /// `largest`: the largest logit · inv_t.
    #[inline(always)]
    pub(crate) fn new(inv_t: f32, largest: f32) -> Shares<V> {
        Shares { inv_t: V::splat(inv_t), largest: V::splat(largest), sums: V::splat(0.0), weighted: V::splat(0.0) }
    }

    /// Adds the next 16 logits; gives their exponentials, which the sampler uses too.
    #[inline(always)]
    pub(crate) fn add(&mut self, logits: V) -> V {
        // A logit of −inf has no share, but 0 · −inf would be NaN. exp is 0 long before.
        let shifted = (logits * self.inv_t - self.largest).larger(V::splat(f32::MIN));
        let e = exp(shifted);
        self.sums = self.sums + e;
        self.weighted = e.fma(shifted, self.weighted);
        e
    }

    #[inline(always)]
    pub(crate) fn statistics(&self, largest: f32) -> Statistics {
        let (sum, weighted) = (self.sums.fold_sum(), self.weighted.fold_sum());
        let log_sum = log(sum);
        Statistics { lse: largest + log_sum, entropy: log_sum - weighted / sum }
    }
}

#[inline(always)]
fn row_gradient_body<V: Vector>(logits: &mut [f32], target: usize, inv_t: f32, lse: f32, coefficient: f32) {
    let scale = coefficient * inv_t;
    let at_target = scale * (exp(logits[target] * inv_t - lse) - 1.0);
    let (scales, inv_t, lse) = (V::splat(scale), V::splat(inv_t), V::splat(lse));
    let (whole, rest) = logits.as_chunks_mut::<LANES>();
    for logits in whole {
        (scales * exp(V::load(logits) * inv_t - lse)).store(logits);
    }
    if !rest.is_empty() {
        store_rest(scales * exp(load_rest::<V, f32>(rest) * inv_t - lse), rest);
    }
    logits[target] = at_target;
}
