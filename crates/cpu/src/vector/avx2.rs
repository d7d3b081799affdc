//! Sixteen lanes in two AVX2 registers.
//!
//! The methods have no instructions of their own; inlined into a function of `dispatch_vector!` each becomes a few.

use super::{Number, Vector};
use gradus_ops::LANES;
use half::bf16;
#[allow(clippy::wildcard_imports)] // The instructions' names are one family.
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// Lanes 0 to 7 and 8 to 15.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(pub(super) __m256, pub(super) __m256);

macro_rules! operators {
    ($($trait:ident $method:ident $instruction:ident;)+) => {$(
        impl $trait for Avx2 {
            type Output = Avx2;
            #[inline(always)]
            fn $method(self, other: Avx2) -> Avx2 {
                // SAFETY: used only where the instructions are there (`dispatch_vector!`).
                unsafe { Avx2($instruction(self.0, other.0), $instruction(self.1, other.1)) }
            }
        }
    )+};
}

operators! {
    Add add _mm256_add_ps;
    Sub sub _mm256_sub_ps;
    Mul mul _mm256_mul_ps;
    Div div _mm256_div_ps;
}

impl Neg for Avx2 {
    type Output = Avx2;
    #[inline(always)]
    fn neg(self) -> Avx2 {
        // SAFETY: used only where the instructions are there (`dispatch_vector!`).
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            Avx2(_mm256_xor_ps(self.0, sign), _mm256_xor_ps(self.1, sign))
        }
    }
}

impl Number for Avx2 {
    #[inline(always)]
    fn splat(value: f32) -> Avx2 {
        // SAFETY: used only where the instructions are there (`dispatch_vector!`).
        unsafe { Avx2(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }
    #[inline(always)]
    fn fma(self, factor: Avx2, addend: Avx2) -> Avx2 {
        // SAFETY: as above.
        unsafe { Avx2(_mm256_fmadd_ps(self.0, factor.0, addend.0), _mm256_fmadd_ps(self.1, factor.1, addend.1)) }
    }
    #[inline(always)]
    fn larger(self, other: Avx2) -> Avx2 {
        // The instruction gives its second operand where they are equal or one is NaN.
        // SAFETY: as above.
        unsafe { Avx2(_mm256_max_ps(other.0, self.0), _mm256_max_ps(other.1, self.1)) }
    }
    #[inline(always)]
    fn smaller(self, other: Avx2) -> Avx2 {
        // SAFETY: as above; the second operand again.
        unsafe { Avx2(_mm256_min_ps(other.0, self.0), _mm256_min_ps(other.1, self.1)) }
    }
    #[inline(always)]
    fn exponent_from_low_bits(self) -> Avx2 {
        // SAFETY: as above.
        unsafe { Avx2(exponent_from_low_bits(self.0), exponent_from_low_bits(self.1)) }
    }
}

impl Vector for Avx2 {
    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Avx2 {
        // SAFETY: used only where the instructions are there (`dispatch_vector!`); sixteen live numbers.
        unsafe { Avx2(_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))) }
    }
    #[inline(always)]
    fn store(self, x: &mut [f32; LANES]) {
        // SAFETY: as above.
        unsafe {
            _mm256_storeu_ps(x.as_mut_ptr(), self.0);
            _mm256_storeu_ps(x.as_mut_ptr().add(8), self.1);
        }
    }
    #[inline(always)]
    fn load_bf16(x: &[bf16; LANES]) -> Avx2 {
        // SAFETY: as above.
        unsafe { Avx2(widen(x.as_ptr()), widen(x.as_ptr().add(8))) }
    }
    #[inline(always)]
    fn store_bf16(self, x: &mut [bf16; LANES]) {
        // SAFETY: as above.
        unsafe {
            // Packing takes four words of each register in turn; the permutation puts them in order.
            let halves = _mm256_packus_epi32(round(self.0), round(self.1));
            _mm256_storeu_si256(x.as_mut_ptr().cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(halves));
        }
    }
    #[inline(always)]
    fn if_less(a: Avx2, b: Avx2, then: Avx2, otherwise: Avx2) -> Avx2 {
        // SAFETY: as above.
        unsafe {
            let low = _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0);
            let high = _mm256_cmp_ps::<_CMP_LT_OQ>(a.1, b.1);
            Avx2(_mm256_blendv_ps(otherwise.0, then.0, low), _mm256_blendv_ps(otherwise.1, then.1, high))
        }
    }
    #[inline(always)]
    fn fold_sum(self) -> f32 {
        // SAFETY: as above.
        unsafe {
            let eight = _mm256_add_ps(self.0, self.1);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
    #[inline(always)]
    fn fold_max(self) -> f32 {
        // SAFETY: as above.
        unsafe {
            let eight = _mm256_max_ps(self.1, self.0);
            let four = _mm_max_ps(_mm256_extractf128_ps::<1>(eight), _mm256_castps256_ps128(eight));
            let two = _mm_max_ps(_mm_movehl_ps(four, four), four);
            _mm_cvtss_f32(_mm_max_ss(_mm_shuffle_ps::<1>(two, two), two))
        }
    }
}

#[inline(always)]
unsafe fn exponent_from_low_bits(value: __m256) -> __m256 {
    // SAFETY: the caller has the instructions.
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(value))) }
}

/// Eight numbers from `x`.
#[inline(always)]
unsafe fn widen(x: *const bf16) -> __m256 {
    // SAFETY: the caller has the instructions and eight numbers at `x`.
    unsafe {
        let words = _mm256_cvtepu16_epi32(_mm_loadu_si128(x.cast()));
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words))
    }
}

/// The bf16 bits of each lane, in the low half of its word.
#[inline(always)]
unsafe fn round(value: __m256) -> __m256i {
    // SAFETY: the caller has the instructions.
    unsafe {
        let bits = _mm256_castps_si256(value);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let nearest = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
        // A zero exponent is a zero or a denormal, which counts as one: the sign alone stays.
        let exponent = _mm256_and_si256(bits, _mm256_set1_epi32(0x7f80_0000));
        let zero = _mm256_cmpeq_epi32(exponent, _mm256_setzero_si256());
        let flushed = _mm256_blendv_epi8(nearest, _mm256_and_si256(bits, _mm256_set1_epi32(i32::MIN)), zero);
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(value, value));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        _mm256_srli_epi32::<16>(_mm256_blendv_epi8(flushed, quiet, nan))
    }
}
