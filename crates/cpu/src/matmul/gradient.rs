//! The gradient of a weight: partial sums over blocks of 64 rows, each from zero, added to the gradient in order.

use super::kernel::{Accumulate, Kernels, Tile, WIDTH};
use super::pack::{copy_columns, group_columns};
use super::plan::{RowTiles, Task, Tasks};
use crate::CpuBackend;
use crate::buffer::Weight;
use crate::pool::{DisjointMut, run_ranges};
use gradus_ops::{GRADIENT_BLOCK, Result};
use std::sync::PoisonError;

/// Packed inputs at once: what the last-level cache holds beside the gradients that stream through it.
const PACKED_ELEMENTS_MAX: usize = 1 << 20;

/// d_weight[outputs, inputs] += d_yᵀ[outputs, rows] · x[rows, inputs], d_bias[outputs] += column sums of d_y.
///
/// In the packed gradient 16 outputs are the columns of a micro-tile and inputs are its rows.
pub(super) struct WeightGradient<'a> {
    pub d_y: &'a [f32],
    pub x: &'a [f32],
    pub rows: usize,
    pub outputs: usize,
    pub inputs: usize,
}

/// Whole blocks of rows that go through all tasks together.
struct Pass<'a> {
    kernels: Kernels,
    tasks: Tasks,
    rows: std::ops::Range<usize>,
    /// `[tile of inputs][row][input]`
    packed: &'a [f32],
    d_weight: &'a DisjointMut<'a, f32>,
    d_bias: Option<&'a DisjointMut<'a, f32>>,
}

impl WeightGradient<'_> {
    /// `d_bias` is padded to whole panels.
    pub(super) fn run(&self, backend: &CpuBackend, d_weight: &mut Weight, d_bias: Option<&mut [f32]>) -> Result<()> {
        let (level, pool, kernels) = (backend.level, &backend.pool, Kernels::of(backend.level));
        let tiles = RowTiles::new(self.inputs, kernels.rows_max);
        let tasks = Tasks::new(tiles, self.outputs.div_ceil(WIDTH), self.rows, 1, pool.threads());
        let block = (PACKED_ELEMENTS_MAX / self.inputs.max(1)).next_multiple_of(GRADIENT_BLOCK).max(GRADIENT_BLOCK);
        let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let d_weight = DisjointMut::new(d_weight.packed_mut());
        let d_bias = d_bias.map(DisjointMut::new);
        for first in (0..self.rows).step_by(block) {
            let rows = first..(first + block).min(self.rows);
            let packed = scratch.take(rows.len() * self.inputs)?;
            let parts = DisjointMut::new(packed);
            run_ranges(pool, tiles.count, (32 * 1024 / (rows.len() * kernels.rows_max)).max(1), &|from, to| {
                for tile in from..to {
                    let (start, width) = (tiles.start(tile), tiles.rows(tile));
                    // SAFETY: tiles are disjoint inputs, so their packed parts are disjoint.
                    let part = unsafe { parts.range(start * rows.len(), width * rows.len()) };
                    group_columns(level, &self.x[rows.start * self.inputs..], self.inputs, start, width, part);
                }
            });
            let pass = Pass { kernels, tasks, rows, packed, d_weight: &d_weight, d_bias: d_bias.as_ref() };
            pool.run(tasks.count(), &|index| self.compute(backend, &pass, &tasks.task(index)));
        }
        Ok(())
    }

    fn compute(&self, backend: &CpuBackend, pass: &Pass, task: &Task) {
        let mut d_y = Columns([[0.0; WIDTH]; GRADIENT_BLOCK]);
        for panel in task.panels.clone() {
            for first in pass.rows.clone().step_by(GRADIENT_BLOCK) {
                let rows = first..(first + GRADIENT_BLOCK).min(pass.rows.end);
                let steps = rows.len();
                copy_columns(backend.level, self.d_y, self.outputs, rows, panel * WIDTH, &mut d_y.0[..steps]);
                for tile in task.tiles.clone() {
                    self.tile(pass, tile, panel, first - pass.rows.start, &d_y.0[..steps]);
                }
                if let Some(d_bias) = pass.d_bias.filter(|_| task.tiles.start == 0) {
                    // SAFETY: of the tasks of this panel only the one with its first tile comes here.
                    let d_bias = unsafe { d_bias.range(panel * WIDTH, WIDTH) };
                    add_column_sums(d_bias, &d_y.0[..steps]);
                }
            }
        }
    }

    fn tile(&self, pass: &Pass, tile: usize, panel: usize, row: usize, d_y: &[[f32; WIDTH]]) {
        let (start, width) = (pass.tasks.tiles.start(tile), pass.tasks.tiles.rows(tile));
        let offset = (panel * self.inputs + start) * WIDTH;
        // SAFETY: this panel and these inputs belong to one task alone.
        let out = unsafe { pass.d_weight.range(offset, width * WIDTH) };
        let tile = Tile {
            a: pass.packed[start * pass.rows.len() + row * width..][..d_y.len() * width].as_ptr(),
            a_row: 1,
            a_step: width,
            b: d_y.as_ptr().cast(),
            b_panel: 0,
            steps: d_y.len(),
            out: out.as_mut_ptr(),
            out_row: WIDTH,
            next_out: out.as_ptr_range().end,
            accumulate: Accumulate::AddPartial,
            bias: std::ptr::null(),
        };
        // SAFETY: inputs, columns and output are the slices above, each as long as the tile reads or writes.
        unsafe { (pass.kernels.tile)(width, 1, &tile) };
    }
}

/// The columns of one block of rows, 16 wide.
#[repr(align(64))]
struct Columns([[f32; WIDTH]; GRADIENT_BLOCK]);

fn add_column_sums(sums: &mut [f32], rows: &[[f32; WIDTH]]) {
    let mut partial = [0.0; WIDTH];
    for row in rows {
        for (partial, value) in partial.iter_mut().zip(row) {
            *partial += value;
        }
    }
    for (sum, partial) in sums.iter_mut().zip(partial) {
        *sum += partial;
    }
}
