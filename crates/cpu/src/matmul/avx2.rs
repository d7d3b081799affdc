//! The micro-kernels for AVX2 with FMA: 6 × 16 and 1…5 × 16, few rows over several panels at once.
//!
//! 6 × 16 keeps 12 accumulators of 8 lanes, two panel vectors and one broadcast in the 16 registers; twelve
//! independent chains hide the latency of the fused multiply-add.

use super::kernel::{Accumulate, Tile, WIDTH, panels_at_once};
use std::arch::x86_64::{
    __m256, _MM_HINT_T0, _mm_prefetch, _mm256_add_ps, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_setzero_ps, _mm256_storeu_ps,
};

pub(super) const TILE_ROWS: usize = 6;
/// Lanes of one register; a panel is two.
const HALF: usize = WIDTH / 2;
/// How far ahead of its use a single row's weights are asked for: they come from memory, and each is used once.
const PREFETCH_STEPS: usize = 32;

/// See `Kernels::tile`.
pub(super) unsafe fn tile(rows: usize, panels: usize, tile: &Tile) {
    // SAFETY: the caller has checked that the machine has AVX2 and FMA and that the tile is valid.
    unsafe {
        match (rows, panels) {
            (1, 4) => kernel::<1, { panels_at_once(1) }>(tile),
            (2, 2) => kernel::<2, { panels_at_once(2) }>(tile),
            (3, 2) => kernel::<3, { panels_at_once(3) }>(tile),
            (1, 1) => kernel::<1, 1>(tile),
            (2, 1) => kernel::<2, 1>(tile),
            (3, 1) => kernel::<3, 1>(tile),
            (4, 1) => kernel::<4, 1>(tile),
            (5, 1) => kernel::<5, 1>(tile),
            (6, 1) => kernel::<6, 1>(tile),
            _ => unreachable!("no micro-kernel of {rows} rows and {panels} panels"),
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn kernel<const ROWS: usize, const PANELS: usize>(tile: &Tile) {
    let mut sums = [[[_mm256_setzero_ps(); 2]; PANELS]; ROWS];
    // SAFETY: rows, panels and steps lie inside the tile, whose addresses the caller vouches for; a prefetch may name
    // any address.
    unsafe {
        let out =
            |row: usize, panel: usize, half: usize| tile.out.add(row * tile.out_row + panel * WIDTH + half * HALF);
        if tile.accumulate == Accumulate::Continue {
            each::<ROWS, PANELS>(&mut sums, |sum, row, panel, half| *sum = _mm256_loadu_ps(out(row, panel, half)));
        }
        let (mut a, mut b) = (tile.a, tile.b);
        for _ in 0..tile.steps {
            let mut weights = [[_mm256_setzero_ps(); 2]; PANELS];
            for panel in 0..PANELS {
                let b = b.add(panel * tile.b_panel);
                weights[panel] = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(HALF))];
                if PANELS > 1 {
                    _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(PREFETCH_STEPS * WIDTH).cast());
                }
            }
            for row in 0..ROWS {
                let x = _mm256_broadcast_ss(&*a.add(row * tile.a_row));
                for panel in 0..PANELS {
                    for half in 0..2 {
                        sums[row][panel][half] = _mm256_fmadd_ps(x, weights[panel][half], sums[row][panel][half]);
                    }
                }
            }
            a = a.wrapping_add(tile.a_step);
            b = b.wrapping_add(WIDTH);
        }
        if !tile.bias.is_null() {
            each::<ROWS, PANELS>(&mut sums, |sum, _, panel, half| {
                *sum = _mm256_add_ps(*sum, _mm256_loadu_ps(tile.bias.add(panel * WIDTH + half * HALF)));
            });
        }
        if tile.accumulate == Accumulate::AddPartial {
            each::<ROWS, PANELS>(&mut sums, |sum, row, panel, half| {
                *sum = _mm256_add_ps(_mm256_loadu_ps(out(row, panel, half)), *sum);
            });
        }
        each::<ROWS, PANELS>(&mut sums, |sum, row, panel, half| _mm256_storeu_ps(out(row, panel, half), *sum));
    }
}

/// Every register of the micro-tile in turn.
#[inline(always)]
fn each<const ROWS: usize, const PANELS: usize>(
    sums: &mut [[[__m256; 2]; PANELS]; ROWS],
    mut visit: impl FnMut(&mut __m256, usize, usize, usize),
) {
    for (row, sums) in sums.iter_mut().enumerate() {
        for (panel, sums) in sums.iter_mut().enumerate() {
            for (half, sum) in sums.iter_mut().enumerate() {
                visit(sum, row, panel, half);
            }
        }
    }
}
