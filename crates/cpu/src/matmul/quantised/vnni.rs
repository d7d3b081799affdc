//! The q8_0 micro-kernels for AVX-512 with 8-bit dot products: 4…6 × 32 and, where the weights stream from memory, 1…8 × 16.
//!
//! Per block of 32, row and panel there are eight dot products, a conversion, a product of scales and a fused
//! multiply-add: on a core with one 512-bit product a cycle at most 8 / 10 of the 8-bit peak.

use super::block::GROUPS;
use super::kernel::{Kernels, Tile};
use crate::buffer::PANEL;
use std::arch::x86_64::{
    __m512, __m512i, _MM_HINT_T1, _mm_prefetch, _mm512_add_ps, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
    _mm512_fmadd_ps, _mm512_load_ps, _mm512_load_si512, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
};

pub(super) const KERNELS: Kernels = Kernels { rows_streamed: 8, rows_max: 6, panels: 2, tile };

/// See `Kernels::tile`.
unsafe fn tile(rows: usize, panels: usize, tile: &Tile) {
    assert!(tile.inputs.len() >= rows * tile.blocks && tile.weights.len() >= panels * tile.blocks);
    // SAFETY: inputs and weights are there, checked above; the rest is the caller's promise.
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
            (4, 2) => kernel::<4, 2>(tile),
            (5, 2) => kernel::<5, 2>(tile),
            (6, 2) => kernel::<6, 2>(tile),
            _ => unreachable!("no micro-kernel of {rows} rows and {panels} panels"),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn kernel<const ROWS: usize, const PANELS: usize>(tile: &Tile) {
    let (mut inputs, mut weights) = (tile.inputs.as_ptr(), tile.weights.as_ptr());
    let mut sums: [[__m512; PANELS]; ROWS] = [[_mm512_setzero_ps(); PANELS]; ROWS];
    // SAFETY: `blocks` steps of ROWS inputs and PANELS weights lie inside the slices; weights are aligned to cache lines.
    unsafe {
        for step in 0..tile.blocks {
            if let Some(ahead) = tile.ahead.get(step).or(tile.ahead.last()) {
                for line in 0..size_of_val(ahead) / 64 {
                    _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(ahead).cast::<i8>().add(64 * line));
                }
            }
            let mut dots = [[_mm512_setzero_si512(); PANELS]; ROWS];
            for (row, dots) in dots.iter_mut().enumerate() {
                *dots = [_mm512_set1_epi32((*inputs.add(row)).start); PANELS];
            }
            for group in 0..GROUPS {
                let mut stored: [__m512i; PANELS] = [_mm512_setzero_si512(); PANELS];
                for (panel, stored) in stored.iter_mut().enumerate() {
                    *stored = _mm512_load_si512((&raw const (*weights.add(panel * tile.blocks)).values[group]).cast());
                }
                for (row, dots) in dots.iter_mut().enumerate() {
                    let four = _mm512_set1_epi32((*inputs.add(row)).groups[group]);
                    for (dot, stored) in dots.iter_mut().zip(stored) {
                        *dot = _mm512_dpbusd_epi32(*dot, stored, four);
                    }
                }
            }
            for panel in 0..PANELS {
                let scales = _mm512_load_ps((*weights.add(panel * tile.blocks)).scales.as_ptr());
                for row in 0..ROWS {
                    let scale = _mm512_mul_ps(scales, _mm512_set1_ps((*inputs.add(row)).scale));
                    sums[row][panel] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dots[row][panel]), sums[row][panel]);
                }
            }
            inputs = inputs.wrapping_add(ROWS);
            weights = weights.wrapping_add(1);
        }
        if let Some(bias) = tile.bias {
            assert!(bias.len() >= PANELS * PANEL);
            for sums in &mut sums {
                for (panel, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_add_ps(*sum, _mm512_loadu_ps(bias.as_ptr().add(panel * PANEL)));
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (panel, sum) in sums.iter().enumerate() {
                if tile.columns >= (panel + 1) * PANEL {
                    _mm512_storeu_ps(tile.out.wrapping_add(row * tile.out_row + panel * PANEL), *sum);
                } else {
                    tile.store_edge(row, panel, &std::mem::transmute::<__m512, [f32; PANEL]>(*sum));
                }
            }
        }
    }
}
