//! Token embedding, the first op of a forward, and its backward, the last one of a step.

use crate::CpuBackend;
use crate::buffer::{Buffer, PANEL, Weight};
use crate::pool::{DisjointMut, run_ranges};
use gradus_ops::{Error, Result};

/// Tokens of one task.
const GRAIN: usize = 8;

/// See [`gradus_ops::Backend::embedding`].
pub(crate) fn embedding(
    backend: &CpuBackend,
    weight: &Weight,
    ids: &Buffer,
    tokens: usize,
    out: &mut Buffer,
) -> Result<()> {
    let cols = weight.cols();
    let ids = checked_ids("embedding", ids, tokens, weight)?;
    let out = DisjointMut::new(out.f32_mut("embedding", "out", tokens * cols)?);
    run_ranges(&backend.pool, tokens, GRAIN, &|start, end| {
        for token in start..end {
            let id = ids[token] as usize;
            let panel = &weight.packed()[weight.index(id / PANEL * PANEL, 0)..][..cols * PANEL];
            // SAFETY: each token's row is taken once.
            let row = unsafe { out.range(token * cols, cols) };
            for (out, column) in row.iter_mut().zip(panel.chunks_exact(PANEL)) {
                *out = column[id % PANEL];
            }
        }
    });
    Ok(())
}

/// See [`gradus_ops::Backend::embedding_backward`].
pub(crate) fn embedding_backward(
    backend: &CpuBackend,
    d_weight: &mut Weight,
    ids: &Buffer,
    tokens: usize,
    d_out: &Buffer,
) -> Result<()> {
    let cols = d_weight.cols();
    let ids = checked_ids("embedding_backward", ids, tokens, d_weight)?;
    let d_out = d_out.f32("embedding_backward", "d_out", tokens * cols)?;
    let mut order: Vec<(usize, usize)> = ids.iter().enumerate().map(|(token, id)| (*id as usize, token)).collect();
    order.sort_unstable();
    // One task a panel: the ids of a panel share cache lines, and no two tasks share an element.
    let panels: Vec<&[(usize, usize)]> = order.chunk_by(|a, b| a.0 / PANEL == b.0 / PANEL).collect();
    let packed = DisjointMut::new(d_weight.packed_mut());
    backend.pool.run(panels.len(), &|task| {
        let rows = panels[task];
        // SAFETY: panels are distinct.
        let panel = unsafe { packed.range(rows[0].0 / PANEL * PANEL * cols, cols * PANEL) };
        for (id, token) in rows {
            for (column, d_out) in panel.chunks_exact_mut(PANEL).zip(&d_out[token * cols..][..cols]) {
                column[id % PANEL] += d_out;
            }
        }
    });
    Ok(())
}

/// The ids, each of which is a row of `weight`.
fn checked_ids<'a>(op: &'static str, ids: &'a Buffer, tokens: usize, weight: &Weight) -> Result<&'a [u32]> {
    let ids = ids.u32(op, "ids", tokens)?;
    match ids.iter().position(|id| *id as usize >= weight.rows()) {
        None => Ok(ids),
        Some(token) => {
            let reason = format!("token {token} has id {}, the embedding has {} rows", ids[token], weight.rows());
            Err(Error::Invalid { op, reason })
        }
    }
}
