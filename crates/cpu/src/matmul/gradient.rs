//! The gradient of a weight: partial sums over blocks of 64 rows, each from zero, added to the gradient in order.

use super::kernel::{Accumulate, Compute, Kernels, Tile, WIDTH, Words};
use super::pack::{Input, pack_columns, prefetch_columns};
use super::plan::{RowTiles, Task, Tasks, blocks};
use crate::CpuBackend;
use crate::buffer::Weight;
use crate::level::{Level, dispatch};
use crate::pool::{DisjointMut, run_ranges};
use crate::scratch::OnStack;
use gradus_ops::{GRADIENT_BLOCK, Result};
use std::ops::Range;
use std::sync::PoisonError;

/// Packed inputs at once: what the last-level cache holds beside the gradients that stream through it.
const PACKED_WORDS_MAX: usize = 2 << 20;
/// Inputs that one thread packs faster than it wakes another.
const PACKED_WORDS_OF_TASK: usize = 32 * 1024;
/// One block of rows of d_y, for as many panels as a micro-tile of any level spans.
const D_Y_WORDS: usize = GRADIENT_BLOCK * 4 * WIDTH;

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
        let tasks = Tasks::new(tiles, self.outputs.div_ceil(WIDTH), words.steps(self.rows), multiple, pool.threads());
        let block = (PACKED_WORDS_MAX / self.inputs.max(1)).next_multiple_of(GRADIENT_BLOCK).max(GRADIENT_BLOCK);
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
        let mut room = OnStack::<u32, D_Y_WORDS>::new();
        let d_y = room.take_zeros(D_Y_WORDS);
        let stride = pass.words.steps(GRADIENT_BLOCK) * WIDTH;
        let at_once = (pass.panels_at_once)(pass.tasks.tiles.rows(0));
        let mut panel = task.panels.start;
        while panel < task.panels.end {
            let panels = if panel + at_once <= task.panels.end { at_once } else { 1 };
            for rows in blocks(&pass.rows, GRADIENT_BLOCK) {
                for (panel, d_y) in (panel..panel + panels).zip(d_y.chunks_exact_mut(stride)) {
                    let column = panel * WIDTH;
                    pack_columns(level, pass.words, self.d_y, self.outputs, rows.clone(), column, WIDTH, d_y);
                    if let Some(d_bias) = pass.d_bias.filter(|_| task.tiles.start == 0) {
                        // SAFETY: of the tasks of this panel only the one with its first tile comes here.
                        let d_bias = unsafe { d_bias.range(column, WIDTH) };
                        add_column_sums(level, self.d_y, self.outputs, rows.clone(), column, d_bias);
                    }
                }
                self.prefetch_next(pass, panel..panel + panels, &rows);
                for tile in task.tiles.clone() {
                    self.tile(pass, tile, panel..panel + panels, &rows, d_y);
                }
            }
            panel += panels;
        }
    }

    /// Asks for the d_y that comes after `rows` of `panels`.
    fn prefetch_next(&self, pass: &Pass, panels: Range<usize>, rows: &Range<usize>) {
        let (panels, first) = match pass.rows.end {
            end if end == rows.end => (panels.end..panels.end + panels.len(), pass.rows.start),
            _ => (panels, rows.end),
        };
        for panel in panels {
            let rows = first..(first + GRADIENT_BLOCK).min(pass.rows.end);
            prefetch_columns(self.d_y, self.outputs, rows, panel * WIDTH);
        }
    }

    fn tile(&self, pass: &Pass, tile: usize, panels: Range<usize>, rows: &Range<usize>, d_y: &[u32]) {
        let (start, width) = (pass.tasks.tiles.start(tile), pass.tasks.tiles.rows(tile));
        let (first, steps) = (pass.words.steps(rows.start - pass.rows.start), pass.words.steps(rows.len()));
        let out = pass.d_weight.as_mut_ptr().wrapping_add((panels.start * self.inputs + start) * WIDTH);
        let tile = Tile {
            a: pass.packed[start * pass.words.steps(pass.rows.len()) + first * width..][..steps * width].as_ptr(),
            b: d_y.as_ptr(),
            b_panel: pass.words.steps(GRADIENT_BLOCK) * WIDTH,
            steps,
            out,
            out_row: WIDTH,
            out_panel: self.inputs * WIDTH,
            next_out: out.wrapping_add(width * WIDTH),
            accumulate: Accumulate::AddPartial,
            bias: std::ptr::null(),
        };
        // SAFETY: the tile lies inside the packed inputs and the packed d_y; these panels and inputs of the gradient
        // belong to one task alone.
        unsafe { (pass.compute)(width, panels.len(), &tile) };
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
