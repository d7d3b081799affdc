//! The product of f32 inputs with a q8_0 weight, for inference: inputs are quantised once, then every output is one chain
//! over the blocks of k.
//!
//! Integer dot products are exact, so levels differ only in the instructions that make them; the order of blocks and the
//! two roundings of each (product of scales, fused multiply-add) are the same everywhere.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod block;
mod kernel;
mod plan;
mod portable;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub(crate) use block::{BLOCK, WeightBlock, read_row, set_row};

use crate::CpuBackend;
use crate::buffer::PANEL;
use crate::disjoint::DisjointMut;
use crate::pool::run_ranges;
use block::{InputBlock, quantise_rows};
use gradus_ops::Result;
use kernel::{Kernels, Tile};
use plan::{Plan, Task};
use std::sync::PoisonError;

/// Inputs that one thread quantises faster than it wakes another.
const INPUTS_OF_TASK: usize = 8 * 1024;

/// out[rows, columns] = input[rows, steps] · weightᵀ (+ bias).
pub(super) struct Product<'a> {
    pub input: &'a [f32],
    pub rows: usize,
    pub steps: usize,
    pub columns: usize,
    /// `[ceil(columns / 16)][ceil(steps / 32)]`
    pub weight: &'a [WeightBlock],
    /// One value a column, padded to whole panels.
    pub bias: Option<&'a [f32]>,
}

impl Product<'_> {
    pub(super) fn run(&self, backend: &CpuBackend, out: &mut [f32]) -> Result<()> {
        let kernels = Kernels::of(backend.level);
        let plan = Plan::new(kernels, self.rows, self.steps, self.columns, backend.pool.threads());
        let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let inputs: &mut [InputBlock] = scratch.take(self.rows * plan.blocks)?;
        self.quantise(backend, &plan, inputs);
        let inputs = &*inputs;
        let out = DisjointMut::new(out);
        backend
            .pool
            .run(plan.count(), &|index| self.compute(kernels, &plan, &plan.task(index), inputs, out.as_mut_ptr()));
        Ok(())
    }

    /// inputs[tile][block][row]
    fn quantise(&self, backend: &CpuBackend, plan: &Plan, inputs: &mut [InputBlock]) {
        let parts = DisjointMut::new(inputs);
        // A tile of long rows is quantised by several threads, which take some of its blocks each.
        let tile_inputs = (plan.tiles.rows(0) * self.steps).max(1);
        let blocks_of_cut = plan.blocks.div_ceil(tile_inputs.div_ceil(INPUTS_OF_TASK)).max(1);
        let cuts = plan.blocks.div_ceil(blocks_of_cut);
        run_ranges(&backend.pool, plan.tiles.count * cuts, INPUTS_OF_TASK.div_ceil(tile_inputs), &|from, to| {
            for index in from..to {
                let (tile, block) = (index / cuts, index % cuts * blocks_of_cut);
                let (start, rows) = (plan.tiles.start(tile), plan.tiles.rows(tile));
                let cols = block * BLOCK..((block + blocks_of_cut) * BLOCK).min(self.steps);
                let len = rows * cols.len().div_ceil(BLOCK);
                // SAFETY: tiles are disjoint rows and cuts disjoint blocks of them.
                let part = unsafe { parts.range(start * plan.blocks + block * rows, len) };
                let src = &self.input[start * self.steps + cols.start..];
                quantise_rows(backend.level, src, self.steps, cols.len(), rows, part);
            }
        });
    }

    /// One task: each group of panels meets all rows while it is in the caches.
    fn compute(&self, kernels: Kernels, plan: &Plan, task: &Task, inputs: &[InputBlock], out: *mut f32) {
        let blocks = plan.blocks;
        let weights = |from: usize, to: usize| &self.weight[from * blocks..to * blocks];
        for panel in task.panels.clone().step_by(plan.panels_at_once) {
            let end = (panel + plan.panels_at_once).min(task.panels.end);
            let column = panel * PANEL;
            for index in task.tiles.clone() {
                let (start, rows) = (plan.tiles.start(index), plan.tiles.rows(index));
                let tile = Tile {
                    inputs: &inputs[start * blocks..][..rows * blocks],
                    weights: weights(panel, end),
                    blocks,
                    out: out.wrapping_add(start * self.columns + column),
                    out_row: self.columns,
                    columns: self.columns - column,
                    bias: self.bias.map(|bias| &bias[column..]),
                    ahead: plan.ahead(task, index, weights(panel, task.panels.end)),
                };
                // SAFETY: the output's rows and columns are this task's own; the kernels are the ones of the backend's level.
                unsafe { (kernels.tile)(rows, end - panel, &tile) };
            }
        }
    }
}
