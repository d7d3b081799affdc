//! Bias and penalties on single logits before a draw, and back again: the statistics are those of the untouched logits.

use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::disjoint::DisjointMut;
use gradus_ops::{Error, LogitAdjustments, Result};

/// See [`gradus_ops::Backend::adjust_logits`].
pub(crate) fn adjust_logits(
    backend: &CpuBackend,
    logits: &mut Buffer,
    adjustments: &LogitAdjustments<'_, Buffer>,
    saved: &mut Buffer,
) -> Result<()> {
    const OP: &str = "adjust_logits";
    let LogitAdjustments { rows, vocab, entries, .. } = *adjustments;
    let (offsets, ids) = checked_places(OP, adjustments)?;
    let biases = adjustments.biases.f32(OP, "biases", entries)?;
    let penalties = adjustments.repetition_penalties.f32(OP, "repetition_penalties", entries)?;
    let reductions = adjustments.reductions.f32(OP, "reductions", entries)?;
    let logits = DisjointMut::new(logits.f32_mut(OP, "logits", rows * vocab)?);
    let saved = DisjointMut::new(saved.f32_mut(OP, "saved", entries)?);
    backend.pool.run(rows, &|row| {
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        // SAFETY: each row is taken once, and the offsets ascend.
        let (logits, saved) = unsafe { (logits.range(row * vocab, vocab), saved.range(start, end - start)) };
        for (entry, saved) in (start..end).zip(saved) {
            let logit = &mut logits[ids[entry] as usize];
            *saved = *logit;
            let biased = *logit + biases[entry];
            let penalised = if biased > 0.0 { biased / penalties[entry] } else { biased * penalties[entry] };
            *logit = penalised - reductions[entry];
        }
    });
    Ok(())
}

/// See [`gradus_ops::Backend::restore_logits`].
pub(crate) fn restore_logits(
    backend: &CpuBackend,
    logits: &mut Buffer,
    adjustments: &LogitAdjustments<'_, Buffer>,
    saved: &Buffer,
) -> Result<()> {
    const OP: &str = "restore_logits";
    let LogitAdjustments { rows, vocab, entries, .. } = *adjustments;
    let (offsets, ids) = checked_places(OP, adjustments)?;
    let saved = saved.f32(OP, "saved", entries)?;
    let logits = DisjointMut::new(logits.f32_mut(OP, "logits", rows * vocab)?);
    backend.pool.run(rows, &|row| {
        // SAFETY: each row is taken once.
        let logits = unsafe { logits.range(row * vocab, vocab) };
        for entry in offsets[row] as usize..offsets[row + 1] as usize {
            logits[ids[entry] as usize] = saved[entry];
        }
    });
    Ok(())
}

/// Offsets that ascend from 0 to the number of entries, and ids inside the vocabulary.
fn checked_places<'a>(op: &'static str, adjustments: &LogitAdjustments<'a, Buffer>) -> Result<(&'a [u32], &'a [u32])> {
    let LogitAdjustments { rows, vocab, entries, .. } = *adjustments;
    let offsets = adjustments.offsets.u32(op, "offsets", rows + 1)?;
    let ascend = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
    if !ascend || offsets[0] != 0 || offsets[rows] as usize != entries {
        let reason = format!("the offsets do not ascend from 0 to {entries}");
        return Err(Error::Invalid { op, reason });
    }
    let ids = adjustments.ids.u32(op, "ids", entries)?;
    if let Some(entry) = ids.iter().position(|id| *id as usize >= vocab) {
        let reason = format!("entry {entry} has id {}, the vocabulary has {vocab} ids", ids[entry]);
        return Err(Error::Invalid { op, reason });
    }
    Ok((offsets, ids))
}
