//! The product of row-major inputs with a weight's panels, each output one chain over the reduction: the forward pass,
//! and with transposed panels the gradient of the input.

use super::kernel::{Accumulate, Kernels, ROWS_MAX, Tile, WIDTH, Words};
use super::pack::{Input, Interleave};
use super::panels::{Maker, PanelBlock, Panels};
use super::plan::{
    PANELS_OF_STREAM, PANELS_OF_TASK, ROWS_IN_CACHE, RowTiles, STEPS, STEPS_IN_PLACE, STEPS_USED_ONCE, Task, Tasks,
    blocks, even_block,
};
use crate::CpuBackend;
use crate::bfloat16::from_f32;
use crate::level::{Level, dispatch};
use crate::pool::{DisjointMut, run_ranges};
use crate::scratch::{OnStack, Scratch};
use gradus_ops::Result;
use half::bf16;
use std::ops::Range;
use std::sync::PoisonError;

/// Packed inputs at once: what the last-level cache holds beside the weights that stream through it.
const PACKED_WORDS_MAX: usize = 2 << 20;
/// Inputs that one thread packs faster than it wakes another.
const PACKED_WORDS_OF_TASK: usize = 4 * 1024;
/// Panels that a task makes for itself at once.
const MADE_WORDS: usize = PANELS_OF_TASK * STEPS * WIDTH;
/// Sums of one group of row tiles that are finished beside the output.
const SUMS: usize = (ROWS_IN_CACHE + ROWS_MAX) * PANELS_OF_TASK * WIDTH;

/// Row-major outputs of a product, in either dtype of activations.
pub(super) enum Output<'a> {
    F32(DisjointMut<'a, f32>),
    Bf16(DisjointMut<'a, bf16>),
}

/// out[rows, columns] = input[rows, depth] · panels (+ bias).
pub(super) struct Product<'a> {
    pub input: Input<'a>,
    pub rows: usize,
    /// Elements of the reduction.
    pub depth: usize,
    pub columns: usize,
    pub panels: Panels<'a>,
    /// One value a column, padded to whole panels.
    pub bias: Option<&'a [f32]>,
    pub out: Output<'a>,
}

/// Some rows and one block of the reduction, as the tasks see them.
struct Pass<'a> {
    kernels: Kernels,
    words: Words,
    tasks: Tasks,
    /// The first of the rows.
    first: usize,
    /// Steps of the whole reduction that this pass adds.
    steps: Range<usize>,
    /// Inputs of those steps as `[tile][step][row]`.
    packed: &'a [u32],
}

/// Where a task's sums go: the output itself, or an array beside it that holds one group of tiles.
#[derive(Clone, Copy)]
struct Sums {
    /// The sum of the task's first panel and of the rows' first one.
    first: *mut f32,
    row: usize,
}

impl Product<'_> {
    pub(super) fn run(&self, backend: &CpuBackend) -> Result<()> {
        let kernels = Kernels::of(backend.level);
        let words = self.panels.words(&kernels);
        let steps = words.steps(self.depth);
        let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        // f32 sums wait in the output for the next block of steps. bf16 outputs cannot hold them, so rows are cut instead.
        let (rows_at_once, steps_at_once) = match self.out {
            Output::F32(_) => (self.rows, (PACKED_WORDS_MAX / self.rows.max(1)).max(1).next_multiple_of(STEPS)),
            Output::Bf16(_) => ((PACKED_WORDS_MAX / steps.max(1)).max(ROWS_IN_CACHE), steps),
        };
        for first in (0..self.rows).step_by(rows_at_once.max(1)) {
            let rows = rows_at_once.min(self.rows - first);
            let tiles = RowTiles::new(rows, kernels.rows_max);
            let tasks = self.tasks(&kernels, words, tiles, steps, backend.pool.threads());
            for steps in blocks(&(0..steps), steps_at_once) {
                let packed = self.pack(backend, &kernels, words, first, tiles, &steps, &mut scratch)?;
                let pass = Pass { kernels, words, tasks, first, steps, packed };
                backend.pool.run(tasks.count(), &|index| self.compute(backend.level, &pass, &tasks.task(index)));
            }
        }
        Ok(())
    }

    fn tasks(&self, kernels: &Kernels, words: Words, tiles: RowTiles, steps: usize, threads: usize) -> Tasks {
        let panels = self.columns.div_ceil(WIDTH);
        let (at_once, most) = if self.streams(words, tiles) {
            (1, PANELS_OF_STREAM)
        } else {
            ((kernels.panels_at_once)(tiles.rows(0)), PANELS_OF_TASK)
        };
        Tasks::new(tiles, panels, steps, at_once, most, threads)
    }

    /// Whether each panel is read once, by the few rows of one tile: as fast as memory gives it, which is fastest line after line.
    fn streams(&self, words: Words, tiles: RowTiles) -> bool {
        tiles.count == 1 && self.panels.in_place(words, 0, 0).is_some()
    }

    #[allow(clippy::too_many_arguments)]
    fn pack<'s>(
        &self,
        backend: &CpuBackend,
        kernels: &Kernels,
        words: Words,
        first: usize,
        tiles: RowTiles,
        steps: &Range<usize>,
        scratch: &'s mut Scratch,
    ) -> Result<&'s [u32]> {
        let packed = scratch.take::<u32>(tiles.start(tiles.count) * steps.len())?;
        let parts = DisjointMut::new(packed);
        let tiles_of_task = (PACKED_WORDS_OF_TASK / (steps.len() * tiles.rows(0)).max(1)).max(1);
        run_ranges(&backend.pool, tiles.count, tiles_of_task, &|from, to| {
            for tile in from..to {
                let (start, rows) = (tiles.start(tile), tiles.rows(tile));
                // SAFETY: tiles are disjoint rows, so their packed parts are disjoint.
                let part = unsafe { parts.range(start * steps.len(), rows * steps.len()) };
                let part_of =
                    Interleave { words, columns: self.depth, first: first + start, rows, steps: steps.clone() };
                part_of.pack(kernels, backend.level, self.input, part);
            }
        });
        Ok(packed)
    }

    /// One task: all steps of the pass, a block of them at a time, so that panels and inputs are met again in the caches.
    fn compute(&self, level: Level, pass: &Pass, task: &Task) {
        let panels = task.panels.len();
        let (steps_at_once, made) = self.steps_at_once(pass, panels);
        let mut room = OnStack::<u32, MADE_WORDS>::new();
        let made = room.take_zeros(made);
        let maker = Maker { kernels: &pass.kernels, level, words: pass.words };
        let mut panels_of =
            |steps: &Range<usize>| match self.panels.in_place(pass.words, task.panels.start, steps.start) {
                Some(block) => block,
                None => self.panels.make(maker, steps, task.panels.clone(), made, steps_at_once * WIDTH),
            };
        if let Output::F32(out) = &self.out
            && task.panels.end * WIDTH <= self.columns
        {
            let first = out.as_mut_ptr().wrapping_add(pass.first * self.columns + task.panels.start * WIDTH);
            for steps in blocks(&pass.steps, steps_at_once) {
                let block = panels_of(&steps);
                for tiles in groups(pass, task) {
                    self.block(pass, &steps, task, tiles, block, Sums { first, row: self.columns });
                }
            }
            return;
        }
        let mut room = OnStack::<f32, SUMS>::new();
        for tiles in groups(pass, task) {
            let (from, to) = (pass.tasks.tiles.start(tiles.start), pass.tasks.tiles.start(tiles.end));
            let width = panels * WIDTH;
            let sums = room.take_zeros((to - from) * width);
            let rows = pass.first + from..pass.first + to;
            if pass.steps.start > 0 {
                self.load(task, rows.clone(), sums);
            }
            let first = sums.as_mut_ptr().wrapping_sub(from * width);
            for steps in blocks(&pass.steps, steps_at_once) {
                let block = panels_of(&steps);
                self.block(pass, &steps, task, tiles.clone(), block, Sums { first, row: width });
            }
            self.store(level, task, rows, sums);
        }
    }

    /// Steps of one block, and the words that its panels take if they have to be made.
    fn steps_at_once(&self, pass: &Pass, panels: usize) -> (usize, usize) {
        let whole = pass.tasks.tiles.count == 1;
        if self.panels.in_place(pass.words, 0, 0).is_none() {
            // For few rows panels are used once and should not leave the first-level cache.
            let largest = if whole { STEPS_USED_ONCE } else { STEPS };
            let steps = even_block(pass.steps.len(), largest);
            return (steps, steps * panels * WIDTH);
        }
        // The few rows of one tile stay in the cache anyway, and a panel is then read in one go.
        (if whole { pass.steps.len() } else { even_block(pass.steps.len(), STEPS_IN_PLACE) }, 0)
    }

    /// One block of steps of one group of tiles.
    fn block(
        &self,
        pass: &Pass,
        steps: &Range<usize>,
        task: &Task,
        tiles: Range<usize>,
        block: PanelBlock,
        sums: Sums,
    ) {
        let compute = pass.kernels.compute(pass.words);
        let rows = pass.tasks.tiles.rows(tiles.start);
        let at_once = if self.streams(pass.words, pass.tasks.tiles) { 1 } else { (pass.kernels.panels_at_once)(rows) };
        let whole = pass.words.steps(self.depth);
        let bias = self.bias.filter(|_| steps.end == whole);
        let accumulate = if steps.start == 0 { Accumulate::Begin } else { Accumulate::Continue };
        let mut panel = 0;
        while panel < task.panels.len() {
            let panels = if panel + at_once <= task.panels.len() { at_once } else { 1 };
            for index in tiles.clone() {
                let (start, rows) = (pass.tasks.tiles.start(index), pass.tasks.tiles.rows(index));
                let offset = start * pass.steps.len() + (steps.start - pass.steps.start) * rows;
                let out = |row: usize| sums.first.wrapping_add(row * sums.row + panel * WIDTH);
                let tile = Tile {
                    a: pass.packed[offset..].as_ptr(),
                    b: block.panel(panel),
                    b_panel: block.stride,
                    steps: steps.len(),
                    block: steps.len(),
                    out: out(start),
                    out_row: sums.row,
                    out_panel: WIDTH,
                    next_out: out(start + rows),
                    accumulate,
                    bias: bias.map_or(std::ptr::null(), |bias| bias[(task.panels.start + panel) * WIDTH..].as_ptr()),
                };
                // SAFETY: the tile lies inside the packed inputs, the panels and this task's own sums.
                unsafe { compute(rows, panels, &tile) };
            }
            panel += panels;
        }
    }

    /// Sums that an earlier pass left in the output.
    fn load(&self, task: &Task, rows: Range<usize>, sums: &mut [f32]) {
        let Output::F32(out) = &self.out else { return };
        let columns = self.columns_of(task);
        for (row, sums) in rows.zip(sums.chunks_exact_mut(task.panels.len() * WIDTH)) {
            // SAFETY: these rows and columns belong to this task alone.
            let out = unsafe { out.range(row * self.columns + columns.start, columns.len()) };
            sums[..columns.len()].copy_from_slice(out);
        }
    }

    fn store(&self, level: Level, task: &Task, rows: Range<usize>, sums: &[f32]) {
        let columns = self.columns_of(task);
        for (row, sums) in rows.zip(sums.chunks_exact(task.panels.len() * WIDTH)) {
            let start = row * self.columns + columns.start;
            match &self.out {
                // SAFETY: these rows and columns belong to this task alone.
                Output::F32(out) => unsafe { out.range(start, columns.len()) }.copy_from_slice(&sums[..columns.len()]),
                // SAFETY: as above.
                Output::Bf16(out) => round(level, sums, unsafe { out.range(start, columns.len()) }),
            }
        }
    }

    /// The task's columns that exist.
    fn columns_of(&self, task: &Task) -> Range<usize> {
        task.panels.start * WIDTH..(task.panels.end * WIDTH).min(self.columns)
    }
}

/// The task's tiles in groups whose inputs of one block of steps stay in a second-level cache.
fn groups(pass: &Pass, task: &Task) -> impl Iterator<Item = Range<usize>> + use<> {
    blocks(&task.tiles, ROWS_IN_CACHE.div_ceil(pass.kernels.rows_max))
}

dispatch! {
    fn round(sums: &[f32], out: &mut [bf16]) = round_body;
}

#[inline(always)]
fn round_body(sums: &[f32], out: &mut [bf16]) {
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = from_f32(*sum);
    }
}
