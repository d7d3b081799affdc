//! Attention of a few query rows over the pages of their sequence: the function behind training, prefill and decode.
//!
//! Key blocks of 64 from position 0, online softmax, splits of 2,048 keys merged in order. What a row computes depends on
//! its own position alone; rows only share the loads.

use super::pages::PageView;
use super::product::{Left, Right, multiply_add};
use super::state::States;
use super::{group_size, tokens_of_task};
use crate::level::{Level, dispatch};
use crate::pool::{DisjointMut, Pool};
use gradus_ops::{AttentionShape, KEY_BLOCK, PAGE_TOKENS};
use std::cmp::Reverse;
use std::mem::swap;

/// Consecutive query tokens of one sequence.
pub(super) struct Run {
    /// Row of the first token in qkv and out.
    pub(super) token: usize,
    pub(super) tokens: usize,
    /// Where the sequence's pages begin in the page table.
    pub(super) table: usize,
}

/// Query rows, and where their keys and values are.
#[derive(Clone, Copy)]
pub(super) struct Attention<'a> {
    pub(super) shape: AttentionShape,
    /// [tokens, qkv_dim]
    pub(super) qkv: &'a [f32],
    /// [tokens]: a token attends the keys 0..=position of its sequence.
    pub(super) positions: &'a [u32],
    pub(super) table: &'a [u32],
    pub(super) k_pages: &'a [f32],
    pub(super) v_pages: &'a [f32],
    /// Keys in one split: KEY_SPLIT, but for a planted fault.
    pub(super) split: usize,
}

/// Where the results go: out [tokens, q_dim], and lse [tokens, heads] where the backward needs it.
#[derive(Clone, Copy)]
pub(super) struct Results<'a> {
    pub(super) out: &'a DisjointMut<'a, f32>,
    pub(super) lse: Option<&'a DisjointMut<'a, f32>>,
}

/// Cuts `tokens` of one sequence into runs of one task each.
pub(super) fn push_runs(runs: &mut Vec<Run>, shape: AttentionShape, token: usize, tokens: usize, table: usize) {
    let step = tokens_of_task(shape);
    runs.extend((0..tokens).step_by(step).map(|start| Run {
        token: token + start,
        tokens: step.min(tokens - start),
        table,
    }));
}

/// Attends all runs, one task for each run and key head; the tokens of the runs do not overlap.
pub(super) fn attend_runs(pool: &Pool, level: Level, attention: Attention, mut runs: Vec<Run>, results: Results) {
    let kv_heads = attention.shape.kv_heads;
    let work = |run: &Run| run.tokens * keys_max(attention.positions, run);
    // Long tasks first, so that the threads end together.
    runs.sort_by_key(|run| Reverse(work(run)));
    pool.run(runs.len() * kv_heads, &|task| {
        attend(level, attention, &runs[task / kv_heads], task % kv_heads, results);
    });
}

/// Keys that some token of the run attends.
fn keys_max(positions: &[u32], run: &Run) -> usize {
    positions[run.token..run.token + run.tokens].iter().max().map_or(0, |position| *position as usize + 1)
}

dispatch! {
    fn attend(attention: Attention, run: &Run, kv_head: usize, results: Results) = attend_body;
}

#[inline(always)]
fn attend_body(attention: Attention, run: &Run, kv_head: usize, results: Results) {
    let Attention { shape, qkv, positions, table, k_pages, v_pages, split: split_keys } = attention;
    let (group, head_dim) = (group_size(shape), shape.head_dim);
    let (rows, width) = (run.tokens * group, group * head_dim);
    let mut queries = vec![0.0; rows * head_dim];
    for (token, queries) in (run.token..).zip(queries.chunks_exact_mut(width)) {
        queries.copy_from_slice(&qkv[token * shape.qkv_dim() + kv_head * width..][..width]);
    }
    let keys: Vec<usize> = (0..rows).map(|row| positions[run.token + row / group] as usize + 1).collect();
    let keys_max = keys_max(positions, run);
    let view = PageView { shape, kv_head, table: &table[run.table..], k_pages, v_pages };
    let (mut states, mut split) = (States::new(rows, head_dim), States::new(rows, head_dim));
    let mut scores = vec![0.0; rows * KEY_BLOCK];
    for split_start in (0..keys_max).step_by(split_keys) {
        split.clear();
        for start in (split_start..keys_max.min(split_start + split_keys)).step_by(KEY_BLOCK) {
            attend_block(view, &queries, &keys, start, &mut scores, &mut split);
        }
        if split_start == 0 {
            // Merging into an empty state is the identity.
            swap(&mut states, &mut split);
            continue;
        }
        for row in 0..rows {
            if keys[row] > split_start {
                states.merge(row, &split);
            }
        }
    }
    for row in 0..rows {
        let (token, head) = (run.token + row / group, kv_head * group + row % group);
        // SAFETY: the runs' tokens, and the heads of different key heads, do not overlap.
        let out = unsafe { results.out.range(token * shape.q_dim() + head * head_dim, head_dim) };
        states.write_output(row, out);
        if let Some(lse) = results.lse {
            // SAFETY: as above.
            let lse = unsafe { lse.range(token * shape.heads + head, 1) };
            lse[0] = states.log_sum(row);
        }
    }
}

/// One block of keys, from position `start`, for all rows; row r attends the keys below `keys[r]`.
#[inline(always)]
fn attend_block(
    view: PageView,
    queries: &[f32],
    keys: &[usize],
    start: usize,
    scores: &mut [f32],
    states: &mut States,
) {
    let (rows, head_dim, scale) = (keys.len(), view.shape.head_dim, view.shape.scale());
    let inside = |row: usize| keys[row].saturating_sub(start).min(KEY_BLOCK);
    let keys_of_block = (0..rows).map(inside).max().unwrap_or(0);
    scores.fill(0.0);
    for page in 0..keys_of_block.div_ceil(PAGE_TOKENS) {
        let left = Left { values: queries, row: head_dim, step: 1 };
        let right = Right { values: view.keys(start / PAGE_TOKENS + page), row: PAGE_TOKENS };
        let shape = [rows, head_dim, PAGE_TOKENS];
        multiply_add(left, right, shape, &mut scores[page * PAGE_TOKENS..], KEY_BLOCK);
    }
    for row in 0..rows {
        if inside(row) > 0 {
            let scores = &mut scores[row * KEY_BLOCK..][..KEY_BLOCK];
            states.take_scores(row, scale, inside(row), scores);
        }
    }
    let mut row = 0;
    while row < rows {
        // The rows of a tile share the keys that all of them attend; the few others follow row by row. Masked values are
        // not read at all: 0 · NaN would be NaN.
        let tile = 4.min(rows - row);
        let shared = (row..row + tile).map(inside).min().unwrap_or(0);
        add_values(view, start, [0, shared], scores, [row, tile], states);
        for single in row..row + tile {
            add_values(view, start, [shared, inside(single)], scores, [single, 1], states);
        }
        row += tile;
    }
}

/// output[row] += Σ over keys `first..end` of the block, in order, of probability · value; for `count` rows from `row`.
#[inline(always)]
fn add_values(
    view: PageView,
    start: usize,
    [first, end]: [usize; 2],
    probabilities: &[f32],
    [row, count]: [usize; 2],
    states: &mut States,
) {
    let head_dim = view.shape.head_dim;
    let mut key = first;
    while key < end {
        let offset = key % PAGE_TOKENS;
        let depth = (PAGE_TOKENS - offset).min(end - key);
        let values = &view.values((start + key) / PAGE_TOKENS)[offset * head_dim..];
        let left = Left { values: &probabilities[row * KEY_BLOCK + key..], row: KEY_BLOCK, step: 1 };
        let right = Right { values, row: head_dim };
        let output = &mut states.output[row * head_dim..];
        multiply_add(left, right, [count, depth, head_dim], output, head_dim);
        key += depth;
    }
}
