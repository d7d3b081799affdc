//! The memory of one attention op: one stretch of the backend's scratch, cut into arrays, and a part for each thread that works.

use crate::disjoint::DisjointMut;
use crate::pool::Pool;
use bytemuck::Pod;
use std::mem::take;

/// Elements of a cache line: where each array begins.
pub(super) const LINE: usize = 16;

/// `len` elements rounded up to whole cache lines.
pub(super) const fn lines(len: usize) -> usize {
    len.next_multiple_of(LINE)
}

/// Scratch that is cut into arrays from the front; sized before by [`lines`] of each.
pub(super) struct Arena<'a> {
    rest: &'a mut [f32],
}

impl<'a> Arena<'a> {
    pub(super) fn new(memory: &'a mut [f32]) -> Arena<'a> {
        Arena { rest: memory }
    }

    /// The next `len` elements, left over from earlier uses.
    pub(super) fn cut(&mut self, len: usize) -> &'a mut [f32] {
        let (piece, rest) = take(&mut self.rest).split_at_mut(lines(len));
        self.rest = rest;
        &mut piece[..len]
    }

    /// The next `len` elements as some other type of which they are a whole number.
    pub(super) fn cut_as<T: Pod>(&mut self, len: usize) -> &'a mut [T] {
        bytemuck::cast_slice_mut(self.cut(len))
    }
}

/// Runs `body(item, part)` for each item below `items`, once, in any order on any thread. `part` is `part_len` elements of
/// `scratch` (which holds as many for each thread of the pool), used by one item at a time and full of what others left.
/// A thread takes `at_once` items that follow each other.
pub(super) fn run_in_parts(
    pool: &Pool,
    items: usize,
    at_once: usize,
    scratch: &mut [f32],
    part_len: usize,
    body: &(dyn Fn(usize, &mut [f32]) + Sync),
) {
    let parts = DisjointMut::new(scratch);
    pool.run_on_threads(items.div_ceil(at_once), &|task, thread| {
        // SAFETY: each thread's part is its own, one task at a time.
        let part = unsafe { parts.range(thread * part_len, part_len) };
        for item in task * at_once..((task + 1) * at_once).min(items) {
            body(item, part);
        }
    });
}
