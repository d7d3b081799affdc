//! Draws from the likeliest ids of a row alone: top-k, then top-p of what is left, then min-p.
//!
//! No row is sorted. Few ids are candidates (a bound that is found by vectors leaves the rest out), the cut is found by selection among
//! them, and masses are integers, so that neither the selection's order nor the bound can change a result.

use super::draw::RowPass;
use crate::buffer::Buffer;
use crate::level::Level;
use crate::math::{exp, log};
use crate::vector::{Vector, dispatch_vector, maximum};
use gradus_ops::{Error, LANES, Result, SAMPLE_TILE, SampleRows};
use std::cmp::Ordering;

/// Units of mass in the share of the likeliest id: the contract's 2⁴⁰.
const MASS_UNITS: f32 = (1u64 << 40) as f32;
/// z − largest of ids whose mass is surely 0: below ln 2⁻⁴⁰ = −27.7.
const NO_MASS: f32 = -28.0;
/// Ids whose largest z stands for them when the bound of top-k is sought.
const GROUP: usize = 64;
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
    pub fn bytes(&self) -> usize {
        let candidates = self.candidates.capacity() + self.selected.capacity();
        self.maxima.capacity() * size_of::<f32>() + candidates * size_of::<Candidate>()
    }

    /// Room for a whole vocabulary, so that a row of many candidates allocates nothing later.
    pub fn reserve(&mut self, vocab: usize) {
        self.maxima.clear();
        self.maxima.reserve(vocab.div_ceil(GROUP));
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
    let row = Row { level, logits, inv_t, pass };
    let min_mass = ((limits.min_p * MASS_UNITS).ceil() as u64).max(1);
    let last =
        if limits.top_k == usize::MAX { row.cut_by_share(limits, scratch) } else { row.cut_by_count(limits, scratch) };
    let is_kept = |candidate: &&Candidate| {
        candidate.mass >= min_mass && last.is_none_or(|last| candidate.order(&last) != Ordering::Greater)
    };
    let candidates = &scratch.candidates;
    let kept: u64 = candidates.iter().filter(is_kept).map(|candidate| candidate.mass).sum();
    let goal = u128::from(word) * u128::from(kept);
    let mut running = 0;
    let drawn = candidates.iter().filter(is_kept).find(|candidate| {
        running += candidate.mass;
        u128::from(running) << 24 > goal
    });
    drawn.expect("the word is below 2^24, so the running mass passes its share of the whole").id
}

/// A row in whose scratch the candidates are gathered; each cut gives the last id that it keeps, none where it keeps all candidates.
struct Row<'a> {
    level: Level,
    logits: &'a [f32],
    inv_t: f32,
    pass: &'a RowPass,
}

impl Row<'_> {
    /// Top-k, and top-p of what it keeps.
    fn cut_by_count(&self, limits: Limits, scratch: &mut TruncationScratch) -> Option<Candidate> {
        let TruncationScratch { maxima, candidates, selected } = scratch;
        group_maxima(self.level, self.logits, self.inv_t, maxima);
        let bound = kth_largest(maxima, limits.top_k) - self.pass.largest;
        gather(self.level, self.logits, self.inv_t, self.pass.largest, bound.max(NO_MASS), candidates);
        selected.extend_from_slice(candidates);
        let mut last = None;
        if selected.len() > limits.top_k {
            last = Some(*selected.select_nth_unstable_by(limits.top_k - 1, Candidate::order).1);
            selected.truncate(limits.top_k);
        }
        if limits.top_p < 1.0 {
            let goal = (f64::from(limits.top_p) * mass_of(selected) as f64).ceil() as u64;
            last = last_to_reach(selected, goal).or(last);
        }
        last
    }

    /// Top-p of the whole row, or where that is 1 nothing but the bound of min-p.
    fn cut_by_share(&self, limits: Limits, scratch: &mut TruncationScratch) -> Option<Candidate> {
        let TruncationScratch { candidates, selected, .. } = scratch;
        let Limits { top_p, min_p, .. } = limits;
        let least = if min_p > 0.0 { (log(min_p) - SLACK).max(NO_MASS) } else { NO_MASS };
        // The likeliest ids reach most goals: shares below 1/64 of what is left out seldom count. Where they do, more are gathered.
        let mut bound = if top_p < 1.0 { (log((1.0 - top_p) / 64.0)).max(least) } else { least };
        let total = f64::from(self.pass.total) * f64::from(MASS_UNITS);
        let goal = (f64::from(top_p) * total).ceil() as u64;
        loop {
            gather(self.level, self.logits, self.inv_t, self.pass.largest, bound, candidates);
            if bound <= least || mass_of(candidates) >= goal {
                break;
            }
            candidates.clear();
            bound = (2.0 * bound).max(least);
        }
        if top_p >= 1.0 {
            return None;
        }
        selected.extend_from_slice(candidates);
        last_to_reach(selected, goal)
    }
}

fn mass_of(candidates: &[Candidate]) -> u64 {
    candidates.iter().map(|candidate| candidate.mass).sum()
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

dispatch_vector! {
    fn group_maxima(logits: &[f32], inv_t: f32, maxima: &mut Vec<f32>) = group_maxima_body;
    fn gather(logits: &[f32], inv_t: f32, largest: f32, bound: f32, candidates: &mut Vec<Candidate>) = gather_body;
}

/// The largest z of each group of ids. The highest logit has the largest z: rounding is monotone.
#[inline(always)]
fn group_maxima_body<V: Vector>(logits: &[f32], inv_t: f32, maxima: &mut Vec<f32>) {
    for logits in logits.chunks(GROUP) {
        maxima.push(maximum::<V>(logits) * inv_t);
    }
}

/// Appends the ids with z − largest ≥ bound in their order.
#[inline(always)]
fn gather_body<V: Vector>(logits: &[f32], inv_t: f32, largest: f32, bound: f32, candidates: &mut Vec<Candidate>) {
    // Most tiles have no candidate.
    for (tile, logits) in logits.chunks(SAMPLE_TILE).enumerate() {
        if maximum::<V>(logits) * inv_t - largest < bound {
            continue;
        }
        for (group, logits) in logits.chunks(LANES).enumerate() {
            if maximum::<V>(logits) * inv_t - largest < bound {
                continue;
            }
            let first = tile * SAMPLE_TILE + group * LANES;
            for (place, logit) in logits.iter().enumerate() {
                let shifted = logit * inv_t - largest;
                if shifted >= bound {
                    // Adding 0 makes one number of the two zeros, as the order wants it.
                    let (z, id) = (logit * inv_t + 0.0, (first + place) as u32);
                    candidates.push(Candidate { z, id, mass: (exp(shifted) * MASS_UNITS) as u64 });
                }
            }
        }
    }
}
