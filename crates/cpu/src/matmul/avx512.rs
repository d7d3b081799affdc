//! The micro-kernels for AVX-512, in f32 and, where the level has the instruction, in pairs of bf16: 7…14 × 32 and 1…6
//! × 64.
//!
//! 14 × 32 keeps 28 accumulators of 16 lanes, two panel vectors and one broadcast in the 32 registers.

use super::kernel::{Accumulate, HalfSquare, InputRows, Kernels, PairKernels, ROWS_MAX, Square, Tile, WIDTH};
use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_add_epi8, _mm512_add_ps, _mm512_castps_si512,
    _mm512_castsi512_ps, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_mask_storeu_epi32, _mm512_set1_epi64, _mm512_set1_ps, _mm512_set4_epi64, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_storeu_ps, _mm512_storeu_si512,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

pub(super) const KERNELS: Kernels = Kernels {
    rows_max: ROWS_MAX,
    panels_at_once,
    floats: floats::tile,
    pairs: None,
    transpose,
    interleave: Some(interleave),
};
pub(super) const KERNELS_OF_PAIRS: Kernels = Kernels { pairs: Some(PAIRS), ..KERNELS };

const PAIRS: PairKernels =
    PairKernels { compute: pairs::tile, transpose: transpose_pairs, interleave: interleave_rounded };

/// How far ahead of their use weights are asked for.
const PREFETCH_STEPS: usize = 32;

const fn panels_at_once(rows: usize) -> usize {
    if rows < 7 { 4 } else { 2 }
}

/// The kernels of one kind of words: `$multiply_add(sums, x, weights)` is one step of 16 chains.
macro_rules! micro_kernels {
    ($name:ident, $features:literal, $multiply_add:path) => {
        mod $name {
            use super::*;

            /// See `Kernels::floats` and `Kernels::pairs`.
            pub(super) unsafe fn tile(rows: usize, panels: usize, tile: &Tile) {
                // SAFETY: the caller has checked that the machine has the level and that the tile is valid.
                unsafe {
                    match (rows, panels) {
                        (1, 1) => kernel::<1, 1>(tile),
                        (2, 1) => kernel::<2, 1>(tile),
                        (3, 1) => kernel::<3, 1>(tile),
                        (4, 1) => kernel::<4, 1>(tile),
                        (5, 1) => kernel::<5, 1>(tile),
                        (6, 1) => kernel::<6, 1>(tile),
                        (7, 1) => kernel::<7, 1>(tile),
                        (8, 1) => kernel::<8, 1>(tile),
                        (9, 1) => kernel::<9, 1>(tile),
                        (10, 1) => kernel::<10, 1>(tile),
                        (11, 1) => kernel::<11, 1>(tile),
                        (12, 1) => kernel::<12, 1>(tile),
                        (13, 1) => kernel::<13, 1>(tile),
                        (14, 1) => kernel::<14, 1>(tile),
                        (1, 4) => kernel::<1, 4>(tile),
                        (2, 4) => kernel::<2, 4>(tile),
                        (3, 4) => kernel::<3, 4>(tile),
                        (4, 4) => kernel::<4, 4>(tile),
                        (5, 4) => kernel::<5, 4>(tile),
                        (6, 4) => kernel::<6, 4>(tile),
                        (7, 2) => kernel::<7, 2>(tile),
                        (8, 2) => kernel::<8, 2>(tile),
                        (9, 2) => kernel::<9, 2>(tile),
                        (10, 2) => kernel::<10, 2>(tile),
                        (11, 2) => kernel::<11, 2>(tile),
                        (12, 2) => kernel::<12, 2>(tile),
                        (13, 2) => kernel::<13, 2>(tile),
                        (14, 2) => kernel::<14, 2>(tile),
                        _ => unreachable!("no micro-kernel of {rows} rows and {panels} panels"),
                    }
                }
            }

            #[target_feature(enable = $features)]
            unsafe fn kernel<const ROWS: usize, const PANELS: usize>(tile: &Tile) {
                let mut sums = [[_mm512_setzero_ps(); PANELS]; ROWS];
                let offset = |row: usize, panel: usize| {
                    row.wrapping_mul(tile.out_row).wrapping_add(panel.wrapping_mul(tile.out_panel))
                };
                // SAFETY: rows, panels and steps lie inside the tile, whose addresses the caller vouches for; a
                // prefetch may name any address.
                unsafe {
                    if tile.accumulate == Accumulate::Continue {
                        for row in 0..ROWS {
                            for panel in 0..PANELS {
                                sums[row][panel] = _mm512_loadu_ps(tile.out.wrapping_add(offset(row, panel)));
                            }
                        }
                    }
                    // The output of the next micro-tile: its lines lie far apart, where the hardware does not look
                    // ahead.
                    for row in 0..ROWS {
                        for panel in 0..PANELS {
                            _mm_prefetch::<_MM_HINT_T0>(tile.next_out.wrapping_add(offset(row, panel)).cast());
                        }
                    }
                    let (mut a, mut b) = (tile.a.cast::<f32>(), tile.b.cast::<f32>());
                    let (partials, mut left) = (tile.accumulate == Accumulate::AddPartials, tile.steps);
                    loop {
                        let steps = if partials { left.min(tile.block) } else { left };
                        for _ in 0..steps {
                            let mut weights = [_mm512_setzero_ps(); PANELS];
                            for panel in 0..PANELS {
                                let b = b.add(panel * tile.b_panel);
                                weights[panel] = _mm512_loadu_ps(b);
                                // A single panel is one stream of lines, which the hardware fetches better alone.
                                if PANELS > 1 {
                                    _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(PREFETCH_STEPS * WIDTH).cast());
                                }
                            }
                            for row in 0..ROWS {
                                let x = _mm512_set1_ps(*a.add(row));
                                for panel in 0..PANELS {
                                    sums[row][panel] = $multiply_add(sums[row][panel], x, weights[panel]);
                                }
                            }
                            a = a.wrapping_add(ROWS);
                            b = b.wrapping_add(WIDTH);
                        }
                        left -= steps;
                        if !partials {
                            break;
                        }
                        for row in 0..ROWS {
                            for panel in 0..PANELS {
                                let out = tile.out.wrapping_add(offset(row, panel));
                                _mm512_storeu_ps(out, _mm512_add_ps(_mm512_loadu_ps(out), sums[row][panel]));
                                sums[row][panel] = _mm512_setzero_ps();
                            }
                        }
                        if left == 0 {
                            return;
                        }
                    }
                    for row in 0..ROWS {
                        for panel in 0..PANELS {
                            let mut sum = sums[row][panel];
                            if !tile.bias.is_null() {
                                sum = _mm512_add_ps(sum, _mm512_loadu_ps(tile.bias.add(panel * WIDTH)));
                            }
                            _mm512_storeu_ps(tile.out.wrapping_add(offset(row, panel)), sum);
                        }
                    }
                }
            }
        }
    };
}

micro_kernels!(floats, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", super::one);
micro_kernels!(pairs, "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma", super::two);

#[inline]
#[target_feature(enable = "avx512f")]
fn one(sums: __m512, x: __m512, weights: __m512) -> __m512 {
    _mm512_fmadd_ps(x, weights, sums)
}

/// sums + odd · odd, then + even · even.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn two(sums: __m512, x: __m512, weights: __m512) -> __m512 {
    // SAFETY: 64 bytes of one register either way.
    let pairs = |words: __m512| unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_castps_si512(words)) };
    _mm512_dpbf16_ps(sums, pairs(x), pairs(weights))
}

/// See `Kernels::transpose`.
#[target_feature(enable = "avx512f")]
unsafe fn transpose(src: &Square, dst: &mut Square) {
    let mut rows = [_mm512_setzero_si512(); WIDTH];
    for (row, values) in rows.iter_mut().zip(src.as_chunks::<WIDTH>().0) {
        // SAFETY: sixteen words of the source.
        *row = unsafe { _mm512_loadu_si512(values.as_ptr().cast()) };
    }
    for (column, values) in transpose_16(rows).into_iter().zip(dst.as_chunks_mut::<WIDTH>().0) {
        // SAFETY: sixteen words of the destination.
        unsafe { _mm512_storeu_si512(values.as_mut_ptr().cast(), column) };
    }
}

/// See `Kernels::interleave`.
#[target_feature(enable = "avx512f")]
unsafe fn interleave(rows: InputRows, dst: *mut u32) {
    // SAFETY: 64 bytes of each row, as the caller promises.
    let words = input_rows(rows, |row| unsafe { _mm512_loadu_si512(row.cast()) });
    // SAFETY: as the caller promises.
    unsafe { store_steps(words, rows, dst) }
}

/// See `PairKernels::interleave`.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn interleave_rounded(rows: InputRows, dst: *mut u32) {
    let words = input_rows(rows, |row| {
        // SAFETY: 32 elements of each row, as the caller promises; 64 bytes of one register either way.
        unsafe {
            let (low, high) = (_mm512_loadu_si512(row.cast()), _mm512_loadu_si512(row.wrapping_add(64).cast()));
            std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(
                _mm512_castsi512_ps(high),
                _mm512_castsi512_ps(low),
            ))
        }
    });
    // SAFETY: as the caller promises.
    unsafe { store_steps(words, rows, dst) }
}

/// The words of sixteen rows, the last one repeated; the rows of the next tile are asked for.
#[inline]
#[target_feature(enable = "avx512f")]
fn input_rows(rows: InputRows, load: impl Fn(*const u8) -> __m512i) -> [__m512i; WIDTH] {
    let mut words = [_mm512_setzero_si512(); WIDTH];
    for (index, words) in words.iter_mut().enumerate() {
        let row = rows.first.wrapping_add(index.min(rows.rows - 1) * rows.stride);
        *words = load(row);
        _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(rows.rows * rows.stride).cast());
    }
    words
}

/// Whole vectors, of which each step overwrites what the one before wrote too much.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(clippy::large_types_passed_by_value)] // They are in registers.
unsafe fn store_steps(words: [__m512i; WIDTH], rows: InputRows, dst: *mut u32) {
    let mask = if rows.exact { (1 << rows.rows) - 1 } else { !0 };
    for (step, words) in transpose_16(words).into_iter().enumerate() {
        // SAFETY: the rows of one step, and what the caller gave away after them.
        unsafe {
            let dst = dst.add(step * rows.rows).cast();
            if rows.exact { _mm512_mask_storeu_epi32(dst, mask, words) } else { _mm512_storeu_si512(dst.cast(), words) }
        }
    }
}

/// Pairs of rows interleaved, then quadruples: each 128-bit quarter then holds four elements of one column; then
/// quarters.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(clippy::large_types_passed_by_value)] // They are in registers.
fn transpose_16(r: [__m512i; WIDTH]) -> [__m512i; WIDTH] {
    let mut fours = r;
    for i in (0..WIDTH).step_by(4) {
        let (a, b) = (_mm512_unpacklo_epi32(r[i], r[i + 1]), _mm512_unpackhi_epi32(r[i], r[i + 1]));
        let (c, d) = (_mm512_unpacklo_epi32(r[i + 2], r[i + 3]), _mm512_unpackhi_epi32(r[i + 2], r[i + 3]));
        fours[i] = _mm512_unpacklo_epi64(a, c);
        fours[i + 1] = _mm512_unpackhi_epi64(a, c);
        fours[i + 2] = _mm512_unpacklo_epi64(b, d);
        fours[i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    // fours[4 g + c] holds in quarter q column 4 q + c of rows 4 g to 4 g + 3.
    let mut columns = fours;
    for c in 0..4 {
        let quarters = transpose_quarters([fours[c], fours[4 + c], fours[8 + c], fours[12 + c]]);
        for (q, column) in quarters.into_iter().enumerate() {
            columns[4 * q + c] = column;
        }
    }
    columns
}

/// Quarter j of result i is quarter i of input j.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose_quarters([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let low = [_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0xee>(a, b)];
    let high = [_mm512_shuffle_i32x4::<0x44>(c, d), _mm512_shuffle_i32x4::<0xee>(c, d)];
    [
        _mm512_shuffle_i32x4::<0x88>(low[0], high[0]),
        _mm512_shuffle_i32x4::<0xdd>(low[0], high[0]),
        _mm512_shuffle_i32x4::<0x88>(low[1], high[1]),
        _mm512_shuffle_i32x4::<0xdd>(low[1], high[1]),
    ]
}

/// See `PairKernels::transpose`: two pairs of neighbouring rows become two pairs of neighbouring columns inside each 64
/// bits, which are then transposed as 8 × 8.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn transpose_pairs(src: &HalfSquare, dst: &mut HalfSquare) {
    let order = _mm512_set1_epi64(0x0706_0302_0504_0100);
    // Four times the order of the low 8 bytes and, 8 further, of the high ones.
    let order = _mm512_add_epi8(order, _mm512_set4_epi64(0x0808_0808_0808_0808, 0, 0x0808_0808_0808_0808, 0));
    let mut r = [_mm512_setzero_si512(); WIDTH / 2];
    for (row, values) in r.iter_mut().zip(src.as_chunks::<WIDTH>().0) {
        // SAFETY: sixteen words of the source.
        *row = _mm512_shuffle_epi8(unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }, order);
    }
    let even = [0, 2, 4, 6].map(|i| _mm512_unpacklo_epi64(r[i], r[i + 1]));
    let odd = [0, 2, 4, 6].map(|i| _mm512_unpackhi_epi64(r[i], r[i + 1]));
    let (even, odd) = (transpose_quarters(even), transpose_quarters(odd));
    for (values, steps) in dst.as_chunks_mut::<{ 2 * WIDTH }>().0.iter_mut().zip(even.into_iter().zip(odd)) {
        // SAFETY: sixteen words each.
        unsafe {
            _mm512_storeu_si512(values.as_mut_ptr().cast(), steps.0);
            _mm512_storeu_si512(values[WIDTH..].as_mut_ptr().cast(), steps.1);
        }
    }
}
