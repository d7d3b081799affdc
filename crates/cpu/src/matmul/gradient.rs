//! The gradient of a weight: partial sums over blocks of 64 rows, each from zero, added to the gradient in order.

use super::kernel::{Accumulate, Compute, Kernels, Tile, WIDTH, Words};
use super::pack::{Input, pack_columns};
use super::plan::{RowTiles, Task, Tasks, blocks};
use crate::CpuBackend;
use crate::buffer::Weight;
use crate::disjoint::DisjointMut;
use crate::level::{Level, dispatch};
use crate::pool::run_ranges;
use crate::scratch::OnStack;
use gradus_ops::{GRADIENT_BLOCK, Result};
use std::ops::Range;
use std::sync::PoisonError;

/// Packed inputs at once: what the last-level cache holds beside the gradients that stream through it.
const PACKED_WORDS_MAX: usize = 4 << 20;
/// Inputs that one thread packs faster than it wakes another.
const PACKED_WORDS_OF_TASK: usize = 4 * 1024;
/// Rows that go through all tasks together, at most: a task packs its own part of their d_y.
const ROWS_OF_PASS: usize = 512;
const PANELS_OF_TASK: usize = 4;
const D_Y_WORDS: usize = ROWS_OF_PASS * PANELS_OF_TASK * WIDTH;

/// d_weight[outputs, inputs] += d_yᵀ[outputs, rows] · x[rows, inputs], d_bias[outputs] += column sums of d_y.
///
/// In the packed gradient 16 outputs are the columns of a micro-tile and inputs are its rows.
pub(super) struct WeightGradient<'a> {
    pub d_y: &'a [f32],
    /// In bf16 it makes the product one of bf16: d_y is rounded, and neighbouring rows are paired.
    pub x: Input<'a>,
    pub rows: usize,
    pub outputs: usize,
    pub inputs: usize,
}

/// Whole blocks of rows that go through all tasks together.
struct Pass<'a> {
    words: Words,
    compute: Compute,
    panels_at_once: fn(rows: usize) -> usize,
    tasks: Tasks,
    rows: Range<usize>,
    /// `[tile of inputs][step][input]`
    packed: &'a [u32],
    d_weight: &'a DisjointMut<'a, f32>,
    d_bias: Option<&'a DisjointMut<'a, f32>>,
}

impl WeightGradient<'_> {
    /// `d_bias` is padded to whole panels.
    pub(super) fn run(&self, backend: &CpuBackend, d_weight: &mut Weight, d_bias: Option<&mut [f32]>) -> Result<()> {
        let (pool, kernels) = (&backend.pool, Kernels::of(backend.level));
        let words = if matches!(self.x, Input::Bf16(_)) { kernels.bf16_words() } else { Words::F32 };
        let (compute, panels_at_once) = (kernels.compute(words), kernels.panels_at_once);
        let tiles = RowTiles::new(self.inputs, kernels.rows_max);
        let multiple = panels_at_once(tiles.rows(0));
        let panels = self.outputs.div_ceil(WIDTH);
        let tasks = Tasks::new(tiles, panels, words.steps(self.rows), multiple, PANELS_OF_TASK, pool.threads());
        let block = (PACKED_WORDS_MAX / self.inputs.max(1)).clamp(GRADIENT_BLOCK, ROWS_OF_PASS);
        let block = block / GRADIENT_BLOCK * GRADIENT_BLOCK;
        let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let d_weight = DisjointMut::new(d_weight.packed_mut());
        let d_bias = d_bias.map(DisjointMut::new);
        for rows in blocks(&(0..self.rows), block) {
            let packed = self.pack(backend, words, tiles, &rows, scratch.take(words.steps(rows.len()) * self.inputs)?);
            let d_bias = d_bias.as_ref();
            let pass = Pass { words, compute, panels_at_once, tasks, rows, packed, d_weight: &d_weight, d_bias };
            pool.run(tasks.count(), &|index| self.compute(backend.level, &pass, &tasks.task(index)));
        }
        Ok(())
    }

    fn pack<'p>(
        &self,
        backend: &CpuBackend,
        words: Words,
        tiles: RowTiles,
        rows: &Range<usize>,
        packed: &'p mut [u32],
    ) -> &'p [u32] {
        let steps = words.steps(rows.len());
        let parts = DisjointMut::new(packed);
        let tiles_of_task = (PACKED_WORDS_OF_TASK / (steps * tiles.rows(0)).max(1)).max(1);
        run_ranges(&backend.pool, tiles.count, tiles_of_task, &|from, to| {
            for tile in from..to {
                let (start, width) = (tiles.start(tile), tiles.rows(tile));
                // SAFETY: tiles are disjoint inputs, so their packed parts are disjoint.
                let part = unsafe { parts.range(start * steps, width * steps) };
                let (level, rows) = (backend.level, rows.clone());
                match self.x {
                    Input::F32(x) => pack_columns(level, words, x, self.inputs, rows, start, width, part),
                    Input::Bf16(x) => pack_columns(level, words, x, self.inputs, rows, start, width, part),
                }
            }
        });
        packed
    }

    fn compute(&self, level: Level, pass: &Pass, task: &Task) {
        let steps = pass.words.steps(pass.rows.len());
        let mut room = OnStack::<u32, D_Y_WORDS>::new();
        let d_y = room.take_zeros(task.panels.len() * steps * WIDTH);
        for (panel, d_y) in task.panels.clone().zip(d_y.chunks_exact_mut((steps * WIDTH).max(1))) {
            let column = panel * WIDTH;
            pack_columns(level, pass.words, self.d_y, self.outputs, pass.rows.clone(), column, WIDTH, d_y);
            if let Some(d_bias) = pass.d_bias.filter(|_| task.tiles.start == 0) {
                // SAFETY: of the tasks of this panel only the one with its first tile comes here.
                let d_bias = unsafe { d_bias.range(column, WIDTH) };
                for rows in blocks(&pass.rows, GRADIENT_BLOCK) {
                    add_column_sums(level, self.d_y, self.outputs, rows, column, d_bias);
                }
            }
        }
        for tile in task.tiles.clone() {
            self.tile(pass, task, tile, d_y);
        }
    }

    /// Adds all rows of the pass to one tile of all panels of a task.
    fn tile(&self, pass: &Pass, task: &Task, tile: usize, d_y: &[u32]) {
        let steps = pass.words.steps(pass.rows.len());
        let (start, width) = (pass.tasks.tiles.start(tile), pass.tasks.tiles.rows(tile));
        let at_once = (pass.panels_at_once)(width);
        let mut panel = 0;
        while panel < task.panels.len() {
            let panels = if panel + at_once <= task.panels.len() { at_once } else { 1 };
            let out = |panel: usize, input: usize| {
                let offset = ((task.panels.start + panel) * self.inputs + input) * WIDTH;
                pass.d_weight.as_mut_ptr().wrapping_add(offset)
            };
            let last = panel + panels == task.panels.len();
            let tile = Tile {
                a: pass.packed[start * steps..][..steps * width].as_ptr(),
                b: d_y[panel * steps * WIDTH..].as_ptr(),
                b_panel: steps * WIDTH,
                steps,
                block: pass.words.steps(GRADIENT_BLOCK),
                out: out(panel, start),
                out_row: WIDTH,
                out_panel: self.inputs * WIDTH,
                next_out: if last { out(0, start + width) } else { out(panel + panels, start) },
                accumulate: Accumulate::AddPartials,
                bias: std::ptr::null(),
            };
            // SAFETY: the tile lies inside the packed inputs and the packed d_y; these panels and inputs of the
            // gradient belong to one task alone.
            unsafe { (pass.compute)(width, panels, &tile) };
            panel += panels;
        }
    }
}

dispatch! {
    /// sums[lane] += Σ over the rows of column `column` + lane, in order of rows, f32 as it is.
    fn add_column_sums(
        d_y: &[f32], columns: usize, rows: Range<usize>, column: usize, sums: &mut [f32],
    ) = add_column_sums_body;
}

#[inline(always)]
fn add_column_sums_body(d_y: &[f32], columns: usize, rows: Range<usize>, column: usize, sums: &mut [f32]) {
    let mut partial = [0.0; WIDTH];
    let there = WIDTH.min(columns - column);
    for row in rows {
        let values = &d_y[row * columns + column..][..there];
        for (partial, value) in partial.iter_mut().zip(values) {
            *partial += value;
        }
    }
    for (sum, partial) in sums.iter_mut().zip(partial) {
        *sum += partial;
    }
}
