//! How a q8_0 product is cut into tasks and tiles. The cut changes which thread computes an output, never its bits.

use super::block::{BLOCK, InputBlock, WeightBlock};
use super::kernel::Kernels;
use crate::buffer::PANEL;
use crate::matmul::plan::RowTiles;
use std::ops::Range;

/// Quantised inputs of one task: what a second-level cache holds beside the panels they are multiplied with.
const INPUT_BYTES_OF_TASK: usize = 640 * 1024;
/// Tasks per thread, so that a thread held up by a busy neighbour costs little.
const TASKS_PER_THREAD: usize = 12;
/// Weight blocks of one task, at least and at most: few rows stream them from memory, in one go.
const BLOCKS_OF_TASK: (usize, usize) = (128, 2048);
/// How far ahead of their use weights are asked for that are used once.
const BLOCKS_AHEAD: usize = 8;

#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub tiles: RowTiles,
    /// Panels of one tile.
    pub panels_at_once: usize,
    /// Blocks of one chain.
    pub blocks: usize,
    panels: usize,
    panels_of_task: usize,
    tiles_of_task: usize,
    row_blocks: usize,
}

/// What one task computes: `tiles` of rows × `panels`.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub tiles: Range<usize>,
    pub panels: Range<usize>,
}

impl Plan {
    pub(super) fn new(kernels: Kernels, rows: usize, steps: usize, columns: usize, threads: usize) -> Plan {
        let streamed = rows <= kernels.rows_streamed;
        let (rows_max, panels_at_once) =
            if streamed { (kernels.rows_streamed, 1) } else { (kernels.rows_max, kernels.panels) };
        let tiles = RowTiles::new(rows, rows_max);
        let (blocks, panels) = (steps.div_ceil(BLOCK), columns.div_ceil(PANEL));
        // Rows are cut where there are many, or where panels alone would leave threads without work.
        let rows_of_task = (INPUT_BYTES_OF_TASK / (size_of::<InputBlock>() * blocks.max(1))).max(1);
        let cuts = (4 * threads).div_ceil(panels.max(1)).min(tiles.count);
        let tiles_of_task = tiles.count.div_ceil(rows.div_ceil(rows_of_task).max(cuts).max(1)).max(1);
        let row_blocks = tiles.count.div_ceil(tiles_of_task);
        let (least, most) = BLOCKS_OF_TASK;
        let of_blocks = |count: usize| count.div_ceil(blocks.max(1));
        let least = of_blocks(if streamed { least } else { 1 });
        let panels_of_task = (panels * row_blocks / (threads * TASKS_PER_THREAD)).clamp(least, of_blocks(most));
        let panels_of_task = panels_of_task.next_multiple_of(panels_at_once);
        Plan { tiles, panels_at_once, blocks, panels, panels_of_task, tiles_of_task, row_blocks }
    }

    pub(super) fn count(&self) -> usize {
        self.panels.div_ceil(self.panels_of_task) * self.row_blocks
    }

    /// Tasks of the same panels follow one another, so that threads share them in the last-level cache.
    pub(super) fn task(&self, index: usize) -> Task {
        let (group, block) = (index / self.row_blocks, index % self.row_blocks);
        let range = |index: usize, size: usize, end: usize| index * size..((index + 1) * size).min(end);
        Task {
            tiles: range(block, self.tiles_of_task, self.tiles.count),
            panels: range(group, self.panels_of_task, self.panels),
        }
    }

    /// The weights to ask for while `tile` is computed, out of `rest`, the ones that the task has from this tile's on.
    ///
    /// A single tile asks for its own, a little ahead; of several, the last ones ask for the next tile's panels.
    pub(super) fn ahead<'a>(&self, task: &Task, tile: usize, rest: &'a [WeightBlock]) -> &'a [WeightBlock] {
        let after = task.tiles.end - 1 - tile;
        let first = match task.tiles.len() {
            1 => BLOCKS_AHEAD,
            _ if after < self.panels_at_once => (self.panels_at_once + after) * self.blocks,
            _ => rest.len(),
        };
        let ahead = &rest[first.min(rest.len())..];
        &ahead[..self.blocks.min(ahead.len())]
    }
}
