//! The micro-kernel in plain Rust: the reference the other levels must equal bit for bit.

use super::kernel::{Accumulate, Kernels, Square, Tile, WIDTH};

pub(super) const KERNELS: Kernels =
    Kernels { rows_max: 6, panels_at_once: |_| 1, floats: tile, pairs: None, transpose, interleave: None };

/// See `Kernels::floats`.
unsafe fn tile(rows: usize, panels: usize, tile: &Tile) {
    for row in 0..rows {
        for panel in 0..panels {
            // SAFETY: the caller's tile is valid for `rows` × `panels`.
            unsafe { chains(tile, rows, row, panel) };
        }
    }
}

/// The 16 chains of one row and one panel.
unsafe fn chains(tile: &Tile, rows: usize, row: usize, panel: usize) {
    // SAFETY: row and panel lie inside the tile, whose addresses the caller vouches for.
    let (a, b, out) = unsafe {
        let out = tile.out.add(row * tile.out_row + panel * tile.out_panel).cast::<[f32; WIDTH]>();
        (tile.a.add(row).cast::<f32>(), tile.b.add(panel * tile.b_panel), &mut *out)
    };
    let mut sums = if tile.accumulate == Accumulate::Continue { *out } else { [0.0; WIDTH] };
    for step in 0..tile.steps {
        // SAFETY: step is below the tile's number of steps.
        let (x, weights) = unsafe { (*a.add(step * rows), &*b.add(step * WIDTH).cast::<[f32; WIDTH]>()) };
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum = x.mul_add(*weight, *sum);
        }
        if tile.accumulate == Accumulate::AddPartials && ((step + 1) % tile.block == 0 || step + 1 == tile.steps) {
            for (out, sum) in out.iter_mut().zip(sums) {
                *out += sum;
            }
            sums = [0.0; WIDTH];
        }
    }
    if tile.accumulate == Accumulate::AddPartials {
        return;
    }
    if !tile.bias.is_null() {
        // SAFETY: a bias that is there has one value a column.
        let bias = unsafe { &*tile.bias.add(panel * WIDTH).cast::<[f32; WIDTH]>() };
        for (sum, bias) in sums.iter_mut().zip(bias) {
            *sum += bias;
        }
    }
    *out = sums;
}

/// See `Kernels::transpose`; safe, but the table holds unsafe functions of other levels too.
unsafe fn transpose(src: &Square, dst: &mut Square) {
    for (row, values) in src.as_chunks::<WIDTH>().0.iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            dst[column * WIDTH + row] = *value;
        }
    }
}
