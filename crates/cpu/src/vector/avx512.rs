//! Sixteen lanes in one AVX-512 register, with or without the instruction that rounds to bf16.
//!
//! The methods have no instructions of their own; inlined into a function of `dispatch_vector!` each becomes one or a few.

use super::{Avx2, Number, Vector};
use gradus_ops::LANES;
use half::bf16;
#[allow(clippy::wildcard_imports)] // The instructions' names are one family.
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

#[derive(Clone, Copy)]
pub(crate) struct Avx512<const ROUNDS_BF16: bool>(__m512);

macro_rules! operators {
    ($($trait:ident $method:ident $instruction:ident;)+) => {$(
        impl<const ROUNDS_BF16: bool> $trait for Avx512<ROUNDS_BF16> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: used only where the instructions are there (`dispatch_vector!`).
                unsafe { Avx512($instruction(self.0, other.0)) }
            }
        }
    )+};
}

operators! {
    Add add _mm512_add_ps;
    Sub sub _mm512_sub_ps;
    Mul mul _mm512_mul_ps;
    Div div _mm512_div_ps;
}

impl<const ROUNDS_BF16: bool> Neg for Avx512<ROUNDS_BF16> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        // SAFETY: used only where the instructions are there (`dispatch_vector!`).
        unsafe { Avx512(_mm512_xor_ps(self.0, _mm512_set1_ps(-0.0))) }
    }
}

impl<const ROUNDS_BF16: bool> Number for Avx512<ROUNDS_BF16> {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: used only where the instructions are there (`dispatch_vector!`).
        unsafe { Avx512(_mm512_set1_ps(value)) }
    }
    #[inline(always)]
    fn fma(self, factor: Self, addend: Self) -> Self {
        // SAFETY: as above.
        unsafe { Avx512(_mm512_fmadd_ps(self.0, factor.0, addend.0)) }
    }
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        // The instruction gives its second operand where they are equal or one is NaN.
        // SAFETY: as above.
        unsafe { Avx512(_mm512_max_ps(other.0, self.0)) }
    }
    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        // SAFETY: as above; the second operand again.
        unsafe { Avx512(_mm512_min_ps(other.0, self.0)) }
    }
    #[inline(always)]
    fn exponent_from_low_bits(self) -> Self {
        // SAFETY: as above.
        unsafe { Avx512(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(self.0)))) }
    }
}

impl<const ROUNDS_BF16: bool> Vector for Avx512<ROUNDS_BF16> {
    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        // SAFETY: used only where the instructions are there (`dispatch_vector!`); sixteen live numbers.
        unsafe { Avx512(_mm512_loadu_ps(x.as_ptr())) }
    }
    #[inline(always)]
    fn store(self, x: &mut [f32; LANES]) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(x.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn load_bf16(x: &[bf16; LANES]) -> Self {
        // SAFETY: as above.
        unsafe {
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast()));
            Avx512(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(words)))
        }
    }
    #[inline(always)]
    fn store_bf16(self, x: &mut [bf16; LANES]) {
        if ROUNDS_BF16 {
            // SAFETY: as above; the vector is 32 plain bytes.
            unsafe { x.as_mut_ptr().cast::<__m256bh>().write_unaligned(_mm512_cvtneps_pbh(self.0)) };
            return;
        }
        // SAFETY: as above.
        unsafe {
            let bits = _mm512_castps_si512(self.0);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let nearest = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
            // A zero exponent is a zero or a denormal, which counts as one: the sign alone stays.
            let zero = _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(0x7f80_0000));
            let flushed = _mm512_mask_and_epi32(nearest, zero, bits, _mm512_set1_epi32(i32::MIN));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
            let rounded = _mm512_mask_or_epi32(flushed, nan, bits, _mm512_set1_epi32(0x0040_0000));
            let halves = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded));
            _mm256_storeu_si256(x.as_mut_ptr().cast(), halves);
        }
    }
    #[inline(always)]
    fn if_less(a: Self, b: Self, then: Self, otherwise: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a.0, b.0);
            Avx512(_mm512_mask_blend_ps(less, otherwise.0, then.0))
        }
    }
    #[inline(always)]
    fn fold_sum(self) -> f32 {
        self.halves().fold_sum()
    }
    #[inline(always)]
    fn fold_max(self) -> f32 {
        self.halves().fold_max()
    }
}

impl<const ROUNDS_BF16: bool> Avx512<ROUNDS_BF16> {
    #[inline(always)]
    fn halves(self) -> Avx2 {
        // SAFETY: used only where the instructions are there (`dispatch_vector!`).
        unsafe { Avx2(_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0)) }
    }
}
