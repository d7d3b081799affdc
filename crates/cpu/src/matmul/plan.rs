//! How a matmul is cut into tasks. The cut changes which thread computes an output, never its bits.

use std::ops::Range;

/// Steps of the reduction that panels are made for at once, at most.
pub(super) const STEPS: usize = 256;
/// Steps that panels are made for at once where a single tile of rows uses them, at most.
pub(super) const STEPS_USED_ONCE: usize = 32;
/// Steps that one pass over a task's tiles takes, at most: two panels of them stay in a second-level cache.
pub(super) const STEPS_IN_PLACE: usize = 512;
/// Rows of one pass: as many as keep their inputs of [`STEPS`] steps in a second-level cache.
pub(super) const ROWS_IN_CACHE: usize = 192;
/// Rows of one task at most.
const ROWS_OF_TASK: usize = 4 * ROWS_IN_CACHE;
/// Panels of one task at most, so that many threads find something to do.
pub(super) const PANELS_OF_TASK: usize = 8;
/// As many in tasks of many rows that find their panels in memory.
pub(super) const PANELS_IN_PLACE: usize = 64;
/// As many in tasks of many rows that make their panels.
pub(super) const PANELS_MADE: usize = 16;
/// Panels of one task at most where a single tile of rows streams them from memory: the longer the stretch, the fewer
/// beginnings that the hardware cannot foresee.
pub(super) const PANELS_OF_STREAM: usize = 32;
/// Tasks per thread, so that a thread held up by a busy neighbour costs little.
const TASKS_PER_THREAD: usize = 12;
/// Multiply-adds that a task is worth waking a thread for (a microsecond or two).
const WORK_OF_TASK: usize = 128 * 1024;
/// A row that stands alone is bound by memory, not by arithmetic: it costs as much as this many.
const ROWS_OF_MEMORY_BOUND: usize = 4;

/// Rows cut into micro-tiles as even as possible: sizes differ by at most one.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowTiles {
    pub count: usize,
    size: usize,
    /// The first `larger` tiles have one row more.
    larger: usize,
}

impl RowTiles {
    pub(super) fn new(rows: usize, rows_max: usize) -> RowTiles {
        let count = rows.div_ceil(rows_max);
        let size = rows.checked_div(count).unwrap_or(0);
        RowTiles { count, size, larger: rows - count * size }
    }

    /// First row of a tile; of the tile after the last one, the number of rows.
    pub(super) fn start(self, tile: usize) -> usize {
        tile * self.size + tile.min(self.larger)
    }

    pub(super) fn rows(self, tile: usize) -> usize {
        self.size + usize::from(tile < self.larger)
    }
}

/// The tasks of one product: groups of panels, and within each, blocks of row tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tasks {
    pub tiles: RowTiles,
    panels: usize,
    tiles_of_task: usize,
    panels_of_task: usize,
    row_blocks: usize,
}

/// What one task computes: `tiles` of rows × `panels`.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub tiles: Range<usize>,
    pub panels: Range<usize>,
}

impl Tasks {
    /// Rows × `panels` of 16 columns, each a chain of `steps`; panels of a task are a multiple of `panels_multiple` and
    /// at most `panels_max`.
    pub(super) fn new(
        tiles: RowTiles,
        panels: usize,
        steps: usize,
        panels_multiple: usize,
        panels_max: usize,
        threads: usize,
    ) -> Tasks {
        let rows = tiles.start(tiles.count);
        // Rows are cut where there are many, or where panels alone would leave threads without work.
        let row_blocks = rows.div_ceil(ROWS_OF_TASK).max((4 * threads).div_ceil(panels.max(1)).min(tiles.count)).max(1);
        let tiles_of_task = tiles.count.div_ceil(row_blocks).max(1);
        let even = panels * row_blocks / (threads * TASKS_PER_THREAD);
        let panel_work = 16 * steps.max(1) * rows.div_ceil(row_blocks).max(ROWS_OF_MEMORY_BOUND);
        let panels_of_task = even.max(WORK_OF_TASK / panel_work).clamp(1, panels_max);
        Tasks {
            tiles,
            panels,
            tiles_of_task,
            panels_of_task: panels_of_task.next_multiple_of(panels_multiple),
            row_blocks: tiles.count.div_ceil(tiles_of_task),
        }
    }

    /// As [`Tasks::new`] where inputs are so many that each task packs its own: rows are cut rather than panels.
    pub(super) fn of_many_rows(
        tiles: RowTiles,
        panels: usize,
        panels_multiple: usize,
        panels_max: usize,
        threads: usize,
    ) -> Tasks {
        let (rows, wanted) = (tiles.start(tiles.count), threads * TASKS_PER_THREAD);
        let groups = panels.div_ceil(panels_max).max(1);
        let fewest = rows.div_ceil(ROWS_OF_TASK);
        let row_blocks = wanted.div_ceil(groups).clamp(fewest, fewest.max(rows / ROWS_IN_CACHE));
        let tiles_of_task = tiles.count.div_ceil(row_blocks).max(1);
        let groups = groups.max((wanted / row_blocks).min(panels / PANELS_MADE)).max(1);
        Tasks {
            tiles,
            panels,
            tiles_of_task,
            panels_of_task: panels.div_ceil(groups).next_multiple_of(panels_multiple).max(1),
            row_blocks: tiles.count.div_ceil(tiles_of_task),
        }
    }

    pub(super) fn count(self) -> usize {
        self.panels.div_ceil(self.panels_of_task) * self.row_blocks
    }

    /// Tasks of the same panels follow one another, so that threads share them in the last-level cache.
    pub(super) fn task(self, index: usize) -> Task {
        let (group, block) = (index / self.row_blocks, index % self.row_blocks);
        let range = |index: usize, size: usize, end: usize| index * size..((index + 1) * size).min(end);
        Task {
            tiles: range(block, self.tiles_of_task, self.tiles.count),
            panels: range(group, self.panels_of_task, self.panels),
        }
    }
}

/// `range` in blocks of `size`; one empty block where it is empty.
pub(super) fn blocks(range: &Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let (start, end, size) = (range.start, range.end, size.max(1));
    (start..end.max(start + 1)).step_by(size).map(move |from| from..(from + size).min(end))
}

/// The size, a multiple of 16, of as few blocks of at most `largest` as `len` takes, as even as possible.
pub(super) fn even_block(len: usize, largest: usize) -> usize {
    len.div_ceil(len.div_ceil(largest).max(1)).next_multiple_of(16).max(16)
}
