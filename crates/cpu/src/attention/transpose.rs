//! Copies of head rows into pages: in order, or transposed so that 16 tokens lie side by side.

#[cfg(target_arch = "x86_64")]
use super::registers::Register;
use super::registers::Stored;
use crate::level::{Level, dispatch};
use gradus_ops::PAGE_TOKENS;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, _mm256_permute2f128_ps, _mm256_setzero_ps, _mm256_shuffle_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

/// Rows and columns of the squares that are transposed in registers.
#[cfg(target_arch = "x86_64")]
const SQUARE: usize = 8;

dispatch! {
    /// `to[token * head_dim + i]` = `from[token * row + i]`, widened, for the first `tokens` tokens of a page; the others are left.
    pub(super) fn copy_page<E: Stored>(from: &[E], row: usize, tokens: usize, to: &mut [f32]) = copy_page_body;
}

#[inline(always)]
fn copy_page_body<E: Stored>(from: &[E], row: usize, tokens: usize, to: &mut [f32]) {
    let head_dim = to.len() / PAGE_TOKENS;
    for (token, to) in to.chunks_exact_mut(head_dim).enumerate().take(tokens) {
        for (to, from) in to.iter_mut().zip(&from[token * row..][..head_dim]) {
            *to = from.to_f32();
        }
    }
}

/// `to[i * 16 + token]` = `from[token * row + i]`, widened, for the first `tokens` tokens of a page; the others are 0.
/// `to` is `[head_dim][16]`, head_dim a multiple of 8.
pub(super) fn transpose_page<E: Stored>(level: Level, from: &[E], row: usize, tokens: usize, to: &mut [f32]) {
    let head_dim = to.len() / PAGE_TOKENS;
    assert!(tokens <= PAGE_TOKENS && head_dim.is_multiple_of(8), "{tokens} tokens of {head_dim} elements are no page");
    assert!(tokens == 0 || (tokens - 1) * row + head_dim <= from.len(), "the rows are too short");
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a backend is made only with a level that this machine has; the assertions cover every address.
        Level::Avx2 | Level::Avx512 | Level::Avx512Vnni | Level::Avx512Bf16 => unsafe {
            transpose_page_avx2(from.as_ptr(), row, tokens, head_dim, to.as_mut_ptr());
        },
        _ => {
            for (i, to) in to.chunks_exact_mut(PAGE_TOKENS).enumerate() {
                for (token, to) in to.iter_mut().enumerate() {
                    *to = if token < tokens { from[token * row + i].to_f32() } else { 0.0 };
                }
            }
        }
    }
}

/// # Safety
/// The assertions of `transpose_page` hold, and the machine has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn transpose_page_avx2<E: Stored>(from: *const E, row: usize, tokens: usize, head_dim: usize, to: *mut f32) {
    // Rows before columns: each row is read to its end while its lines are in the cache.
    for first in [0, SQUARE] {
        for column in (0..head_dim).step_by(SQUARE) {
            let mut square = [_mm256_setzero_ps(); SQUARE];
            for (token, square) in (first..tokens).zip(&mut square) {
                // SAFETY: eight elements of a row that is there.
                *square = unsafe { E::register(from.add(token * row + column)) };
            }
            for (i, lanes) in transposed(square).into_iter().enumerate() {
                // SAFETY: half a column of the page.
                unsafe { lanes.store(to.add((column + i) * PAGE_TOKENS + first)) };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn transposed(rows: [__m256; SQUARE]) -> [__m256; SQUARE] {
    let [a, b, c, d, e, f, g, h] = rows;
    let fours = |a: __m256, b: __m256, c: __m256, d: __m256| {
        let (low, high) = (
            [_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d)],
            [_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d)],
        );
        [
            _mm256_shuffle_ps::<0x44>(low[0], low[1]),
            _mm256_shuffle_ps::<0xee>(low[0], low[1]),
            _mm256_shuffle_ps::<0x44>(high[0], high[1]),
            _mm256_shuffle_ps::<0xee>(high[0], high[1]),
        ]
    };
    // Columns 0 to 3 in the low halves, 4 to 7 in the high ones, of the first four rows and of the last four.
    let (top, bottom) = (fours(a, b, c, d), fours(e, f, g, h));
    let mut columns = [_mm256_setzero_ps(); SQUARE];
    for i in 0..4 {
        columns[i] = _mm256_permute2f128_ps::<0x20>(top[i], bottom[i]);
        columns[i + 4] = _mm256_permute2f128_ps::<0x31>(top[i], bottom[i]);
    }
    columns
}
