//! Row reductions in the contract's order: 16 virtual lanes, then one fold tree, the same on every instruction level.
//!
//! Plain arrays: compiled for AVX2 the loops over 16 become two vector instructions, and the order is the same by construction.

use gradus_ops::LANES;

pub(crate) type Lanes = [f32; LANES];

/// The larger of two numbers; the first one where they compare equal or `b` is NaN.
#[inline(always)]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if a < b { b } else { a }
}

/// Up to 16 elements; lanes past the end hold `fill`.
#[inline(always)]
pub(crate) fn load(x: &[f32], fill: f32) -> Lanes {
    let mut lanes = [fill; LANES];
    lanes[..x.len()].copy_from_slice(x);
    lanes
}

/// Lane i += lane i + 8, then + 4, + 2, + 1.
#[inline(always)]
pub(crate) fn fold_sum(mut lanes: Lanes) -> f32 {
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// The largest lane, by the same tree.
#[inline(always)]
pub(crate) fn fold_max(mut lanes: Lanes) -> f32 {
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            lanes[i] = larger(lanes[i], lanes[i + width]);
        }
    }
    lanes[0]
}

/// Σ x·y: lane i takes elements i, i + 16, … by fused multiply-adds. Equal lengths.
#[inline(always)]
pub(crate) fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (x_whole, y_whole) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let (x_rest, y_rest) = (load(x_whole.remainder(), 0.0), load(y_whole.remainder(), 0.0));
    for (x, y) in x_whole.zip(y_whole) {
        for i in 0..LANES {
            lanes[i] = x[i].mul_add(y[i], lanes[i]);
        }
    }
    for i in 0..LANES {
        lanes[i] = x_rest[i].mul_add(y_rest[i], lanes[i]);
    }
    fold_sum(lanes)
}

/// The largest element (−inf of none).
#[inline(always)]
pub(crate) fn maximum(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let whole = x.chunks_exact(LANES);
    let rest = load(whole.remainder(), f32::NEG_INFINITY);
    for x in whole {
        for i in 0..LANES {
            lanes[i] = larger(lanes[i], x[i]);
        }
    }
    for i in 0..LANES {
        lanes[i] = larger(lanes[i], rest[i]);
    }
    fold_max(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_lanes_then_folds() {
        for len in [0, 1, 15, 16, 17, 99] {
            let x: Vec<f32> = (0..len).map(|i| (i as f32).mul_add(0.37, 1e-3)).collect();
            let mut lanes = [0.0f32; 16];
            for (i, value) in x.iter().enumerate() {
                lanes[i % 16] = value.mul_add(*value, lanes[i % 16]);
            }
            let eight: Vec<f32> = (0..8).map(|i| lanes[i] + lanes[i + 8]).collect();
            let four: Vec<f32> = (0..4).map(|i| eight[i] + eight[i + 4]).collect();
            assert_eq!(dot(&x, &x), (four[0] + four[2]) + (four[1] + four[3]), "length {len}");
        }
    }

    #[test]
    fn finds_the_largest_element_anywhere() {
        for len in 1..70 {
            for place in 0..len {
                let x: Vec<f32> = (0..len).map(|i| if i == place { -1.0 } else { -2.0 - i as f32 }).collect();
                assert_eq!(maximum(&x), -1.0);
            }
        }
        assert_eq!(maximum(&[]), f32::NEG_INFINITY);
    }
}
