//! The sampler: one id a row of logits, drawn or the highest, with the logprob and entropy of the whole distribution.

mod adjust;
mod draw;
mod truncation;

pub(crate) use adjust::{adjust_logits, restore_logits};

use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::disjoint::DisjointMut;
use crate::level::Level;
use crate::pool::run_ranges;
use crate::softmax::checked_inverse_temperatures;
use draw::{RowPass, draw, first_equal, row_pass};
use gradus_ops::philox::{number, uniform};
use gradus_ops::{Error, Result, SAMPLE_TILE, SampleRows};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use truncation::{Limits, TruncationScratch, draw_truncated};

/// Written where a row has no distribution; a vocabulary never has that many ids.
const NONE: u32 = u32::MAX;
/// Logits of one task: a row of a large vocabulary, several of a small one.
const GRAIN_LOGITS: usize = 4 * 1024;

/// Memory of one task, kept from step to step.
#[derive(Default)]
pub(crate) struct RowScratch {
    tile_sums: Vec<f32>,
    truncation: TruncationScratch,
}

impl RowScratch {
    pub(crate) fn bytes(&self) -> usize {
        self.tile_sums.capacity() * size_of::<f32>() + self.truncation.bytes()
    }

    /// Room for any row of a vocabulary: whichever thread takes a row in a later step, it allocates nothing.
    fn reserve(&mut self, vocab: usize, is_limited: bool) {
        self.tile_sums.clear();
        self.tile_sums.reserve(vocab.div_ceil(SAMPLE_TILE));
        if is_limited {
            self.truncation.reserve(vocab);
        }
    }
}

/// One that no task uses: there are as many as threads, so that a caller on yet another thread waits at most for one row.
fn free(scratches: &[Mutex<RowScratch>]) -> MutexGuard<'_, RowScratch> {
    loop {
        for scratch in scratches {
            match scratch.try_lock() {
                Ok(scratch) => return scratch,
                Err(TryLockError::Poisoned(scratch)) => return scratch.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        std::hint::spin_loop();
    }
}

/// How one row is drawn.
struct RowSettings {
    inv_t: f32,
    greedy: bool,
    /// A random word, of which the upper 24 bits count.
    word: u32,
    limits: Limits,
}

/// See [`gradus_ops::Backend::sample`]. A row whose logits are not finite (save −inf) is an error.
pub(crate) fn sample(
    backend: &CpuBackend,
    logits: &Buffer,
    rows: &SampleRows<'_, Buffer>,
    ids: &mut Buffer,
    statistics: [&mut Buffer; 3],
) -> Result<()> {
    const OP: &str = "sample";
    let SampleRows { rows: count, vocab, .. } = *rows;
    let logits = logits.f32(OP, "logits", count * vocab)?;
    let inv_t = checked_inverse_temperatures(OP, rows.inv_t, count)?;
    let greedy = rows.greedy.u32(OP, "greedy", count)?;
    let streams = rows.streams.u32(OP, "streams", count * 4)?;
    let positions = rows.positions.u32(OP, "positions", count)?;
    let limits = Limits::checked(OP, rows)?;
    let ids = ids.u32_mut(OP, "ids", count)?;
    let [lse, logprob, entropy] = statistics;
    let lse = DisjointMut::new(lse.f32_mut(OP, "lse", count)?);
    let logprob = DisjointMut::new(logprob.f32_mut(OP, "logprob", count)?);
    let entropy = DisjointMut::new(entropy.f32_mut(OP, "entropy", count)?);
    let chosen = DisjointMut::new(ids);
    let is_limited = (0..count).any(|row| !limits.row(row, vocab).is_none());
    for scratch in &backend.sampling {
        scratch.lock().unwrap_or_else(PoisonError::into_inner).reserve(vocab, is_limited);
    }
    run_ranges(&backend.pool, count, GRAIN_LOGITS / vocab.max(1), &|start, end| {
        let scratch = &mut *free(&backend.sampling);
        for row in start..end {
            let words = &streams[row * 4..][..4];
            let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
            let [word, ..] = number(pair(words[0], words[1]), pair(words[2], words[3]), positions[row], 0);
            let limits = limits.row(row, vocab);
            let settings = RowSettings { inv_t: inv_t[row], greedy: greedy[row] != 0, word, limits };
            let logits = &logits[row * vocab..][..vocab];
            let (pass, id) = sample_row(backend.level, logits, &settings, scratch);
            // SAFETY: each row is taken once.
            unsafe {
                chosen.range(row, 1)[0] = id;
                lse.range(row, 1)[0] = pass.lse;
                logprob.range(row, 1)[0] =
                    logits.get(id as usize).map_or(f32::NAN, |logit| logit * inv_t[row] - pass.lse);
                entropy.range(row, 1)[0] = pass.entropy;
            }
        }
    });
    match ids.iter().position(|id| *id == NONE) {
        None => Ok(()),
        Some(row) => {
            let reason = format!(
                "row {row} has no distribution: its logits are not finite (the weights or the cache are damaged) or every id is forbidden"
            );
            Err(Error::Invalid { op: OP, reason })
        }
    }
}

fn sample_row(level: Level, logits: &[f32], settings: &RowSettings, scratch: &mut RowScratch) -> (RowPass, u32) {
    let &RowSettings { inv_t, greedy, word, limits } = settings;
    let pass = row_pass(level, logits, inv_t, &mut scratch.tile_sums);
    let id = if !pass.has_distribution() {
        NONE
    } else if greedy {
        first_equal(level, logits, pass.highest)
    } else if limits.is_none() {
        draw(level, logits, inv_t, uniform(word), &pass, &scratch.tile_sums)
    } else {
        draw_truncated(level, logits, inv_t, word >> 8, &pass, limits, &mut scratch.truncation)
    };
    (pass, id)
}
