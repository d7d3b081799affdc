//! The rule of conversion between f32 and bf16, for weights, activations, inputs of
//! matmuls, keys and values.
//!
//! Integer arithmetic, so that the mode of the thread plays no part and loops over it become vector instructions. The
//! bits are those of `vcvtneps2bf16`: nearest even, denormals become zeros of their sign, a NaN stays one.

use half::bf16;

const SIGN: u32 = 0x8000_0000;
const EXPONENT: u32 = 0x7f80_0000;
const QUIET: u32 = 0x0040_0000;
/// The half of an f32's bits that a bf16 keeps.
const KEPT: u32 = 0xffff_0000;

/// The bits of the f32 that equals `value` rounded to bf16.
#[inline(always)]
pub(crate) fn rounded_bits(value: f32) -> u32 {
    let bits = value.to_bits();
    let magnitude = bits & !SIGN;
    // A NaN never reaches the carry into its sign, because its own arm is chosen.
    let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let normal = if magnitude > EXPONENT { bits | QUIET } else { nearest };
    (if magnitude & EXPONENT == 0 { bits & SIGN } else { normal }) & KEPT
}

/// `value` rounded to bf16, as an f32.
#[inline(always)]
pub(crate) fn rounded(value: f32) -> f32 {
    f32::from_bits(rounded_bits(value))
}

#[inline(always)]
pub(crate) fn from_f32(value: f32) -> bf16 {
    bf16::from_bits((rounded_bits(value) >> 16) as u16)
}

/// Exact.
#[inline(always)]
pub(crate) fn to_f32(value: bf16) -> f32 {
    f32::from_bits(u32::from(value.to_bits()) << 16)
}

/// Two neighbours along a reduction in one word, as the dot-product instruction reads them: the even one in the low half.
#[inline(always)]
pub(crate) fn pair(even: f32, odd: f32) -> u32 {
    (rounded_bits(even) >> 16) | rounded_bits(odd)
}

/// The even element of a pair.
#[inline(always)]
pub(crate) fn even(pair: u32) -> f32 {
    f32::from_bits(pair << 16)
}

/// The odd element of a pair.
#[inline(always)]
pub(crate) fn odd(pair: u32) -> f32 {
    f32::from_bits(pair & KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nearest bf16 by comparing distances in f64, ties to the even mantissa.
    fn nearest(value: f32) -> u32 {
        let below = value.to_bits() & KEPT;
        let above = below + 0x1_0000;
        let distance = |bits: u32| {
            // Beyond the largest bf16 lies 2^128, where infinity stands.
            let magnitude =
                if bits & EXPONENT == EXPONENT { 2.0_f64.powi(128) } else { f64::from(f32::from_bits(bits)).abs() };
            (magnitude - f64::from(value).abs()).abs()
        };
        match distance(below).total_cmp(&distance(above)) {
            std::cmp::Ordering::Less => below,
            std::cmp::Ordering::Equal if below & 0x1_0000 == 0 => below,
            std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => above,
        }
    }

    #[test]
    fn rounds_to_the_nearest_even() {
        let patterns = (0..=0xff_u32).flat_map(|exponent| {
            let mantissas =
                [0, 1, 0x7fff, 0x8000, 0x8001, 0x1_7fff, 0x1_8000, 0x1_8001, 0x7f_7fff, 0x7f_8000, 0x7f_ffff];
            mantissas.map(|mantissa| (exponent << 23) | mantissa)
        });
        for bits in patterns.flat_map(|bits| [bits, bits | SIGN]) {
            let (value, found) = (f32::from_bits(bits), rounded_bits(f32::from_bits(bits)));
            if value.is_nan() {
                assert!(rounded(value).is_nan());
            } else if value.is_infinite() {
                assert_eq!(found, bits);
            } else if value == 0.0 || value.is_subnormal() {
                assert_eq!(found, bits & SIGN, "{bits:#x}");
            } else {
                assert_eq!(found, nearest(value), "{bits:#x}");
            }
            assert_eq!(to_f32(from_f32(value)).to_bits(), found);
        }
    }

    #[test]
    fn a_pair_gives_its_elements_back() {
        let word = pair(1.5, -2.25);
        assert_eq!((even(word), odd(word)), (1.5, -2.25));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn equals_the_instruction() {
        #[target_feature(enable = "avx512f,avx512bf16")]
        fn instruction(values: [f32; 16]) -> [u16; 16] {
            use std::arch::x86_64::{_mm512_cvtneps_pbh, _mm512_loadu_ps};
            // SAFETY: 16 live values; both types are 32 plain bytes.
            unsafe { std::mem::transmute(_mm512_cvtneps_pbh(_mm512_loadu_ps(values.as_ptr()))) }
        }
        if !crate::Level::Avx512Bf16.is_available() {
            return;
        }
        // Every 251st pattern meets all exponents, signs and ways to round.
        for first in (0..=u32::MAX - 16 * 251).step_by(16 * 251 * 7) {
            let values: [f32; 16] = std::array::from_fn(|lane| f32::from_bits(first + 251 * lane as u32));
            // SAFETY: the machine has the level.
            let expected = unsafe { instruction(values) };
            assert_eq!(values.map(|value| from_f32(value).to_bits()), expected, "from {first:#x}");
        }
    }
}
