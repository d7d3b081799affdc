//! Token embedding, the first op of a forward, and its backward, the last one of a step.

use crate::CpuBackend;
use crate::activation::{Activation, is_bf16, load_rest, run_rows, store_rest};
use crate::buffer::{Buffer, PANEL, Weight};
use crate::disjoint::DisjointMut;
use crate::level::Level;
use crate::memory_ops::add_range;
use crate::packing::{read_row, set_row};
use crate::pool::run_ranges;
use crate::vector::{Vector, dispatch_vector};
use gradus_ops::{Error, LANES, Result};
use half::bf16;
use std::sync::PoisonError;

const OP: &str = "embedding";
const OP_BACKWARD: &str = "embedding_backward";
/// Tokens of one task of the backward, each a walk through a panel.
const GRAIN_TOKENS: usize = 16;
/// Columns that the backward adds at a time.
const COLUMNS: usize = 256;

/// See [`gradus_ops::Backend::embedding`].
pub(crate) fn embedding(
    backend: &CpuBackend,
    weight: &Weight,
    ids: &Buffer,
    tokens: usize,
    out: &mut Buffer,
) -> Result<()> {
    let (cols, ids) = (weight.cols(), checked_ids(OP, ids, tokens, weight)?);
    if is_bf16(OP, "out", out)? {
        let out = DisjointMut::new(out.slice_mut::<bf16>(OP, "out", tokens * cols)?);
        let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = DisjointMut::new(scratch.take::<f32>(tokens * cols)?);
        run_rows(&backend.pool, tokens, cols, &|start, end| {
            for token in start..end {
                // SAFETY: each token's rows are taken once.
                let (row, out) = unsafe { (rows.range(token * cols, cols), out.range(token * cols, cols)) };
                weight.read_row(ids[token] as usize, row);
                round_row(backend.level, row, out);
            }
        });
    } else {
        let out = DisjointMut::new(out.f32_mut(OP, "out", tokens * cols)?);
        run_rows(&backend.pool, tokens, cols, &|start, end| {
            for token in start..end {
                // SAFETY: each token's row is taken once.
                weight.read_row(ids[token] as usize, unsafe { out.range(token * cols, cols) });
            }
        });
    }
    Ok(())
}

dispatch_vector! {
    fn round_row(row: &[f32], out: &mut [bf16]) = round_row_body;
}

#[inline(always)]
fn round_row_body<V: Vector>(row: &[f32], out: &mut [bf16]) {
    let ((row, row_rest), (out, out_rest)) = (row.as_chunks::<LANES>(), out.as_chunks_mut::<LANES>());
    for (row, out) in row.iter().zip(out) {
        bf16::store(V::load(row), out);
    }
    if !out_rest.is_empty() {
        store_rest(load_rest::<V, f32>(row_rest), out_rest);
    }
}

/// See [`gradus_ops::Backend::embedding_backward`]. The gradient is an f32 weight.
pub(crate) fn embedding_backward(
    backend: &CpuBackend,
    d_weight: &mut Weight,
    ids: &Buffer,
    tokens: usize,
    d_out: &Buffer,
) -> Result<()> {
    let cols = d_weight.cols();
    let ids = checked_ids(OP_BACKWARD, ids, tokens, d_weight)?;
    d_weight.check_f32(OP_BACKWARD, "d_weight")?;
    let d_out = d_out.f32(OP_BACKWARD, "d_out", tokens * cols)?;
    let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
    let order = scratch.take::<u64>(tokens)?;
    for (token, (place, id)) in order.iter_mut().zip(ids).enumerate() {
        *place = u64::from(*id) << 32 | token as u64;
    }
    order.sort_unstable();
    let order = &*order;
    let id_of = |place: usize| (order[place] >> 32) as usize;
    let packed = DisjointMut::new(d_weight.packed_mut());
    // A task takes the panels whose first token lies in its range: the ids of a panel share cache lines, and no two tasks share an element.
    run_ranges(&backend.pool, tokens, GRAIN_TOKENS, &|start, end| {
        let mut place = start;
        while place < tokens && place > 0 && id_of(place) / PANEL == id_of(place - 1) / PANEL {
            place += 1;
        }
        while place < end {
            let panel_index = id_of(place) / PANEL;
            // SAFETY: panels are distinct, and each is taken by one task.
            let panel = unsafe { packed.range(panel_index * PANEL * cols, PANEL * cols) };
            while place < tokens && id_of(place) / PANEL == panel_index {
                let id = id_of(place);
                let count = order[place..].iter().take_while(|key| (**key >> 32) as usize == id).count();
                add_rows(backend.level, panel, id % PANEL, cols, &order[place..place + count], d_out);
                place += count;
            }
        }
    });
    Ok(())
}

/// Row `lane` of a panel += the rows of d_out[.., cols] whose tokens are in the low halves of `keys`, one after the other.
///
/// Not itself compiled for a level: gathers and scatters are slower than single loads and stores.
fn add_rows(level: Level, panel: &mut [f32], lane: usize, cols: usize, keys: &[u64], d_out: &[f32]) {
    let d_row = |key: &u64| &d_out[*key as u32 as usize * cols..][..cols];
    if let [key] = keys {
        for (group, d_out) in panel.as_chunks_mut::<PANEL>().0.iter_mut().zip(d_row(key)) {
            group[lane] += d_out;
        }
        return;
    }
    // The row is gathered once for all its tokens.
    let mut row = [0.0; COLUMNS];
    for (piece, panel) in panel.chunks_mut(COLUMNS * PANEL).enumerate() {
        let row = &mut row[..panel.len() / PANEL];
        read_row(panel, lane, row);
        for key in keys {
            add_range(level, row, &d_row(key)[piece * COLUMNS..][..row.len()]);
        }
        set_row(panel, lane, row);
    }
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
