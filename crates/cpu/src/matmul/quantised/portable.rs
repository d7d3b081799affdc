//! The q8_0 micro-kernel in plain Rust: the reference the other levels must equal bit for bit.

use super::block::{InputBlock, OFFSET, WeightBlock};
use super::kernel::{Kernels, Tile};
use crate::buffer::PANEL;

const ROWS: usize = 4;

pub(super) const KERNELS: Kernels = Kernels { rows_streamed: ROWS, rows_max: ROWS, panels: 1, tile };

/// See `Kernels::tile`.
unsafe fn tile(rows: usize, panels: usize, tile: &Tile) {
    for row in 0..rows {
        for panel in 0..panels {
            let inputs = tile.inputs.iter().skip(row).step_by(rows);
            let weights = &tile.weights[panel * tile.blocks..][..tile.blocks];
            // SAFETY: the caller's tile is valid for `rows` × `panels`.
            unsafe { tile.store(row, panel, chains(inputs, weights)) };
        }
    }
}

/// The 16 chains of one row and one panel.
fn chains<'a>(inputs: impl Iterator<Item = &'a InputBlock>, weights: &[WeightBlock]) -> [f32; PANEL] {
    let mut sums = [0.0_f32; PANEL];
    for (input, weight) in inputs.zip(weights) {
        let mut dots = [0; PANEL];
        for (group, weights) in input.groups.iter().zip(&weight.values) {
            let values = group.to_ne_bytes().map(|byte| i32::from(byte as i8));
            for (dot, weights) in dots.iter_mut().zip(weights) {
                for (value, stored) in values.iter().zip(weights) {
                    *dot += value * (i32::from(*stored) - OFFSET);
                }
            }
        }
        for ((sum, dot), scale) in sums.iter_mut().zip(dots).zip(weight.scales) {
            *sum = (scale * input.scale).mul_add(dot as f32, *sum);
        }
    }
    sums
}
