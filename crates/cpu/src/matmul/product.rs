//! The product of row-major inputs with a weight's panels, each output one chain over the reduction: the forward pass,
//! and with transposed panels the gradient of the input.

use super::kernel::{Accumulate, Kernels, ROWS_MAX, Tile, WIDTH, panels_at_once};
use super::pack::{StepPanel, interleave_rows, transpose_square};
use super::plan::{PANELS_OF_TASK, ROWS_IN_CACHE, RowTiles, STEPS, Task, Tasks};
use crate::CpuBackend;
use crate::buffer::Weight;
use crate::level::Level;
use crate::pool::{DisjointMut, Pool, run_ranges};
use crate::scratch::Scratch;
use gradus_ops::Result;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::PoisonError;

/// Inputs of fewer rows are read where they lie: packing them would cost more than it saves.
const ROWS_WORTH_PACKING: usize = 16;
/// Packed inputs at once: what the last-level cache holds beside the weights that stream through it.
const PACKED_ELEMENTS_MAX: usize = 2 << 20;

/// The 16-column panels that the inputs are multiplied with.
#[derive(Clone, Copy)]
pub(super) enum Panels<'a> {
    /// Rows of the weight are the outputs: panels as they are stored.
    Stored(&'a Weight),
    /// Columns of the weight are the outputs: panels are transposed inside each task, a few steps at a time.
    Transposed(&'a Weight),
}

/// out[rows, columns] = input[rows, steps] · panels (+ bias).
pub(super) struct Product<'a> {
    pub input: &'a [f32],
    pub rows: usize,
    pub steps: usize,
    pub columns: usize,
    pub panels: Panels<'a>,
    /// One value a column, padded to whole panels.
    pub bias: Option<&'a [f32]>,
}

/// One block of the reduction, as the tasks see it.
struct Pass<'a> {
    kernels: Kernels,
    tasks: Tasks,
    /// Steps of the whole reduction that this pass adds.
    steps: Range<usize>,
    /// Inputs of those steps as `[tile][step][row]`, where they were worth packing.
    packed: Option<&'a [f32]>,
    out: &'a DisjointMut<'a, f32>,
}

impl Product<'_> {
    pub(super) fn run(&self, backend: &CpuBackend, out: &mut [f32]) -> Result<()> {
        let (level, kernels) = (backend.level, Kernels::of(backend.level));
        let tiles = RowTiles::new(self.rows, kernels.rows_max);
        let panels = self.columns.div_ceil(WIDTH);
        let multiple = panels_at_once(tiles.rows(0));
        let tasks = Tasks::new(tiles, panels, self.steps, multiple, backend.pool.threads());
        let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let pack = self.rows >= ROWS_WORTH_PACKING;
        let block = if pack { (PACKED_ELEMENTS_MAX / self.rows).next_multiple_of(STEPS) } else { self.steps };
        let out = DisjointMut::new(out);
        for steps in blocks(&(0..self.steps), block) {
            let packed = if pack { Some(self.pack(level, &backend.pool, tiles, &steps, &mut scratch)?) } else { None };
            let pass = Pass { kernels, tasks, steps, packed, out: &out };
            backend.pool.run(tasks.count(), &|index| self.compute(&pass, &tasks.task(index)));
        }
        Ok(())
    }

    fn pack<'s>(
        &self,
        level: Level,
        pool: &Pool,
        tiles: RowTiles,
        steps: &Range<usize>,
        scratch: &'s mut Scratch,
    ) -> Result<&'s [f32]> {
        let packed = scratch.take(self.rows * steps.len())?;
        let parts = DisjointMut::new(packed);
        let tiles_of_task = (32 * 1024 / (steps.len() * tiles.rows(0)).max(1)).max(1);
        run_ranges(pool, tiles.count, tiles_of_task, &|from, to| {
            for tile in from..to {
                let (start, rows) = (tiles.start(tile), tiles.rows(tile));
                // SAFETY: tiles are disjoint rows, so their packed parts are disjoint.
                let part = unsafe { parts.range(start * steps.len(), rows * steps.len()) };
                interleave_rows(level, &self.input[start * self.steps + steps.start..], self.steps, rows, part);
            }
        });
        Ok(packed)
    }

    /// One task: all steps of the pass, a block of them at a time, so that panels and inputs are met again in the caches.
    fn compute(&self, pass: &Pass, task: &Task) {
        match self.panels {
            Panels::Stored(weight) => {
                // The few rows of one tile stay in the cache anyway, and a panel is then read in one go.
                let whole = pass.packed.is_none() && pass.tasks.tiles.count == 1;
                let block = if whole { pass.steps.len() } else { STEPS };
                for steps in blocks(&pass.steps, block) {
                    let first = weight.packed()[weight.index(task.panels.start * WIDTH, steps.start)..].as_ptr();
                    self.block(pass, &steps, task, PanelBlock { first, stride: weight.cols() * WIDTH });
                }
            }
            Panels::Transposed(weight) => {
                // On the stack, so that no task allocates; only the panels that the task has are ever touched.
                #[allow(clippy::large_stack_arrays)]
                let mut panels = [const { MaybeUninit::<Transposed>::uninit() }; PANELS_OF_TASK];
                for slot in &mut panels[..task.panels.len()] {
                    slot.write(Transposed([0.0; STEPS * WIDTH]));
                }
                for steps in blocks(&pass.steps, STEPS) {
                    // Row by row over all panels, because those lie side by side in memory.
                    for row in steps.clone().step_by(WIDTH) {
                        for (panel, slot) in task.panels.clone().zip(&mut panels) {
                            // SAFETY: as many slots as the task has panels were written above.
                            let transposed = unsafe { slot.assume_init_mut() };
                            let square = &mut transposed.0.as_chunks_mut().0[(row - steps.start) / WIDTH];
                            transpose_square(&pass.kernels, weight, row, panel, square);
                        }
                    }
                    let first = panels.as_ptr().cast();
                    self.block(pass, &steps, task, PanelBlock { first, stride: STEPS * WIDTH });
                }
            }
        }
    }

    /// One block of steps of one task.
    fn block(&self, pass: &Pass, steps: &Range<usize>, task: &Task, block: PanelBlock) {
        let tiles_in_cache = ROWS_IN_CACHE.div_ceil(pass.kernels.rows_max);
        let full = task.panels.end.min(self.columns / WIDTH);
        for from in task.tiles.clone().step_by(tiles_in_cache) {
            let tiles = from..(from + tiles_in_cache).min(task.tiles.end);
            let at_once = panels_at_once(pass.tasks.tiles.rows(from));
            let mut panel = task.panels.start;
            while panel < task.panels.end {
                let panels = if panel + at_once <= full { at_once } else { 1 };
                for index in tiles.clone() {
                    let rows = pass.tasks.tiles.rows(index);
                    let tile = self.tile(pass, steps, index, panel, block.panel(panel - task.panels.start));
                    if panel < full {
                        // SAFETY: the tile lies inside the input, the panels and this task's own part of the output.
                        unsafe { (pass.kernels.tile)(rows, panels, &tile) };
                    } else {
                        self.last_panel(pass, rows, &tile);
                    }
                }
                panel += panels;
            }
        }
    }

    fn tile(&self, pass: &Pass, steps: &Range<usize>, index: usize, panel: usize, b: (*const f32, usize)) -> Tile {
        let (start, rows) = (pass.tasks.tiles.start(index), pass.tasks.tiles.rows(index));
        let (a, a_row, a_step) = match pass.packed {
            Some(packed) => {
                let offset = start * pass.steps.len() + (steps.start - pass.steps.start) * rows;
                (packed[offset..].as_ptr(), 1, rows)
            }
            None => (self.input[start * self.steps + steps.start..].as_ptr(), self.steps, 1),
        };
        let bias = self.bias.filter(|_| steps.end == self.steps);
        let out = |tile: usize| {
            pass.out.as_mut_ptr().wrapping_add(pass.tasks.tiles.start(tile) * self.columns + panel * WIDTH)
        };
        Tile {
            a,
            a_row,
            a_step,
            b: b.0,
            b_panel: b.1,
            steps: steps.len(),
            out: out(index),
            next_out: out(index + 1),
            out_row: self.columns,
            accumulate: if steps.start == 0 { Accumulate::Begin } else { Accumulate::Continue },
            bias: bias.map_or(std::ptr::null(), |bias| bias[panel * WIDTH..].as_ptr()),
        }
    }

    /// The last panel of an output whose width is no multiple of 16: computed whole beside it, then copied as far as it
    /// goes.
    fn last_panel(&self, pass: &Pass, rows: usize, tile: &Tile) {
        let columns = self.columns % WIDTH;
        let mut whole = [[0.0_f32; WIDTH]; ROWS_MAX];
        for (row, values) in whole.iter_mut().enumerate().take(rows) {
            // SAFETY: the columns of this row that exist; they belong to this task alone.
            let out = unsafe { std::slice::from_raw_parts_mut(tile.out.wrapping_add(row * tile.out_row), columns) };
            values[..columns].copy_from_slice(out);
        }
        let beside = Tile { out: whole.as_mut_ptr().cast(), out_row: WIDTH, ..*tile };
        // SAFETY: input and panel as for any other tile (panels are padded); the output is the array above.
        unsafe { (pass.kernels.tile)(rows, 1, &beside) };
        for (row, values) in whole.iter().enumerate().take(rows) {
            // SAFETY: as above.
            let out = unsafe { std::slice::from_raw_parts_mut(tile.out.wrapping_add(row * tile.out_row), columns) };
            out.copy_from_slice(&values[..columns]);
        }
    }
}

/// A task's panels for one block of steps.
#[derive(Clone, Copy)]
struct PanelBlock {
    first: *const f32,
    stride: usize,
}

impl PanelBlock {
    /// Address of a panel, counted from the task's first, and the distance to the next one.
    fn panel(self, index: usize) -> (*const f32, usize) {
        (self.first.wrapping_add(index * self.stride), self.stride)
    }
}

#[repr(align(64))]
struct Transposed(StepPanel);

/// `range` in blocks of `size`; one empty block where it is empty.
fn blocks(range: &Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let (start, end, size) = (range.start, range.end, size.max(1));
    (start..end.max(start + 1)).step_by(size).map(move |from| from..(from + size).min(end))
}
