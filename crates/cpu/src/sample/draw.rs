//! The pass over a row that every kind of draw needs, and the draw from the whole distribution by inverse CDF.

use super::NONE;
use crate::lanes::load;
use crate::math::exp;
use crate::softmax::Shares;
use crate::vector::{Vector, dispatch_vector, maximum};
use gradus_ops::{LANES, SAMPLE_TILE};

/// What one pass over a row of logits gives, beside the sums of its tiles.
pub(super) struct RowPass {
    /// The highest logit, and the largest z = logit · inv_t.
    pub highest: f32,
    pub largest: f32,
    /// Σ exp(z − largest): tile sums added in order.
    pub total: f32,
    pub lse: f32,
    pub entropy: f32,
}

impl RowPass {
    /// Whether the row can be drawn from: no logit is NaN or +inf, and one is above −inf.
    pub fn has_distribution(&self) -> bool {
        self.largest.is_finite() && self.total.is_finite()
    }
}

dispatch_vector! {
    pub(super) fn row_pass(logits: &[f32], inv_t: f32, tile_sums: &mut Vec<f32>) -> RowPass = row_pass_body;
    pub(super) fn first_equal(logits: &[f32], value: f32) -> u32 = first_equal_body;
    pub(super) fn draw(logits: &[f32], inv_t: f32, u: f32, pass: &RowPass, tile_sums: &[f32]) -> u32 = draw_body;
}

/// Each exponential is computed once and added to its tile's sum and to the row's statistics, which have orders of their own.
#[inline(always)]
fn row_pass_body<V: Vector>(logits: &[f32], inv_t: f32, tile_sums: &mut Vec<f32>) -> RowPass {
    let highest = maximum::<V>(logits);
    // Rounding is monotone, so the highest logit has the largest z.
    let largest = highest * inv_t;
    let mut shares = Shares::<V>::new(inv_t, largest);
    let mut total = 0.0;
    tile_sums.clear();
    for tile in logits.chunks(SAMPLE_TILE) {
        let mut lanes = V::splat(0.0);
        let (whole, rest) = tile.as_chunks::<LANES>();
        for logits in whole {
            lanes = lanes + shares.add(V::load(logits));
        }
        if !rest.is_empty() {
            lanes = lanes + shares.add(V::load(&load(rest, f32::NEG_INFINITY)));
        }
        let sum = lanes.fold_sum();
        tile_sums.push(sum);
        total += sum;
    }
    let statistics = shares.statistics(largest);
    RowPass { highest, largest, total, lse: statistics.lse, entropy: statistics.entropy }
}

/// The lowest id with this logit, which is the highest.
#[inline(always)]
fn first_equal_body<V: Vector>(logits: &[f32], value: f32) -> u32 {
    for (tile, logits) in logits.chunks(SAMPLE_TILE).enumerate() {
        if maximum::<V>(logits) == value {
            let place = logits.iter().position(|logit| *logit == value);
            return place.map_or(NONE, |place| (tile * SAMPLE_TILE + place) as u32);
        }
    }
    NONE
}

/// The id whose share of the sum of exp(z − m) covers `u` of the total, tiles and then ids in order.
#[inline(always)]
fn draw_body<V: Vector>(logits: &[f32], inv_t: f32, u: f32, pass: &RowPass, tile_sums: &[f32]) -> u32 {
    // u < 1 and the walk repeats the additions of the total, so it ends in a tile, and only in one that adds something.
    let goal = u * pass.total;
    let mut before = 0.0;
    for (tile, sum) in tile_sums.iter().enumerate() {
        if before + sum > goal {
            let start = tile * SAMPLE_TILE;
            let tile = &logits[start..logits.len().min(start + SAMPLE_TILE)];
            return (start + id_in_tile::<V>(tile, inv_t, pass.largest, goal - before)) as u32;
        }
        before += sum;
    }
    NONE
}

/// The first id whose running sum passes `goal`. Where rounding keeps the sum below it: the last id with a share.
#[inline(always)]
fn id_in_tile<V: Vector>(logits: &[f32], inv_t: f32, largest: f32, goal: f32) -> usize {
    // All shares first, as vectors; their sum must go one by one.
    let mut shares = [0.0; SAMPLE_TILE];
    let (inv_t, largest) = (V::splat(inv_t), V::splat(largest));
    for (shares, logits) in shares.as_chunks_mut::<LANES>().0.iter_mut().zip(logits.chunks(LANES)) {
        exp(V::load(&load(logits, f32::NEG_INFINITY)) * inv_t - largest).store(shares);
    }
    let (mut sum, mut last) = (0.0, 0);
    for (id, share) in shares[..logits.len()].iter().enumerate() {
        if *share > 0.0 {
            sum += share;
            last = id;
            if sum > goal {
                break;
            }
        }
    }
    last
}
