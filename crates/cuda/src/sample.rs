//! The sampler, and changes of single logits before a draw.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Call;
use crate::kernels::{
    ADJUST_LOGITS, AdjustLogitsParams, Kernel, RESTORE_LOGITS, SAMPLE, SAMPLE_VOCAB_MAX, SampleParams,
};
use gradus_ops::{Error, LogitAdjustments, Result, SampleRows};

/// One id a row; u32::MAX where a row has no distribution, which shows when the ids are read.
pub(crate) fn sample(
    backend: &CudaBackend,
    logits: &Buffer,
    rows: &SampleRows<'_, Buffer>,
    ids: &mut Buffer,
    [lse, logprob, entropy]: [&mut Buffer; 3],
) -> Result<()> {
    const OP: &str = "sample";
    let SampleRows { rows: count, vocab, inv_t, greedy, streams, positions, top_k, top_p, min_p } = *rows;
    if vocab > SAMPLE_VOCAB_MAX {
        let reason =
            format!("the vocabulary has {vocab} ids, expected at most {SAMPLE_VOCAB_MAX}; take device \"cpu\"");
        return Err(Error::Invalid { op: OP, reason });
    }
    let params = SampleParams {
        logits: logits.f32(OP, "logits", count * vocab)?,
        inv_t: inv_t.f32(OP, "inv_t", count)?,
        greedy: greedy.u32(OP, "greedy", count)?,
        streams: streams.u32(OP, "streams", 4 * count)?,
        positions: positions.u32(OP, "positions", count)?,
        top_k: top_k.u32(OP, "top_k", count)?,
        top_p: top_p.f32(OP, "top_p", count)?,
        min_p: min_p.f32(OP, "min_p", count)?,
        ids: ids.u32_mut(OP, "ids", count)?,
        lse: lse.f32_mut(OP, "lse", count)?,
        logprob: logprob.f32_mut(OP, "logprob", count)?,
        entropy: entropy.f32_mut(OP, "entropy", count)?,
        rows: count as u32,
        vocab: vocab as u32,
    };
    let call = Call { op: OP, shape: format_args!("[rows {count}, vocab {vocab}]") };
    // SAFETY: all lengths were checked.
    unsafe { backend.launch(call, &SAMPLE, [count as u32, 1, 1], &params) }
}

/// Changes single logits in place and keeps what they were in `saved`.
pub(crate) fn adjust_logits(
    backend: &CudaBackend,
    logits: &mut Buffer,
    adjustments: &LogitAdjustments<'_, Buffer>,
    saved: &mut Buffer,
) -> Result<()> {
    saved.f32_mut("adjust_logits", "saved", adjustments.entries)?;
    change(backend, ("adjust_logits", &ADJUST_LOGITS), logits, adjustments, saved)
}

/// Undoes [`adjust_logits`].
pub(crate) fn restore_logits(
    backend: &CudaBackend,
    logits: &mut Buffer,
    adjustments: &LogitAdjustments<'_, Buffer>,
    saved: &Buffer,
) -> Result<()> {
    change(backend, ("restore_logits", &RESTORE_LOGITS), logits, adjustments, saved)
}

fn change(
    backend: &CudaBackend,
    (op, kernel): (&'static str, &Kernel<AdjustLogitsParams>),
    logits: &mut Buffer,
    adjustments: &LogitAdjustments<'_, Buffer>,
    saved: &Buffer,
) -> Result<()> {
    let LogitAdjustments { rows, vocab, entries, offsets, ids, biases, repetition_penalties, reductions } =
        *adjustments;
    let params = AdjustLogitsParams {
        logits: logits.f32_mut(op, "logits", rows * vocab)?,
        offsets: offsets.u32(op, "offsets", rows + 1)?,
        ids: ids.u32(op, "ids", entries)?,
        biases: biases.f32(op, "biases", entries)?,
        repetition_penalties: repetition_penalties.f32(op, "repetition_penalties", entries)?,
        reductions: reductions.f32(op, "reductions", entries)?,
        saved: saved.f32(op, "saved", entries)?,
        rows: rows as u32,
        vocab: vocab as u32,
    };
    let call = Call { op, shape: format_args!("[rows {rows}, vocab {vocab}, entries {entries}]") };
    // SAFETY: lengths were checked; offsets up to `entries` and ids below the vocabulary are the caller's part of the op.
    unsafe { backend.launch(call, kernel, [rows as u32, 1, 1], &params) }
}
