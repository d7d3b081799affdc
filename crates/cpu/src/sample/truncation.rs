//! Draws from the likeliest ids of a row alone: top-k, then top-p of what is left, then min-p.
//!
//! No row is sorted. Few ids are candidates (a bound that is found by vectors leaves the rest out), the cut is found by selection among
//! them, and masses are integers, so that neither the selection's order nor the bound can change a result.

use super::draw::RowPass;
use crate::buffer::Buffer;
use crate::lanes::{larger, load};
use crate::level::{Level, dispatch};
use crate::math::{exp, log};
use gradus_ops::{Error, LANES, Result, SAMPLE_TILE, SampleRows};
use std::cmp::Ordering;

/// Units of mass in the share of the likeliest id: the contract's 2⁴⁰.
const MASS_UNITS: f32 = (1u64 << 40) as f32;
/// z − largest of ids whose mass is surely 0: below ln 2⁻⁴⁰ = −27.7.
const NO_MASS: f32 = -28.0;
/// More than the errors of a logarithm and of an exponential together.
const SLACK: f32 = 0.01;

/// Which ids of a row may be drawn.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// `usize::MAX` for all.
    top_k: usize,
    top_p: f32,
    min_p: f32,
}

impl Limits {
    pub fn is_none(self) -> bool {
        self.top_k == usize::MAX && self.top_p >= 1.0 && self.min_p <= 0.0
    }

    /// The limits of all rows, in their ranges.
    pub fn checked<'a>(op: &'static str, rows: &SampleRows<'a, Buffer>) -> Result<RowLimits<'a>> {
        let limits = RowLimits {
            top_k: rows.top_k.u32(op, "top_k", rows.rows)?,
            top_p: rows.top_p.f32(op, "top_p", rows.rows)?,
            min_p: rows.min_p.f32(op, "min_p", rows.rows)?,
        };
        let refuse = |row: usize, what: &str, value: f32, range: &str| {
            let reason = format!("row {row} has {what} {value}, expected a number {range}");
            Err(Error::Invalid { op, reason })
        };
        for (row, &top_p) in limits.top_p.iter().enumerate() {
            if !(top_p > 0.0 && top_p <= 1.0) {
                return refuse(row, "top_p", top_p, "above 0 and at most 1");
            }
        }
        for (row, &min_p) in limits.min_p.iter().enumerate() {
            if !(0.0..=1.0).contains(&min_p) {
                return refuse(row, "min_p", min_p, "from 0 to 1");
            }
        }
        Ok(limits)
    }
}

/// The limits of every row of an op.
pub(super) struct RowLimits<'a> {
    top_k: &'a [u32],
    top_p: &'a [f32],
    min_p: &'a [f32],
}

impl RowLimits<'_> {
    pub fn row(&self, row: usize, vocab: usize) -> Limits {
        let top_k = self.top_k[row] as usize;
        let top_k = if top_k == 0 || top_k >= vocab { usize::MAX } else { top_k };
        Limits { top_k, top_p: self.top_p[row], min_p: self.min_p[row] }
    }
}

/// An id that may be drawn.
#[derive(Clone, Copy)]
struct Candidate {
    z: f32,
    id: u32,
    mass: u64,
}

impl Candidate {
    /// The contract's order: the larger z first, the lower id where equal.
    fn order(&self, other: &Candidate) -> Ordering {
        other.z.total_cmp(&self.z).then(self.id.cmp(&other.id))
    }
}

#[derive(Default)]
pub(super) struct TruncationScratch {
    /// Maxima of disjoint groups of ids.
    maxima: Vec<f32>,
    /// In order of id.
    candidates: Vec<Candidate>,
    /// The same in no order.
    selected: Vec<Candidate>,
}

impl TruncationScratch {
    /// Room for a whole vocabulary, so that a row of many candidates allocates nothing later.
    fn reserve(&mut self, vocab: usize) {
        self.maxima.clear();
        self.maxima.reserve(vocab.div_ceil(SAMPLE_TILE) * LANES);
        for list in [&mut self.candidates, &mut self.selected] {
            list.clear();
            list.reserve(vocab);
        }
    }
}

/// One id from the row's kept ids; `word` has 24 random bits.
pub(super) fn draw_truncated(
    level: Level,
    logits: &[f32],
    inv_t: f32,
    word: u32,
    pass: &RowPass,
    limits: Limits,
    scratch: &mut TruncationScratch,
) -> u32 {
    scratch.reserve(logits.len());
    let TruncationScratch { maxima, candidates, selected } = scratch;
    let has_top_k = limits.top_k != usize::MAX;
    let min_mass = ((limits.min_p * MASS_UNITS).ceil() as u64).max(1);
    // After top-k, whose masses are the total of top-p, only its own bound holds.
    let least = if limits.min_p > 0.0 && !has_top_k { (log(limits.min_p) - SLACK).max(NO_MASS) } else { NO_MASS };
    let bound = if has_top_k {
        group_maxima(level, logits, inv_t, maxima);
        kth_largest(maxima, limits.top_k) - pass.largest
    } else if limits.top_p < 1.0 {
        // Ids below this share have together less than half of what top-p may leave out.
        log((1.0 - limits.top_p) * pass.total / (2.0 * logits.len() as f32)) - SLACK
    } else {
        least
    };
    gather(level, logits, inv_t, pass.largest, bound.max(least), candidates);
    selected.extend_from_slice(candidates);
    if has_top_k && selected.len() > limits.top_k {
        selected.select_nth_unstable_by(limits.top_k - 1, Candidate::order);
        selected.truncate(limits.top_k);
    }
    let mut last = has_top_k.then(|| selected.iter().copied().max_by(Candidate::order)).flatten();
    if limits.top_p < 1.0 {
        let kept: u64 = selected.iter().map(|candidate| candidate.mass).sum();
        let total = if has_top_k { kept as f64 } else { f64::from(pass.total) * f64::from(MASS_UNITS) };
        let goal = (f64::from(limits.top_p) * total).ceil() as u64;
        if kept < goal && !has_top_k && bound > least {
            // Only rounding can leave the masses below the goal, where top-p is nearly 1: then nothing with a mass is left out.
            candidates.clear();
            gather(level, logits, inv_t, pass.largest, least, candidates);
            selected.clear();
            selected.extend_from_slice(candidates);
        }
        last = last_to_reach(selected, goal).or(last);
    }
    let is_kept = |candidate: &&Candidate| {
        candidate.mass >= min_mass && last.is_none_or(|last| candidate.order(&last) != Ordering::Greater)
    };
    let kept: u64 = candidates.iter().filter(is_kept).map(|candidate| candidate.mass).sum();
    let goal = u128::from(word) * u128::from(kept);
    let mut running = 0;
    let drawn = candidates.iter().filter(is_kept).find(|candidate| {
        running += candidate.mass;
        u128::from(running) << 24 > goal
    });
    drawn.expect("the word is below 2^24, so the running mass passes its share of the whole").id
}

/// The `k`-th largest of numbers that are each an element of their own group: no fewer than k elements are at least as large.
fn kth_largest(maxima: &mut [f32], k: usize) -> f32 {
    if k > maxima.len() {
        return f32::NEG_INFINITY;
    }
    *maxima.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

/// The last candidate, in the contract's order, of the fewest whose masses reach `goal`; none if all together do not.
fn last_to_reach(mut part: &mut [Candidate], goal: u64) -> Option<Candidate> {
    let mass_of = |part: &[Candidate]| part.iter().map(|candidate| candidate.mass).sum::<u64>();
    if mass_of(part) < goal {
        return None;
    }
    let mut before = 0;
    while part.len() > 1 {
        let half = part.len() / 2;
        part.select_nth_unstable_by(half, Candidate::order);
        let (first, second) = part.split_at_mut(half);
        let mass = mass_of(first);
        if before + mass >= goal {
            part = first;
        } else {
            before += mass;
            part = second;
        }
    }
    part.first().copied()
}

dispatch! {
    fn group_maxima(logits: &[f32], inv_t: f32, maxima: &mut Vec<f32>) = group_maxima_body;
    fn gather(logits: &[f32], inv_t: f32, largest: f32, bound: f32, candidates: &mut Vec<Candidate>) = gather_body;
}

/// The largest z of each lane in each tile.
#[inline(always)]
fn group_maxima_body(logits: &[f32], inv_t: f32, maxima: &mut Vec<f32>) {
    for tile in logits.chunks(SAMPLE_TILE) {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let whole = tile.chunks_exact(LANES);
        let rest = load(whole.remainder(), f32::NEG_INFINITY);
        for logits in whole {
            for i in 0..LANES {
                lanes[i] = larger(lanes[i], logits[i] * inv_t);
            }
        }
        for i in 0..LANES {
            lanes[i] = larger(lanes[i], rest[i] * inv_t);
        }
        maxima.extend_from_slice(&lanes);
    }
}

/// Appends the ids with z − largest ≥ bound in their order.
#[inline(always)]
fn gather_body(logits: &[f32], inv_t: f32, largest: f32, bound: f32, candidates: &mut Vec<Candidate>) {
    for (group, logits) in logits.chunks(LANES).enumerate() {
        let lanes = load(logits, f32::NEG_INFINITY);
        let mut any = false;
        for i in 0..LANES {
            any |= lanes[i] * inv_t - largest >= bound;
        }
        if !any {
            continue;
        }
        for (place, logit) in logits.iter().enumerate() {
            let shifted = logit * inv_t - largest;
            if shifted >= bound {
                // Adding 0 makes one number of the two zeros, as the order wants it.
                let (z, id) = (logit * inv_t + 0.0, (group * LANES + place) as u32);
                candidates.push(Candidate { z, id, mass: (exp(shifted) * MASS_UNITS) as u64 });
            }
        }
    }
}
