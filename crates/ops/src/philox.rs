//! Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): every random number of the project.
//!
//! A pure function of key and counter, so a number depends on what it is for and never on what was drawn before it.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// Golden ratio and sqrt(3) − 1: added to the key after each round.
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Four random words from a counter and a key.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let first = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let second = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
        key = [key[0].wrapping_add(KEY_STEPS[0]), key[1].wrapping_add(KEY_STEPS[1])];
    }
    counter
}

/// The project's use of the counter: words (position, draw, stream low, stream high) under the run's 64-bit seed.
pub fn number(key: u64, stream: u64, position: u32, draw: u32) -> [u32; 4] {
    philox4x32([position, draw, stream as u32, (stream >> 32) as u32], [key as u32, (key >> 32) as u32])
}

/// The upper 24 bits of a word as a number in [0, 1): every value is exact in f32.
pub fn uniform(word: u32) -> f32 {
    (word >> 8) as f32 / (1u32 << 24) as f32
}

/// N pairs of independent standard normal numbers (Box and Muller), computed in f64 and rounded once; pair i is a function of
/// `first[i]` and `second[i]` alone. Several at once keep the dividers busy.
///
/// Logarithm, sine and cosine are series written out here, so that weights drawn from a seed are the same bits everywhere.
pub fn normal_pairs<const N: usize>(first: [u32; N], second: [u32; N]) -> [[f32; 2]; N] {
    let scale = 1.0 / 4_294_967_296.0;
    let logs = natural_log(first.map(|word| (f64::from(word) + 0.5) * scale));
    let (sines, cosines) = sine_cosine_of_turn(second.map(|word| f64::from(word) * scale));
    std::array::from_fn(|i| {
        let radius = (-2.0 * logs[i]).sqrt();
        [(radius * cosines[i]) as f32, (radius * sines[i]) as f32]
    })
}

/// ln(x) of positive normal numbers: 2·artanh((m − 1)/(m + 1)) + e·ln 2 with m in [√½, √2).
fn natural_log<const N: usize>(x: [f64; N]) -> [f64; N] {
    const ROOT_HALF_BITS: u64 = std::f64::consts::FRAC_1_SQRT_2.to_bits();
    let exponent = x.map(|x| (x.to_bits().wrapping_sub(ROOT_HALF_BITS) as i64) >> 52);
    let s: [f64; N] = std::array::from_fn(|i| {
        let mantissa = f64::from_bits(x[i].to_bits().wrapping_sub((exponent[i] << 52) as u64));
        (mantissa - 1.0) / (mantissa + 1.0)
    });
    let square = s.map(|s| s * s);
    let mut series = [0.0; N];
    // |s| ≤ 0.172, so twelve terms leave less than an ulp.
    for term in (0..12).rev() {
        for i in 0..N {
            series[i] = series[i] * square[i] + 2.0 / f64::from(2 * term + 1);
        }
    }
    std::array::from_fn(|i| exponent[i] as f64 * std::f64::consts::LN_2 + s[i] * series[i])
}

/// (sin, cos) of 2π·turn for turn in [0, 1), by Taylor series of the angle from the nearest quarter turn.
fn sine_cosine_of_turn<const N: usize>(turn: [f64; N]) -> ([f64; N], [f64; N]) {
    // A turn has 32 bits, so half a quarter is added without rounding.
    let quarter = turn.map(|turn| (turn * 4.0 + 0.5) as u32);
    let angle: [f64; N] =
        std::array::from_fn(|i| (turn[i] * 4.0 - f64::from(quarter[i])) * std::f64::consts::FRAC_PI_2);
    let square = angle.map(|angle| angle * angle);
    let (mut sine, mut cosine) = ([1.0; N], [1.0; N]);
    for term in (1..=8).rev() {
        let n = f64::from(2 * term);
        for i in 0..N {
            sine[i] = 1.0 - sine[i] * square[i] / (n * (n + 1.0));
            cosine[i] = 1.0 - cosine[i] * square[i] / (n * (n - 1.0));
        }
    }
    for i in 0..N {
        sine[i] *= angle[i];
        // Each quarter turn makes (sin, cos) of (cos, −sin).
        if quarter[i] & 1 != 0 {
            (sine[i], cosine[i]) = (cosine[i], -sine[i]);
        }
        if quarter[i] & 2 != 0 {
            (sine[i], cosine[i]) = (-sine[i], -cosine[i]);
        }
    }
    (sine, cosine)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of Random123 1.14 (tests/kat_vectors, philox4x32 10).
    #[test]
    fn gives_the_published_vectors() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox4x32(counter, key), expected);
        }
        let stream = 0x0370_7344_1319_8a2e;
        assert_eq!(number(0x299f_31d0_a409_3822, stream, 0x243f_6a88, 0x85a3_08d3), cases[2].2);
    }

    #[test]
    fn uniform_numbers_stay_below_one() {
        assert_eq!(uniform(0), 0.0);
        assert_eq!(uniform(u32::MAX), 1.0 - 1.0 / 16_777_216.0);
        assert_eq!(uniform(1 << 31), 0.5);
    }

    #[test]
    fn the_series_agree_with_the_standard_library() {
        for index in 0..20_000u32 {
            let [a, b, ..] = number(7, 1, index, 0);
            let x = (f64::from(a) + 0.5) / 4_294_967_296.0;
            assert!((natural_log([x])[0] - x.ln()).abs() <= 1e-14 * x.ln().abs().max(1e-3), "ln {x}");
            let turn = f64::from(b) / 4_294_967_296.0;
            let ([sine], [cosine]) = sine_cosine_of_turn([turn]);
            let angle = turn * std::f64::consts::TAU;
            assert!((sine - angle.sin()).abs() < 2e-15 && (cosine - angle.cos()).abs() < 2e-15, "turn {turn}");
        }
    }

    #[test]
    fn a_normal_pair_does_not_depend_on_its_neighbours() {
        let words: Vec<[u32; 4]> = (0..1000).map(|index| number(3, 4, index, 0)).collect();
        for eight in words.as_chunks::<8>().0 {
            let pairs = normal_pairs(eight.map(|word| word[0]), eight.map(|word| word[1]));
            assert_eq!(pairs, eight.map(|word| normal_pairs([word[0]], [word[1]])[0]));
        }
        // Weights drawn from a seed must stay what they were.
        let bits = normal_pairs([0, u32::MAX, 0x9b00_dbd8], [0, 1 << 30, 0xe169_c58d]).concat();
        let bits: Vec<u32> = bits.into_iter().map(f32::to_bits).collect();
        assert_eq!(bits, [0x40d8_7047, 0, 0x8000_0000, 0x3780_0000, 0x3f3b_82ee, 0xbf2e_ef66]);
    }

    #[test]
    fn normal_numbers_have_the_right_moments() {
        let samples: Vec<f64> = (0..50_000)
            .flat_map(|index| {
                let [a, b, c, d] = number(1, 2, index, 0);
                normal_pairs([a, c], [b, d]).concat()
            })
            .map(f64::from)
            .collect();
        let moment = |power: i32| samples.iter().map(|x| x.powi(power)).sum::<f64>() / samples.len() as f64;
        // Five standard errors of each moment of 200,000 normal numbers.
        assert!(moment(1).abs() < 0.0112, "mean {}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.0159, "variance {}", moment(2));
        assert!((moment(4) - 3.0).abs() < 0.11, "fourth moment {}", moment(4));
        assert!(samples.iter().all(|x| x.is_finite()));
    }
}
