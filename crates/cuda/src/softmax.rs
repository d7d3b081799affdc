//! The one softmax kernel of sampler, score and loss, and the loss's gradient.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Call;
use crate::kernels::{SOFTMAX_BACKWARD, SOFTMAX_STATISTICS, SoftmaxBackwardParams, SoftmaxStatisticsParams};
use gradus_ops::{LossRows, Result};

/// Columns of one block of the backward.
const COLUMNS: usize = 4096;

/// lse, logprob of the target and entropy of each row.
pub(crate) fn softmax_statistics(
    backend: &CudaBackend,
    logits: &Buffer,
    LossRows { rows, vocab, targets, inv_t }: &LossRows<'_, Buffer>,
    [lse, logprob, entropy]: [&mut Buffer; 3],
) -> Result<()> {
    const OP: &str = "softmax_statistics";
    let (rows, vocab) = (*rows, *vocab);
    let params = SoftmaxStatisticsParams {
        logits: logits.f32(OP, "logits", rows * vocab)?,
        targets: targets.u32(OP, "targets", rows)?,
        inv_t: inv_t.f32(OP, "inv_t", rows)?,
        lse: lse.f32_mut(OP, "lse", rows)?,
        logprob: logprob.f32_mut(OP, "logprob", rows)?,
        entropy: entropy.f32_mut(OP, "entropy", rows)?,
        rows: rows as u32,
        vocab: vocab as u32,
    };
    let call = Call { op: OP, shape: format_args!("[rows {rows}, vocab {vocab}]") };
    // SAFETY: lengths were checked; targets below the vocabulary are the caller's part of the op.
    unsafe { backend.launch(call, &SOFTMAX_STATISTICS, [rows as u32, 1, 1], &params) }
}

/// In place: logits become the gradient of −Σ coefficient · logprob.
pub(crate) fn softmax_backward(
    backend: &CudaBackend,
    logits: &mut Buffer,
    LossRows { rows, vocab, targets, inv_t }: &LossRows<'_, Buffer>,
    lse: &Buffer,
    coefficient: &Buffer,
) -> Result<()> {
    const OP: &str = "softmax_backward";
    let (rows, vocab) = (*rows, *vocab);
    let params = SoftmaxBackwardParams {
        logits: logits.f32_mut(OP, "logits", rows * vocab)?,
        targets: targets.u32(OP, "targets", rows)?,
        inv_t: inv_t.f32(OP, "inv_t", rows)?,
        lse: lse.f32(OP, "lse", rows)?,
        coefficient: coefficient.f32(OP, "coefficient", rows)?,
        rows: rows as u32,
        vocab: vocab as u32,
    };
    let call = Call { op: OP, shape: format_args!("[rows {rows}, vocab {vocab}]") };
    // SAFETY: all lengths were checked.
    unsafe { backend.launch(call, &SOFTMAX_BACKWARD, [rows as u32, vocab.div_ceil(COLUMNS) as u32, 1], &params) }
}
