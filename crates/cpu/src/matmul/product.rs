//! The product of row-major inputs with a weight's panels, each output one chain over the reduction: the forward pass,
//! and with transposed panels the gradient of the input.

use super::kernel::{Accumulate, Kernels, ROWS_MAX, Tile, WIDTH, Words};
use super::pack::{Input, Interleave};
use super::panels::{Maker, PanelBlock, Panels};
use super::plan::{
    PANELS_IN_PLACE, PANELS_MADE, PANELS_OF_STREAM, PANELS_OF_TASK, ROWS_IN_CACHE, RowTiles, STEPS, STEPS_IN_PLACE,
    STEPS_USED_ONCE, Task, Tasks, blocks, even_block,
};
use crate::CpuBackend;
use crate::bfloat16::from_f32;
use crate::disjoint::DisjointMut;
use crate::level::{Level, dispatch};
use crate::pool::run_ranges;
use crate::scratch::with_room;
use gradus_ops::Result;
use half::bf16;
use std::ops::Range;
use std::sync::PoisonError;

/// Packed inputs that all tasks share, at most; of more rows each task packs its own ones, which then stay in its
/// second-level cache.
const SHARED_WORDS_MAX: usize = 256 * 1024;
/// Inputs that one thread packs faster than it wakes another.
const PACKED_WORDS_OF_TASK: usize = 4 * 1024;
/// Inputs that a task packs for itself at once.
const OWN_WORDS: usize = ROWS_OF_GROUP * STEPS_IN_PLACE;
/// Panels that a task makes for itself at once.
const MADE_WORDS: usize = PANELS_MADE * STEPS * WIDTH;
/// Panels whose sums are finished beside the output.
const PANELS_OF_SUMS: usize = 8;
/// Sums of one group of row tiles that are finished beside the output.
const SUMS: usize = ROWS_OF_GROUP * PANELS_OF_SUMS * WIDTH;
/// Rows of one group of tiles, at most.
const ROWS_OF_GROUP: usize = ROWS_IN_CACHE + ROWS_MAX;

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

/// A product as its tasks see it.
struct Pass<'a> {
    kernels: Kernels,
    words: Words,
    tasks: Tasks,
    /// Of the whole reduction.
    steps: usize,
    /// All inputs as `[tile][step][row]`; none where each task packs its own.
    shared: Option<&'a [u32]>,
}

/// The inputs of a task, packed as `[tile][step][row]`.
struct Inputs<'a> {
    shared: Option<&'a [u32]>,
    /// Room for one group of tiles and one block of steps.
    own: &'a mut [u32],
    /// What is packed there.
    held: Option<(Range<usize>, Range<usize>)>,
}

/// Packed inputs of some tiles and steps.
#[derive(Clone, Copy)]
struct Packed<'a> {
    words: &'a [u32],
    first_row: usize,
    first_step: usize,
    /// Steps that are packed of each tile.
    steps: usize,
}

impl<'a> Packed<'a> {
    /// The words of a tile from `step` on.
    fn tile(self, start: usize, rows: usize, step: usize) -> &'a [u32] {
        &self.words[(start - self.first_row) * self.steps + (step - self.first_step) * rows..]
    }
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
        let (kernels, threads) = (Kernels::of(backend.level), backend.pool.threads());
        let words = self.panels.words(&kernels);
        let steps = words.steps(self.depth);
        let tiles = RowTiles::new(self.rows, kernels.rows_max);
        let (panels, multiple) = (self.columns.div_ceil(WIDTH), (kernels.panels_at_once)(tiles.rows(0)));
        if self.rows > ROWS_IN_CACHE && self.rows * steps > SHARED_WORDS_MAX {
            let panels_max = self.panels_max(words, steps);
            let tasks = Tasks::of_many_rows(tiles, panels, multiple, panels_max, threads);
            self.compute_all(backend, &Pass { kernels, words, tasks, steps, shared: None });
            return Ok(());
        }
        let (multiple, panels_max) =
            if self.streams(words, tiles) { (1, PANELS_OF_STREAM) } else { (multiple, PANELS_OF_TASK) };
        let tasks = Tasks::of_own_rows(self.rows, kernels.rows_max, panels, steps, multiple, panels_max, threads)
            .unwrap_or_else(|| Tasks::new(tiles, panels, steps, multiple, panels_max, threads));
        let tiles = tasks.tiles;
        let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let packed = scratch.take::<u32>(self.rows * steps)?;
        let parts = DisjointMut::new(packed);
        let tiles_of_task = (PACKED_WORDS_OF_TASK / (steps * tiles.rows(0)).max(1)).max(1);
        run_ranges(&backend.pool, tiles.count, tiles_of_task, &|from, to| {
            for tile in from..to {
                let (start, rows) = (tiles.start(tile), tiles.rows(tile));
                // SAFETY: tiles are disjoint rows, so their packed parts are disjoint.
                let part = unsafe { parts.range(start * steps, rows * steps) };
                self.pack(backend.level, &kernels, words, start..start + rows, 0..steps, part);
            }
        });
        self.compute_all(backend, &Pass { kernels, words, tasks, steps, shared: Some(packed) });
        Ok(())
    }

    /// Whether each panel is read once, by the few rows of one tile: as fast as memory gives it, which is fastest line
    /// after line.
    fn streams(&self, words: Words, tiles: RowTiles) -> bool {
        tiles.count == 1 && self.panels.in_place(words, 0, 0).is_some()
    }

    /// Panels of one task of many rows, at most: each packs the inputs of its rows once, if it can keep them.
    fn panels_max(&self, words: Words, steps: usize) -> usize {
        match self.out {
            Output::F32(_) if self.panels.in_place(words, 0, 0).is_none() => PANELS_MADE,
            Output::Bf16(_) if steps > STEPS_IN_PLACE => PANELS_OF_SUMS,
            _ => PANELS_IN_PLACE,
        }
    }

    fn pack(
        &self,
        level: Level,
        kernels: &Kernels,
        words: Words,
        rows: Range<usize>,
        steps: Range<usize>,
        dst: &mut [u32],
    ) {
        let part = Interleave { words, columns: self.depth, first: rows.start, rows: rows.len(), steps };
        part.pack(kernels, level, self.input, dst);
    }

    fn compute_all(&self, backend: &CpuBackend, pass: &Pass) {
        backend.pool.run(pass.tasks.count(), &|index| {
            let task = pass.tasks.task(index);
            let (steps_at_once, is_made) = self.steps_at_once(pass);
            let made = if is_made { steps_at_once * task.panels.len() * WIDTH } else { 0 };
            let own = if pass.shared.is_none() { rows_at_once(pass, &task) * steps_at_once } else { 0 };
            with_room::<u32, MADE_WORDS>(made, |made| {
                with_room::<u32, OWN_WORDS>(own, |own| {
                    let inputs = Inputs { shared: pass.shared, own, held: None };
                    self.compute(backend.level, pass, &task, steps_at_once, made, inputs);
                });
            });
        });
    }

    /// One task, a block of steps at a time, so that panels and inputs are met again in the caches.
    fn compute(
        &self,
        level: Level,
        pass: &Pass,
        task: &Task,
        steps_at_once: usize,
        made: &mut [u32],
        mut inputs: Inputs,
    ) {
        let maker = Maker { kernels: &pass.kernels, level, words: pass.words };
        let mut panels_of = |steps: &Range<usize>, panels: &Range<usize>| match self.panels.in_place(
            pass.words,
            panels.start,
            steps.start,
        ) {
            Some(block) => block,
            None => self.panels.make(maker, steps, panels.clone(), made, steps_at_once * WIDTH),
        };
        if let Output::F32(out) = &self.out
            && task.panels.end * WIDTH <= self.columns
        {
            let first = out.as_mut_ptr().wrapping_add(task.panels.start * WIDTH);
            for steps in blocks(&(0..pass.steps), steps_at_once) {
                let block = panels_of(&steps, &task.panels);
                for tiles in groups(pass, task) {
                    let packed = inputs.of(self, level, pass, &tiles, &steps);
                    self.block(pass, &steps, &task.panels, tiles, block, packed, Sums { first, row: self.columns });
                }
            }
            return;
        }
        with_room::<f32, SUMS>(rows_at_once(pass, task) * PANELS_OF_SUMS.min(task.panels.len()) * WIDTH, |room| {
            for tiles in groups(pass, task) {
                let (from, to) = (pass.tasks.tiles.start(tiles.start), pass.tasks.tiles.start(tiles.end));
                for panels in blocks(&task.panels, PANELS_OF_SUMS) {
                    let width = panels.len() * WIDTH;
                    let first = room.as_mut_ptr().wrapping_sub(from * width);
                    for steps in blocks(&(0..pass.steps), steps_at_once) {
                        let block = panels_of(&steps, &panels);
                        let packed = inputs.of(self, level, pass, &tiles, &steps);
                        self.block(pass, &steps, &panels, tiles.clone(), block, packed, Sums { first, row: width });
                    }
                    self.store(level, &panels, from..to, &room[..(to - from) * width]);
                }
            }
        });
    }

    /// Steps of one block, and whether its panels have to be made.
    fn steps_at_once(&self, pass: &Pass) -> (usize, bool) {
        let whole = pass.tasks.tiles.count == 1;
        if self.panels.in_place(pass.words, 0, 0).is_none() {
            // For few rows panels are used once and should not leave the first-level cache.
            let largest = if whole { STEPS_USED_ONCE } else { STEPS };
            return (even_block(pass.steps, largest), true);
        }
        // The few rows of one tile stay in the cache anyway, and a panel is then read in one go.
        (if whole { pass.steps } else { even_block(pass.steps, STEPS_IN_PLACE) }, false)
    }

    /// One block of steps of one group of tiles.
    #[allow(clippy::too_many_arguments)]
    fn block(
        &self,
        pass: &Pass,
        steps: &Range<usize>,
        task_panels: &Range<usize>,
        tiles: Range<usize>,
        block: PanelBlock,
        packed: Packed,
        sums: Sums,
    ) {
        let compute = pass.kernels.compute(pass.words);
        // As the plan has it for its largest tile: rows are dealt out so that both sizes take as many panels.
        let rows = pass.tasks.tiles.rows(0);
        let at_once = if self.streams(pass.words, pass.tasks.tiles) { 1 } else { (pass.kernels.panels_at_once)(rows) };
        let bias = self.bias.filter(|_| steps.end == pass.steps);
        let accumulate = if steps.start == 0 { Accumulate::Begin } else { Accumulate::Continue };
        let mut panel = 0;
        while panel < task_panels.len() {
            let panels = if panel + at_once <= task_panels.len() { at_once } else { 1 };
            for index in tiles.clone() {
                let (start, rows) = (pass.tasks.tiles.start(index), pass.tasks.tiles.rows(index));
                let out = |row: usize| sums.first.wrapping_add(row * sums.row + panel * WIDTH);
                let tile = Tile {
                    a: packed.tile(start, rows, steps.start).as_ptr(),
                    b: block.panel(panel),
                    b_panel: block.stride,
                    steps: steps.len(),
                    block: steps.len(),
                    out: out(start),
                    out_row: sums.row,
                    out_panel: WIDTH,
                    next_out: out(start + rows),
                    accumulate,
                    bias: bias.map_or(std::ptr::null(), |bias| bias[(task_panels.start + panel) * WIDTH..].as_ptr()),
                };
                // SAFETY: the tile lies inside the packed inputs, the panels and this task's own sums.
                unsafe { compute(rows, panels, &tile) };
            }
            panel += panels;
        }
    }

    fn store(&self, level: Level, panels: &Range<usize>, rows: Range<usize>, sums: &[f32]) {
        let columns = panels.start * WIDTH..(panels.end * WIDTH).min(self.columns);
        for (row, sums) in rows.zip(sums.chunks_exact(panels.len() * WIDTH)) {
            let start = row * self.columns + columns.start;
            match &self.out {
                // SAFETY: these rows and columns belong to this task alone.
                Output::F32(out) => unsafe { out.range(start, columns.len()) }.copy_from_slice(&sums[..columns.len()]),
                // SAFETY: as above.
                Output::Bf16(out) => round(level, sums, unsafe { out.range(start, columns.len()) }),
            }
        }
    }
}

impl Inputs<'_> {
    /// The inputs of one group of tiles for one block of steps; packs them unless they still are.
    fn of(
        &mut self,
        product: &Product,
        level: Level,
        pass: &Pass,
        tiles: &Range<usize>,
        steps: &Range<usize>,
    ) -> Packed<'_> {
        if let Some(words) = self.shared {
            return Packed { words, first_row: 0, first_step: 0, steps: pass.steps };
        }
        let all = pass.tasks.tiles;
        let first_row = all.start(tiles.start);
        let wanted = Some((tiles.clone(), steps.clone()));
        if self.held != wanted {
            for tile in tiles.clone() {
                let (start, rows) = (all.start(tile), all.rows(tile));
                let part = &mut self.own[(start - first_row) * steps.len()..][..rows * steps.len()];
                product.pack(level, &pass.kernels, pass.words, start..start + rows, steps.clone(), part);
            }
            self.held = wanted;
        }
        Packed { words: self.own, first_row, first_step: steps.start, steps: steps.len() }
    }
}

/// Rows of the task's largest group of tiles, at most.
fn rows_at_once(pass: &Pass, task: &Task) -> usize {
    let tiles = pass.tasks.tiles;
    ROWS_OF_GROUP.min(tiles.start(task.tiles.end) - tiles.start(task.tiles.start))
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
