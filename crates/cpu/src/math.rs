//! The elementary functions of every op: polynomials without branches, so that loops over them vectorise and every path,
//! whole vector or single number, gives the same bits. Nothing here calls the platform's mathematics library.

use crate::vector::Number;

/// ln 2 in two parts: multiples of the first one by an exponent are exact.
const LN_2_HIGH: f32 = 0.693_145_75;
const LN_2_LOW: f32 = 1.428_606_8e-6;

/// eˣ within 1 ulp, of one number or sixteen; 0 where that is below the smallest normal number, infinity from 88.3763 on
/// (2ⁿ with n = 128); NaN of NaN. In the contract's floating-point mode, which flushes the denormal results.
///
/// x = n·ln 2 + r; a polynomial for eʳ (coefficients of Cephes' expf) times 2ⁿ. Largest and smallest numbers take none of the
/// units that multiply, comparisons do.
#[inline(always)]
pub(crate) fn exp<N: Number>(x: N) -> N {
    /// Here n is −127 and 128: the results are 0 and infinity.
    const LOW: f32 = -88.0;
    const HIGH: f32 = 89.0;
    /// 1.5 · 2²³ + 127: adding it rounds to an integer, and leaves n + 127 in the low bits.
    const SHIFTER: f32 = 12_582_912.0 + 127.0;

    let x = x.larger(N::splat(LOW)).smaller(N::splat(HIGH));
    let shifted = x.fma(N::splat(std::f32::consts::LOG2_E), N::splat(SHIFTER));
    let n = shifted - N::splat(SHIFTER);
    let r = n.fma(N::splat(-LN_2_LOW), n.fma(N::splat(-LN_2_HIGH), x));
    let mut series = N::splat(1.987_569_1e-4);
    series = series.fma(r, N::splat(1.398_199_9e-3));
    series = series.fma(r, N::splat(8.333_452e-3));
    series = series.fma(r, N::splat(4.166_579_6e-2));
    series = series.fma(r, N::splat(0.166_666_66));
    series = series.fma(r, N::splat(0.5));
    let mantissa = series.fma(r * r, r) + N::splat(1.0);
    mantissa * shifted.exponent_from_low_bits()
}

/// ln x within 1 ulp; −inf of zero (and of denormals, which count as zero), NaN of negative numbers.
///
/// x = 2ᵉ·m with m in [√½, √2); a polynomial in m − 1 (coefficients of Cephes' logf).
#[inline(always)]
pub(crate) fn log(x: f32) -> f32 {
    const ROOT_HALF_BITS: u32 = std::f32::consts::FRAC_1_SQRT_2.to_bits();

    let exponent = x.to_bits().wrapping_sub(ROOT_HALF_BITS) as i32 >> 23;
    let f = f32::from_bits(x.to_bits().wrapping_sub((exponent << 23) as u32)) - 1.0;
    let e = exponent as f32;
    let mut series = 7.037_683_6e-2_f32;
    series = series.mul_add(f, -0.115_146_1);
    series = series.mul_add(f, 0.116_769_99);
    series = series.mul_add(f, -0.124_201_41);
    series = series.mul_add(f, 0.142_493_23);
    series = series.mul_add(f, -0.166_680_57);
    series = series.mul_add(f, 0.200_007_15);
    series = series.mul_add(f, -0.249_999_94);
    series = series.mul_add(f, 0.333_333_3);
    let square = f * f;
    let tail = e.mul_add(LN_2_LOW, square.mul_add(-0.5, series * (square * f)));
    let result = e.mul_add(LN_2_HIGH, tail + f);
    let result = if x < f32::MIN_POSITIVE { f32::NEG_INFINITY } else { result };
    let result = if x < 0.0 { f32::NAN } else { result };
    if x < f32::INFINITY { result } else { x }
}

/// 1 / (1 + e⁻ˣ)
#[inline(always)]
pub(crate) fn sigmoid<N: Number>(x: N) -> N {
    N::splat(1.0) / (N::splat(1.0) + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floating_point::ContractMode;

    /// Distance in units of the last place of the correctly rounded result.
    fn ulps(found: f32, expected: f64) -> f64 {
        let nearest = expected as f32;
        let ulp = f64::from(f32::from_bits(nearest.abs().to_bits() + 1)) - f64::from(nearest.abs());
        (f64::from(found) - expected).abs() / ulp
    }

    #[test]
    fn exp_is_within_one_ulp_everywhere() {
        let _mode = ContractMode::enter();
        let mut worst: f64 = 0.0;
        for bits in (0..u32::MAX).step_by(1499) {
            let x = f32::from_bits(bits);
            if (-87.336_54..=88.376_27).contains(&x) {
                worst = worst.max(ulps(exp(x), f64::from(x).exp()));
            }
        }
        assert!(worst <= 1.0, "{worst} ulp");
    }

    #[test]
    fn exp_has_exact_ends() {
        let _mode = ContractMode::enter();
        // Evaluated here, not by the compiler, which has another mode.
        let exp = |x: f32| exp(std::hint::black_box(x));
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-87.4), 0.0);
        assert_eq!(exp(f32::MIN), 0.0);
        assert!(exp(-87.336_54) >= f32::MIN_POSITIVE);
        assert!(exp(88.376_26).is_finite());
        assert_eq!(exp(88.376_28), f32::INFINITY);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!([f32::NAN, -f32::NAN, f32::from_bits(0x7fc0_0123)].into_iter().all(|x| exp(x).is_nan()));
    }

    #[test]
    fn log_is_within_one_ulp_everywhere() {
        let mut worst: f64 = 0.0;
        for bits in (f32::MIN_POSITIVE.to_bits()..f32::INFINITY.to_bits()).step_by(751) {
            let x = f32::from_bits(bits);
            worst = worst.max(ulps(log(x), f64::from(x).ln()));
        }
        assert!(worst <= 1.0, "{worst} ulp");
    }

    #[test]
    fn log_has_exact_ends() {
        assert_eq!(log(1.0), 0.0);
        assert_eq!(log(0.0), f32::NEG_INFINITY);
        assert_eq!(log(-0.0), f32::NEG_INFINITY);
        assert_eq!(log(1e-40), f32::NEG_INFINITY);
        assert_eq!(log(f32::INFINITY), f32::INFINITY);
        assert!(log(-1.0).is_nan() && log(f32::NAN).is_nan() && log(f32::NEG_INFINITY).is_nan());
    }

    #[test]
    fn sigmoid_saturates() {
        assert_eq!(sigmoid(0.0_f32), 0.5);
        assert_eq!(sigmoid(-200.0_f32), 0.0);
        assert_eq!(sigmoid(200.0_f32), 1.0);
    }
}
