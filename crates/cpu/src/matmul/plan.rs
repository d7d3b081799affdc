//! How a matmul is cut into tasks. The cut changes which thread computes an output, never its bits.

use super::kernel::WIDTH;
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
/// Rows of a thread, at least, where each has rows of its own: fewer would read a weight for too little work.
const OWN_ROWS: usize = 16;
/// Panels × steps of a weight, at most, that every thread reads: the last-level cache has it for all of them.
const PANELS_IN_CACHE: usize = 64 * 1024;
/// A row that stands alone is bound by memory, not by arithmetic: it costs as much as this many.
const ROWS_OF_MEMORY_BOUND: usize = 4;

/// Rows cut into micro-tiles as even as possible: sizes differ by at most one.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowTiles {
    pub count: usize,
    size: usize,
    /// Rows that are left over, for one tile: they are dealt out evenly, the first tile first. In 2⁻³².
    rest: u64,
}

impl RowTiles {
    pub(super) fn new(rows: usize, rows_max: usize) -> RowTiles {
        RowTiles::of_count(rows, rows.div_ceil(rows_max))
    }

    /// `count` tiles of the rows, at least as many as they need.
    fn of_count(rows: usize, count: usize) -> RowTiles {
        let size = rows.checked_div(count).unwrap_or(0);
        let rest = (((rows - count * size) as u64) << 32).checked_div(count as u64).unwrap_or(0);
        RowTiles { count, size, rest }
    }

    /// First row of a tile; of the tile after the last one, the number of rows.
    pub(super) fn start(self, tile: usize) -> usize {
        tile * self.size + (tile as u64 * self.rest).div_ceil(1 << 32) as usize
    }

    /// None has more than the first one.
    pub(super) fn rows(self, tile: usize) -> usize {
        self.start(tile + 1) - self.start(tile)
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
    /// Tasks of the same rows follow one another.
    by_rows: bool,
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
        let panel_work = WIDTH * steps.max(1) * rows.div_ceil(row_blocks).max(ROWS_OF_MEMORY_BOUND);
        let panels_of_task = even.max(WORK_OF_TASK / panel_work).clamp(1, panels_max);
        Tasks {
            tiles,
            panels,
            tiles_of_task,
            panels_of_task: panels_of_task.next_multiple_of(panels_multiple),
            row_blocks: tiles.count.div_ceil(tiles_of_task),
            by_rows: false,
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
            by_rows: false,
        }
    }

    /// As [`Tasks::new`] where each thread has rows of its own, the same ones in every op: its own caches then hold what the op before
    /// has computed. None where rows are too few, or the weight so large that threads had better share the reading.
    pub(super) fn of_own_rows(
        rows: usize,
        rows_max: usize,
        panels: usize,
        steps: usize,
        panels_multiple: usize,
        panels_max: usize,
        threads: usize,
    ) -> Option<Tasks> {
        let own_rows = rows / threads;
        let own_work = own_rows * panels * WIDTH * steps;
        if threads == 1 || own_rows < OWN_ROWS || panels * steps > PANELS_IN_CACHE || own_work < WORK_OF_TASK {
            return None;
        }
        let count = rows.div_ceil(rows_max).next_multiple_of(threads);
        let panels_of_task = panels.div_ceil(TASKS_PER_THREAD).max(WORK_OF_TASK / (own_rows * WIDTH * steps));
        let panels_of_task = panels_of_task.min(panels_max).next_multiple_of(panels_multiple);
        Some(Tasks {
            tiles: RowTiles::of_count(rows, count),
            panels,
            tiles_of_task: count / threads,
            panels_of_task,
            row_blocks: threads,
            by_rows: true,
        })
    }

    pub(super) fn count(self) -> usize {
        self.panels.div_ceil(self.panels_of_task) * self.row_blocks
    }

    /// Tasks of the same panels follow one another, so that threads share them in the last-level cache.
    pub(super) fn task(self, index: usize) -> Task {
        let groups = self.panels.div_ceil(self.panels_of_task);
        let (group, block) = if self.by_rows {
            (index % groups, index / groups)
        } else {
            (index / self.row_blocks, index % self.row_blocks)
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_dealt_out_evenly_the_largest_tile_first() {
        for (rows, count, sizes) in [
            (64, 6, vec![11, 11, 10, 11, 11, 10]),
            (7, 4, vec![2, 2, 2, 1]),
            (12, 3, vec![4, 4, 4]),
            (5, 5, vec![1; 5]),
        ] {
            let tiles = RowTiles::of_count(rows, count);
            assert_eq!((0..count).map(|tile| tiles.rows(tile)).collect::<Vec<_>>(), sizes);
        }
        for rows in 1..=2000 {
            let tiles = RowTiles::new(rows, 14);
            let sizes: Vec<usize> = (0..tiles.count).map(|tile| tiles.rows(tile)).collect();
            assert_eq!((tiles.start(0), sizes.iter().sum::<usize>()), (0, rows));
            assert!(
                sizes.iter().all(|size| (sizes[0] - 1..=sizes[0]).contains(size) && *size <= 14),
                "{rows}: {sizes:?}"
            );
        }
    }

    #[test]
    fn own_rows_are_the_same_share_of_every_product_and_every_panel_is_computed_once() {
        for (rows, threads, panels) in [(64, 2, 86), (64, 2, 16), (97, 3, 17), (33, 2, 9)] {
            let tasks = Tasks::of_own_rows(rows, 14, panels, 256, 2, PANELS_OF_TASK, threads).unwrap();
            let of_thread = tasks.count() / threads;
            assert_eq!(tasks.count() % threads, 0);
            for thread in 0..threads {
                let own: Vec<Task> = (0..of_thread).map(|index| tasks.task(thread * of_thread + index)).collect();
                let (from, to) = (tasks.tiles.start(own[0].tiles.start), tasks.tiles.start(own[0].tiles.end));
                assert!(own.iter().all(|task| task.tiles == own[0].tiles));
                assert!((from * threads).abs_diff(thread * rows) <= threads, "rows {from} to {to} of {rows}");
                let mut computed: Vec<usize> = own.iter().flat_map(|task| task.panels.clone()).collect();
                computed.sort_unstable();
                assert_eq!(computed, (0..panels).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn few_rows_large_weights_and_little_work_are_shared_out_by_panels() {
        for (rows, panels, steps, threads) in [(31, 86, 256, 2), (64, 1024, 512, 2), (64, 2, 8, 2), (64, 86, 256, 1)] {
            assert!(Tasks::of_own_rows(rows, 14, panels, steps, 2, PANELS_OF_TASK, threads).is_none());
        }
    }
}
