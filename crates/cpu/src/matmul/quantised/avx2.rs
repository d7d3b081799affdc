//! The q8_0 micro-kernels for AVX2 with FMA: 1…4 rows × one panel.
//!
//! A dot product of signed bytes is |w| · (x with w's sign): `maddubs` sums two products in 16 bits, exact because no
//! magnitude exceeds 127.

use super::block::GROUPS;
use super::kernel::{Kernels, Tile};
use crate::buffer::PANEL;
use std::arch::x86_64::{
    __m256, _MM_HINT_T1, _mm_prefetch, _mm256_abs_epi8, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_fmadd_ps,
    _mm256_load_ps, _mm256_load_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi8,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8,
    _mm256_xor_si256,
};

pub(super) const KERNELS: Kernels = Kernels { rows_streamed: 4, rows_max: 4, panels: 1, tile };

/// Lanes of one register; a panel is two.
const HALF: usize = PANEL / 2;

/// See `Kernels::tile`.
unsafe fn tile(rows: usize, panels: usize, tile: &Tile) {
    assert!(panels == 1 && tile.inputs.len() >= rows * tile.blocks && tile.weights.len() >= tile.blocks);
    // SAFETY: inputs and weights are there, checked above; the rest is the caller's promise.
    unsafe {
        match rows {
            1 => kernel::<1, 2>(tile),
            2 => kernel::<2, 2>(tile),
            3 => kernel::<3, 1>(tile),
            4 => kernel::<4, 1>(tile),
            _ => unreachable!("no micro-kernel of {rows} rows"),
        }
    }
}

/// `HALVES` of the panel at a time: three rows and more would need more than the 16 registers for both.
#[target_feature(enable = "avx2,fma")]
unsafe fn kernel<const ROWS: usize, const HALVES: usize>(tile: &Tile) {
    let mut out = [[0.0_f32; PANEL]; ROWS];
    for first in (0..2).step_by(HALVES) {
        // SAFETY: as the caller promises.
        let sums: [[__m256; HALVES]; ROWS] = unsafe { chains(tile, first) };
        for (out, sums) in out.iter_mut().zip(&sums) {
            for (out, sums) in out[first * HALF..].as_chunks_mut::<HALF>().0.iter_mut().zip(sums) {
                // SAFETY: eight floats either way.
                *out = unsafe { std::mem::transmute::<__m256, [f32; HALF]>(*sums) };
            }
        }
    }
    for (row, sums) in out.into_iter().enumerate() {
        // SAFETY: as the caller promises.
        unsafe { tile.store(row, 0, sums) };
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn chains<const ROWS: usize, const HALVES: usize>(tile: &Tile, first: usize) -> [[__m256; HALVES]; ROWS] {
    let (ones, offset) = (_mm256_set1_epi16(1), _mm256_set1_epi8(i8::MIN));
    let mut sums = [[_mm256_setzero_ps(); HALVES]; ROWS];
    let (mut inputs, mut weights) = (tile.inputs.as_ptr(), tile.weights.as_ptr());
    // SAFETY: `blocks` steps of ROWS inputs and one weight lie inside the slices; weights are aligned to cache lines.
    unsafe {
        for step in 0..tile.blocks {
            if let Some(ahead) = tile.ahead.get(step).or(tile.ahead.last()) {
                for line in 0..size_of_val(ahead) / 64 {
                    _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(ahead).cast::<i8>().add(64 * line));
                }
            }
            let mut dots = [[_mm256_setzero_si256(); HALVES]; ROWS];
            for group in 0..GROUPS {
                for half in 0..HALVES {
                    let stored = &raw const (*weights).values[group][(first + half) * HALF];
                    let stored = _mm256_xor_si256(_mm256_load_si256(stored.cast()), offset);
                    let magnitudes = _mm256_abs_epi8(stored);
                    for row in 0..ROWS {
                        let signed = _mm256_sign_epi8(_mm256_set1_epi32((*inputs.add(row)).groups[group]), stored);
                        let pairs = _mm256_maddubs_epi16(magnitudes, signed);
                        dots[row][half] = _mm256_add_epi32(dots[row][half], _mm256_madd_epi16(pairs, ones));
                    }
                }
            }
            for half in 0..HALVES {
                let scales = _mm256_load_ps((*weights).scales.as_ptr().add((first + half) * HALF));
                for row in 0..ROWS {
                    let scale = _mm256_mul_ps(scales, _mm256_set1_ps((*inputs.add(row)).scale));
                    sums[row][half] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(dots[row][half]), sums[row][half]);
                }
            }
            inputs = inputs.wrapping_add(ROWS);
            weights = weights.wrapping_add(1);
        }
    }
    sums
}
