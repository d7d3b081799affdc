//! Seeded numbers for tests, and the distance between a result and its reference.

/// `len` values of a seeded sequence, uniform in [-1, 1), on every machine the same.
pub fn uniform(seed: u64, len: usize) -> Vec<f32> {
    let mut state = SplitMix64(seed);
    // 24 bits fill an f32's significand, so that every value is exact.
    (0..len).map(|_| (state.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// `len` values of a seeded sequence, uniform in 0..`bound`.
pub fn integers(seed: u64, len: usize, bound: u32) -> Vec<u32> {
    let mut state = SplitMix64(seed);
    (0..len).map(|_| (state.next() % u64::from(bound.max(1))) as u32).collect()
}

/// ‖found − expected‖ / ‖expected‖ in f64; infinite where lengths differ or anything found is not finite, and the norm
/// of what was found where the reference is zero.
pub fn relative_l2(found: &[f32], expected: &[f64]) -> f64 {
    if found.len() != expected.len() || found.iter().any(|value| !value.is_finite()) {
        return f64::INFINITY;
    }
    let (mut distance, mut norm) = (0.0, 0.0);
    for (found, expected) in found.iter().zip(expected) {
        distance += (f64::from(*found) - expected).powi(2);
        norm += expected * expected;
    }
    if norm == 0.0 { distance.sqrt() } else { (distance / norm).sqrt() }
}

/// Vigna's SplitMix64: enough for test data, and a few lines.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_sequence() {
        let mut state = SplitMix64(1_234_567);
        assert_eq!([state.next(), state.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn uniform_fills_the_range() {
        let values = uniform(3, 10_000);
        assert!(values.iter().all(|value| (-1.0..1.0).contains(value)));
        assert!(values.iter().sum::<f32>().abs() < 200.0);
        assert!(values.iter().any(|value| *value < -0.99) && values.iter().any(|value| *value > 0.99));
        assert_eq!(values, uniform(3, 10_000));
        assert_ne!(values, uniform(4, 10_000));
    }

    #[test]
    fn distance_is_relative_and_refuses_nan() {
        assert_eq!(relative_l2(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(relative_l2(&[3.0, 5.0], &[3.0, 4.0]), 0.2);
        assert_eq!(relative_l2(&[2.0], &[0.0]), 2.0);
        assert_eq!(relative_l2(&[f32::NAN], &[1.0]), f64::INFINITY);
        assert_eq!(relative_l2(&[1.0], &[1.0, 2.0]), f64::INFINITY);
    }
}
