//! The sampler: one id a row from softmax(logits / T) by inverse CDF, or the highest logit.

use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::lanes::{fold_sum, load, maximum};
use crate::level::dispatch;
use crate::math::exp;
use crate::pool::DisjointMut;
use crate::softmax::checked_inverse_temperatures;
use gradus_ops::philox::{number, uniform};
use gradus_ops::{Error, LANES, Result, SAMPLE_TILE, SampleRows};

/// Written where a row has no distribution; a vocabulary never has that many ids.
const NONE: u32 = u32::MAX;

/// See [`gradus_ops::Backend::sample`]. A row whose logits are not finite (save −inf) is an error.
pub(crate) fn sample(
    backend: &CpuBackend,
    logits: &Buffer,
    rows: &SampleRows<'_, Buffer>,
    ids: &mut Buffer,
) -> Result<()> {
    const OP: &str = "sample";
    let SampleRows { rows: count, vocab, .. } = *rows;
    let logits = logits.f32(OP, "logits", count * vocab)?;
    let inv_t = checked_inverse_temperatures(OP, rows.inv_t, count)?;
    let greedy = rows.greedy.u32(OP, "greedy", count)?;
    let streams = rows.streams.u32(OP, "streams", count * 4)?;
    let positions = rows.positions.u32(OP, "positions", count)?;
    let ids = ids.u32_mut(OP, "ids", count)?;
    let chosen = DisjointMut::new(ids);
    backend.pool.run(count, &|row| {
        let logits = &logits[row * vocab..][..vocab];
        // SAFETY: each row is taken once.
        let id = unsafe { chosen.range(row, 1) };
        id[0] = if greedy[row] != 0 {
            highest(backend.level, logits)
        } else {
            let words = &streams[row * 4..][..4];
            let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
            let [word, ..] = number(pair(words[0], words[1]), pair(words[2], words[3]), positions[row], 0);
            draw(backend.level, logits, inv_t[row], uniform(word))
        };
    });
    match ids.iter().position(|id| *id == NONE) {
        None => Ok(()),
        Some(row) => {
            let reason = format!("the logits of row {row} are not finite: the weights or the cache are damaged");
            Err(Error::Invalid { op: OP, reason })
        }
    }
}

dispatch! {
    fn highest(logits: &[f32]) -> u32 = highest_body;
    fn draw(logits: &[f32], inv_t: f32, u: f32) -> u32 = draw_body;
}

/// The lowest id with the highest logit.
#[inline(always)]
fn highest_body(logits: &[f32]) -> u32 {
    let largest = maximum(logits);
    if !largest.is_finite() {
        return NONE;
    }
    logits.iter().position(|logit| *logit == largest).map_or(NONE, |id| id as u32)
}

/// The id whose share of the sum of exp(z − m) covers `u` of the total, tiles and then ids in order.
#[inline(always)]
fn draw_body(logits: &[f32], inv_t: f32, u: f32) -> u32 {
    let largest = maximum(logits) * inv_t;
    let mut sums = Vec::with_capacity(logits.len().div_ceil(SAMPLE_TILE));
    let mut total = 0.0;
    for tile in logits.chunks(SAMPLE_TILE) {
        let sum = tile_sum(tile, inv_t, largest);
        sums.push(sum);
        total += sum;
    }
    if !largest.is_finite() || !total.is_finite() {
        return NONE;
    }
    // u < 1 and the walk repeats the additions of the total, so it ends in a tile, and only in one that adds something.
    let goal = u * total;
    let mut before = 0.0;
    for (tile, sum) in sums.iter().enumerate() {
        if before + sum > goal {
            let start = tile * SAMPLE_TILE;
            let tile = &logits[start..logits.len().min(start + SAMPLE_TILE)];
            return (start + id_in_tile(tile, inv_t, largest, goal - before)) as u32;
        }
        before += sum;
    }
    NONE
}

#[inline(always)]
fn tile_sum(logits: &[f32], inv_t: f32, largest: f32) -> f32 {
    let mut sums = [0.0; LANES];
    let whole = logits.chunks_exact(LANES);
    let rest = load(whole.remainder(), f32::NEG_INFINITY);
    for logits in whole {
        for i in 0..LANES {
            sums[i] += exp(logits[i] * inv_t - largest);
        }
    }
    for i in 0..LANES {
        sums[i] += exp(rest[i] * inv_t - largest);
    }
    fold_sum(sums)
}

/// The first id whose running sum passes `goal`. Where rounding keeps the sum below it: the last id with a share.
#[inline(always)]
fn id_in_tile(logits: &[f32], inv_t: f32, largest: f32, goal: f32) -> usize {
    let (mut sum, mut last) = (0.0, 0);
    for (id, logit) in logits.iter().enumerate() {
        let share = exp(logit * inv_t - largest);
        if share > 0.0 {
            sum += share;
            last = id;
            if sum > goal {
                break;
            }
        }
    }
    last
}
