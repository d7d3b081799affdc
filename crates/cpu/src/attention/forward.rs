//! Attention of a few query rows over the pages of their sequence: the function behind training, prefill and decode.
//!
//! Key blocks of 64 from position 0, online softmax, splits of 2,048 keys merged in order. What a row computes depends on
//! its own position alone; rows only share the loads.

use super::pages::{Block, Pages};
use super::product::{Left, Start, TILE_ROWS, multiply_columns, multiply_rows};
use super::registers::Stored;
use super::scratch::{Arena, LINE, lines, run_in_parts};
use super::state::{Scores, States};
use super::{group_size, tokens_of_task};
use crate::disjoint::DisjointMut;
use crate::level::Level;
use crate::pool::Pool;
use crate::vector::{Vector, dispatch_vector, prefetch_later};
use bytemuck::{Pod, Zeroable};
use gradus_ops::{AttentionShape, KEY_BLOCK, PAGE_TOKENS};
use std::cmp::Reverse;
use std::ops::Range;

/// Stretches of tasks that a thread takes of many single tokens, so that a thread held up by a busy neighbour costs little.
const CLAIMS_PER_THREAD: usize = 8;

/// Consecutive query tokens of one sequence, at consecutive positions.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct Run {
    /// Row of the first token in qkv and out.
    pub(super) token: u32,
    pub(super) tokens: u32,
    /// Of the first token; it attends the keys 0..=position of its sequence.
    pub(super) position: u32,
    /// Where the sequence's pages begin in the page table.
    pub(super) table: u32,
}

impl Run {
    /// Elements of scratch for this many runs.
    pub(super) const fn len(runs: usize) -> usize {
        runs * size_of::<Run>() / size_of::<f32>()
    }

    fn tokens(&self) -> Range<usize> {
        self.token as usize..self.token as usize + self.tokens as usize
    }

    /// Keys that the last token attends.
    pub(super) fn keys_max(&self) -> usize {
        self.position as usize + self.tokens as usize
    }
}

/// Query rows, and where their keys and values are.
#[derive(Clone, Copy)]
pub(super) struct Attention<'a, Q, E> {
    pub(super) level: Level,
    pub(super) shape: AttentionShape,
    /// [tokens, qkv_dim]
    pub(super) qkv: &'a [Q],
    pub(super) pages: Pages<'a, E>,
    /// Keys in one split: KEY_SPLIT, but for a planted fault.
    pub(super) split: usize,
}

/// Where the results go: out [tokens, q_dim], and lse [tokens, heads] where the backward needs it.
#[derive(Clone, Copy)]
pub(super) struct Results<'a, Q> {
    pub(super) out: &'a DisjointMut<'a, Q>,
    pub(super) lse: Option<&'a DisjointMut<'a, f32>>,
}

/// Query rows of one task at most.
fn rows_max(shape: AttentionShape) -> usize {
    tokens_of_task(shape) * group_size(shape)
}

/// Elements of scratch that a thread needs.
pub(super) fn part_len(shape: AttentionShape) -> usize {
    let rows = rows_max(shape);
    lines(rows * shape.head_dim) + lines(rows) + Scores::len(rows) + 2 * States::len(rows, shape.head_dim)
}

/// Attends all runs, one task for each run and key head; the tokens of the runs do not overlap. `scratch` holds
/// [`part_len`] elements for each thread.
pub(super) fn attend_runs<Q: Stored, E: Stored>(
    pool: &Pool,
    attention: Attention<Q, E>,
    runs: &mut [Run],
    scratch: &mut [f32],
    results: Results<Q>,
) {
    let kv_heads = attention.shape.kv_heads;
    // Long tasks first, so that the threads end together.
    runs.sort_unstable_by_key(|run| Reverse(u64::from(run.tokens) * run.keys_max() as u64));
    let (runs, items) = (&*runs, runs.len() * kv_heads);
    // Single tokens wait for memory, so a thread must know what it will read next.
    let at_once = if runs.iter().all(|run| run.tokens == 1) { items / (pool.threads() * CLAIMS_PER_THREAD) } else { 1 };
    let at_once = at_once.max(1);
    run_in_parts(pool, items, at_once, scratch, part_len(attention.shape), &|item, part| {
        let next = (item + 1).min(items - 1);
        let next = ((item + 1) % at_once != 0).then(|| (runs[next / kv_heads], next % kv_heads));
        attend(attention.level, attention, runs[item / kv_heads], item % kv_heads, next, part, results);
    });
}

/// Splits that the keys of the longest run make, and elements of scratch for the states of one run and key head over them.
pub(super) fn splits_len(shape: AttentionShape, keys_max: usize, split: usize) -> (usize, usize) {
    let splits = keys_max.div_ceil(split);
    (splits, splits * States::len(rows_max(shape), shape.head_dim))
}

/// As [`attend_runs`] for few runs over many keys: one task for each split, and another that merges them. `states` holds
/// [`splits_len`] elements for each run and key head.
pub(super) fn attend_runs_in_splits<Q: Stored, E: Stored>(
    pool: &Pool,
    attention: Attention<Q, E>,
    runs: &[Run],
    scratch: &mut [f32],
    states: &mut [f32],
    results: Results<Q>,
) {
    let (shape, split) = (attention.shape, attention.split);
    let keys_max = runs.iter().map(Run::keys_max).max().unwrap_or(0);
    let (splits, states_len) = splits_len(shape, keys_max, split);
    let state_len = states_len / splits.max(1);
    let tasks = runs.len() * shape.kv_heads;
    {
        let states = DisjointMut::new(&mut *states);
        run_in_parts(pool, tasks * splits, 1, scratch, part_len(shape), &|item, part| {
            let (run, keys) = (runs[item / splits / shape.kv_heads], item % splits * split);
            if keys < run.keys_max() {
                // SAFETY: each item has its own state.
                let state = unsafe { states.range(item * state_len, state_len) };
                attend_split(attention.level, attention, run, item / splits % shape.kv_heads, keys, part, state);
            }
        });
    }
    let states = DisjointMut::new(states);
    pool.run(tasks, &|task| {
        // SAFETY: each task has the states of its own run and key head.
        let states = unsafe { states.range(task * states_len, states_len) };
        merge_splits(attention.level, attention, runs[task / shape.kv_heads], task % shape.kv_heads, states, results);
    });
}

dispatch_vector! {
    fn attend<Q: Stored, E: Stored>(
        attention: Attention<Q, E>, run: Run, kv_head: usize, next: Option<(Run, usize)>, part: &mut [f32], results: Results<Q>
    ) = attend_body;
    fn attend_split<Q: Stored, E: Stored>(
        attention: Attention<Q, E>, run: Run, kv_head: usize, first_key: usize, part: &mut [f32], state: &mut [f32]
    ) = attend_split_body;
    fn merge_splits<Q: Stored, E: Stored>(
        attention: Attention<Q, E>, run: Run, kv_head: usize, states: &mut [f32], results: Results<Q>
    ) = merge_splits_body;
}

#[inline(always)]
fn attend_body<V: Vector, Q: Stored, E: Stored>(
    attention: Attention<Q, E>,
    run: Run,
    kv_head: usize,
    next: Option<(Run, usize)>,
    part: &mut [f32],
    results: Results<Q>,
) {
    let mut arena = Arena::new(part);
    let mut task = Task::new(attention, run, kv_head, next, &mut arena);
    let head_dim = attention.shape.head_dim;
    let mut states = States::new(&mut arena, task.keys.len(), head_dim);
    let mut later = States::new(&mut arena, task.keys.len(), head_dim);
    task.attend_split::<V>(0, &mut states);
    for first_key in (attention.split..run.keys_max()).step_by(attention.split) {
        task.attend_split::<V>(first_key, &mut later);
        merge(&mut states, &later, task.keys, first_key);
    }
    write_results(attention.shape, run, kv_head, &states, results);
}

#[inline(always)]
fn attend_split_body<V: Vector, Q: Stored, E: Stored>(
    attention: Attention<Q, E>,
    run: Run,
    kv_head: usize,
    first_key: usize,
    part: &mut [f32],
    state: &mut [f32],
) {
    let mut task = Task::new(attention, run, kv_head, None, &mut Arena::new(part));
    let mut states = States::new(&mut Arena::new(state), task.keys.len(), attention.shape.head_dim);
    task.attend_split::<V>(first_key, &mut states);
}

/// The states of the splits lie one after another, each as long as for the largest task.
#[inline(always)]
fn merge_splits_body<V: Vector, Q: Stored, E: Stored>(
    attention: Attention<Q, E>,
    run: Run,
    kv_head: usize,
    states: &mut [f32],
    results: Results<Q>,
) {
    let (shape, split) = (attention.shape, attention.split);
    let (group, rows) = (group_size(shape), run.tokens as usize * group_size(shape));
    let mut splits = states.chunks_exact_mut(States::len(rows_max(shape), shape.head_dim));
    let mut state = |_| {
        let memory = splits.next().expect("a state for each split");
        States::new(&mut Arena::new(memory), rows, shape.head_dim)
    };
    let mut merged = state(0);
    for first_key in (split..run.keys_max()).step_by(split) {
        let later = state(first_key);
        for row in 0..rows {
            if run.position as usize + row / group + 1 > first_key {
                merged.merge(row, &later);
            }
        }
    }
    write_results(shape, run, kv_head, &merged, results);
}

/// Merges the states of the rows that attend keys from `first_key` on.
#[inline(always)]
fn merge(states: &mut States, later: &States, keys: &[u32], first_key: usize) {
    for (row, keys) in keys.iter().enumerate() {
        if *keys as usize > first_key {
            states.merge(row, later);
        }
    }
}

#[inline(always)]
fn write_results<Q: Stored>(shape: AttentionShape, run: Run, kv_head: usize, states: &States, results: Results<Q>) {
    let (group, head_dim) = (group_size(shape), shape.head_dim);
    for (index, token) in run.tokens().enumerate() {
        let (first_row, first_head) = (index * group, kv_head * group);
        // SAFETY: the runs' tokens, and the heads of different key heads, do not overlap.
        let out = unsafe { results.out.range(token * shape.q_dim() + first_head * head_dim, group * head_dim) };
        for (head, out) in out.chunks_exact_mut(head_dim).enumerate() {
            states.write_output(first_row + head, out);
        }
        if let Some(lse) = results.lse {
            // SAFETY: as above.
            let lse = unsafe { lse.range(token * shape.heads + first_head, group) };
            for (head, lse) in lse.iter_mut().enumerate() {
                *lse = states.log_sum(first_row + head);
            }
        }
    }
}

/// The query rows of one run and key head, and scratch for their scores.
struct Task<'a, 's, Q, E> {
    attention: Attention<'a, Q, E>,
    run: Run,
    kv_head: usize,
    /// The run and key head that this thread takes next, where that is known.
    next: Option<(Run, usize)>,
    /// [rows, head_dim]
    queries: &'s [f32],
    /// [rows]: keys that a row attends, never falling.
    keys: &'s [u32],
    scores: Scores<'s>,
}

impl<'a, 's, Q: Stored, E: Stored> Task<'a, 's, Q, E> {
    #[inline(always)]
    fn new(
        attention: Attention<'a, Q, E>,
        run: Run,
        kv_head: usize,
        next: Option<(Run, usize)>,
        memory: &mut Arena<'s>,
    ) -> Self {
        let (shape, group) = (attention.shape, group_size(attention.shape));
        let rows = run.tokens as usize * group;
        let (width, queries) = (group * shape.head_dim, memory.cut(rows * shape.head_dim));
        let keys = memory.cut_as(rows);
        for (index, token) in run.tokens().enumerate() {
            let query = &attention.qkv[token * shape.qkv_dim() + kv_head * width..][..width];
            for (to, from) in queries[index * width..][..width].iter_mut().zip(query) {
                *to = from.to_f32();
            }
            keys[index * group..][..group].fill(run.position + index as u32 + 1);
        }
        Task { attention, run, kv_head, next, queries, keys, scores: Scores::new(memory, rows) }
    }

    /// Clears the states and takes the keys of one split, from `first_key`, into them.
    #[inline(always)]
    fn attend_split<V: Vector>(&mut self, first_key: usize, states: &mut States) {
        states.clear();
        let end = self.run.keys_max().min(first_key + self.attention.split);
        for start in (first_key..end).step_by(KEY_BLOCK) {
            self.attend_block::<V>(start, end, states);
        }
    }

    /// One block of keys from position `start`, for all rows that reach it.
    #[inline(always)]
    fn attend_block<V: Vector>(&mut self, start: usize, end: usize, states: &mut States) {
        let Attention { level, shape, pages, .. } = self.attention;
        let (rows, head_dim) = (self.keys.len(), shape.head_dim);
        let first = start.saturating_sub(self.run.position as usize) * group_size(shape);
        let inside = |row: usize| (self.keys[row] as usize - start).min(KEY_BLOCK);
        let count = (end - start).min(KEY_BLOCK).div_ceil(PAGE_TOKENS);
        let (keys, values) = pages.block(shape, self.kv_head, self.run.table as usize + start / PAGE_TOKENS, count);
        for row in (first..rows).step_by(TILE_ROWS) {
            let size = TILE_ROWS.min(rows - row);
            let seen = inside(row + size - 1).div_ceil(PAGE_TOKENS);
            let queries = Left { values: &self.queries[row * head_dim..], row: head_dim, step: 1 };
            let scores = &mut self.scores.values[row * KEY_BLOCK..];
            multiply_columns(level, queries, [size, head_dim], &keys[..seen], &values, scores, KEY_BLOCK);
        }
        let later = self.keys_after(start + KEY_BLOCK, count);
        self.scores.take::<V>(first, self.keys, start, shape.scale(), states);
        for row in (first..rows).step_by(TILE_ROWS) {
            let size = TILE_ROWS.min(rows - row);
            // The rows of a tile share the keys that all of them attend; the few others follow token by token. Masked
            // values are not read at all: 0 · NaN would be NaN.
            let shared = inside(row);
            self.add_values(row..row + size, 0..shared, &values, &later, states);
            let mut next = row;
            while next < row + size {
                let keys = inside(next);
                let same = self.keys[next..row + size].iter().take_while(|own| **own == self.keys[next]).count();
                if keys > shared {
                    self.add_values(next..next + same, shared..keys, &values, &later, states);
                }
                next += same;
            }
        }
    }

    /// The keys of the block at `start`, or of the next run where this one has ended, to be fetched while `count` pages of values are
    /// read; pages beyond that many are asked for here.
    #[inline(always)]
    fn keys_after(&self, start: usize, count: usize) -> Block<'a, E> {
        let (run, kv_head, start) = match self.next {
            _ if start < self.run.keys_max() => (self.run, self.kv_head, start),
            Some((run, kv_head)) => (run, kv_head, 0),
            None => return [&[]; 4],
        };
        let pages = (run.keys_max() - start).min(KEY_BLOCK).div_ceil(PAGE_TOKENS);
        let first = run.table as usize + start / PAGE_TOKENS;
        let (keys, _) = self.attention.pages.block(self.attention.shape, kv_head, first, pages);
        for page in &keys[count.min(pages)..pages] {
            for line in page.chunks(LINE) {
                prefetch_later(line.as_ptr());
            }
        }
        keys
    }

    /// output += probability · value over `keys` of the block, in order.
    #[inline(always)]
    fn add_values(&self, rows: Range<usize>, keys: Range<usize>, values: &[&[E]], later: &[&[E]], states: &mut States) {
        let Attention { level, shape, .. } = self.attention;
        let left = Left { values: &self.scores.values[rows.start * KEY_BLOCK..], row: KEY_BLOCK, step: 1 };
        let output = &mut states.output[rows.start * shape.head_dim..];
        let size = [rows.len(), shape.head_dim];
        multiply_rows(level, left, size, keys, values, later, output, shape.head_dim, Start::Sum);
    }
}
