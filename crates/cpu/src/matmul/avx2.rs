//! The micro-kernels for AVX2 with FMA: 6 × 16 and 1…5 × 16, few rows over several panels at once.
//!
//! 6 × 16 keeps 12 accumulators of 8 lanes, two panel vectors and one broadcast in the 16 registers; twelve
//! independent chains hide the latency of the fused multiply-add.

use super::kernel::{Accumulate, Kernels, Square, Tile, WIDTH};
use std::arch::x86_64::{
    __m256, _MM_HINT_T0, _mm_prefetch, _mm256_add_ps, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_permute2f128_ps, _mm256_setzero_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps,
    _mm256_unpacklo_ps,
};

pub(super) const KERNELS: Kernels =
    Kernels { rows_max: 6, panels_at_once, floats: tile, pairs: None, transpose, interleave: None };

const fn panels_at_once(rows: usize) -> usize {
    match rows {
        1 => 4,
        2 => 2,
        _ => 1,
    }
}

/// Lanes of one register; a panel is two.
const HALF: usize = WIDTH / 2;
/// How far ahead of its use a single row's weights are asked for: they come from memory, and each is used once.
const PREFETCH_STEPS: usize = 32;

/// See `Kernels::floats`.
unsafe fn tile(rows: usize, panels: usize, tile: &Tile) {
    // SAFETY: the caller has checked that the machine has AVX2 and FMA and that the tile is valid.
    unsafe {
        match (rows, panels) {
            (1, 4) => kernel::<1, { panels_at_once(1) }>(tile),
            (2, 2) => kernel::<2, { panels_at_once(2) }>(tile),
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
        let out = |row: usize, panel: usize, half: usize| {
            tile.out.wrapping_add(
                row.wrapping_mul(tile.out_row).wrapping_add(panel.wrapping_mul(tile.out_panel)) + half * HALF,
            )
        };
        if tile.accumulate == Accumulate::Continue {
            each::<ROWS, PANELS>(&mut sums, |sum, row, panel, half| *sum = _mm256_loadu_ps(out(row, panel, half)));
        }
        let (mut a, mut b) = (tile.a.cast::<f32>(), tile.b.cast::<f32>());
        prefetch_rows::<ROWS>(tile.next_out, tile.out_row);
        let (partials, mut left) = (tile.accumulate == Accumulate::AddPartials, tile.steps);
        loop {
            let steps = if partials { left.min(tile.block) } else { left };
            for _ in 0..steps {
                let mut weights = [[_mm256_setzero_ps(); 2]; PANELS];
                for panel in 0..PANELS {
                    let b = b.add(panel * tile.b_panel);
                    weights[panel] = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(HALF))];
                    if PANELS > 1 {
                        _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(PREFETCH_STEPS * WIDTH).cast());
                    }
                }
                for row in 0..ROWS {
                    let x = _mm256_broadcast_ss(&*a.add(row));
                    for panel in 0..PANELS {
                        for half in 0..2 {
                            sums[row][panel][half] = _mm256_fmadd_ps(x, weights[panel][half], sums[row][panel][half]);
                        }
                    }
                }
                a = a.wrapping_add(ROWS);
                b = b.wrapping_add(WIDTH);
            }
            left -= steps;
            if !partials {
                break;
            }
            each::<ROWS, PANELS>(&mut sums, |sum, row, panel, half| {
                let out = out(row, panel, half);
                _mm256_storeu_ps(out, _mm256_add_ps(_mm256_loadu_ps(out), *sum));
                *sum = _mm256_setzero_ps();
            });
            if left == 0 {
                return;
            }
        }
        if !tile.bias.is_null() {
            each::<ROWS, PANELS>(&mut sums, |sum, _, panel, half| {
                *sum = _mm256_add_ps(*sum, _mm256_loadu_ps(tile.bias.add(panel * WIDTH + half * HALF)));
            });
        }
        each::<ROWS, PANELS>(&mut sums, |sum, row, panel, half| _mm256_storeu_ps(out(row, panel, half), *sum));
    }
}

/// Asks for the output rows of the next micro-tile: their lines lie far apart, where the hardware does not look ahead.
#[inline(always)]
unsafe fn prefetch_rows<const ROWS: usize>(out: *const f32, out_row: usize) {
    for row in 0..ROWS {
        let first = out.wrapping_add(row * out_row);
        // SAFETY: a prefetch may name any address.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(first.cast());
            _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(WIDTH - 1).cast());
        }
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

/// See `Kernels::transpose`: four squares of 8 × 8.
#[target_feature(enable = "avx2,fma")]
unsafe fn transpose(src: &Square, dst: &mut Square) {
    for row in [0, HALF] {
        for column in [0, HALF] {
            let mut rows = [_mm256_setzero_ps(); HALF];
            for (index, values) in rows.iter_mut().enumerate() {
                let from = &src[(row + index) * WIDTH + column..][..HALF];
                // SAFETY: eight elements of the source.
                *values = unsafe { _mm256_loadu_ps(from.as_ptr().cast()) };
            }
            for (index, values) in transpose_8(rows).into_iter().enumerate() {
                let to = &mut dst[(column + index) * WIDTH + row..][..HALF];
                // SAFETY: eight elements of the destination.
                unsafe { _mm256_storeu_ps(to.as_mut_ptr().cast(), values) };
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn transpose_8(r: [__m256; HALF]) -> [__m256; HALF] {
    // Pairs of rows interleaved, then quadruples: each 128-bit half then holds four elements of one column.
    let pairs = [0, 2, 4, 6].map(|i| (_mm256_unpacklo_ps(r[i], r[i + 1]), _mm256_unpackhi_ps(r[i], r[i + 1])));
    let fours = |a: (__m256, __m256), b: (__m256, __m256)| {
        [
            _mm256_shuffle_ps::<0x44>(a.0, b.0),
            _mm256_shuffle_ps::<0xee>(a.0, b.0),
            _mm256_shuffle_ps::<0x44>(a.1, b.1),
            _mm256_shuffle_ps::<0xee>(a.1, b.1),
        ]
    };
    let (low, high) = (fours(pairs[0], pairs[1]), fours(pairs[2], pairs[3]));
    let mut columns = r;
    for i in 0..4 {
        columns[i] = _mm256_permute2f128_ps::<0x20>(low[i], high[i]);
        columns[i + 4] = _mm256_permute2f128_ps::<0x31>(low[i], high[i]);
    }
    columns
}
