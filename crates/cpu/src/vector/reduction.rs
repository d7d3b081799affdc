//! Reductions of a row in the contract's order: lane i takes elements i, i + 16, …, then one fold tree.

use super::Vector;
use crate::activation::{Activation, load_rest};
use crate::lanes::load;
use gradus_ops::LANES;

/// Σ x·y by fused multiply-adds. Equal lengths.
#[inline(always)]
pub(crate) fn dot<V: Vector, X: Activation, Y: Activation>(x: &[X], y: &[Y]) -> f32 {
    let mut sums = V::splat(0.0);
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x.iter().zip(y) {
        sums = X::load::<V>(x).fma(Y::load(y), sums);
    }
    if !x_rest.is_empty() {
        sums = load_rest::<V, X>(x_rest).fma(load_rest(y_rest), sums);
    }
    sums.fold_sum()
}

/// The largest element (−inf of none).
#[inline(always)]
pub(crate) fn maximum<V: Vector>(x: &[f32]) -> f32 {
    let mut largest = V::splat(f32::NEG_INFINITY);
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        largest = largest.larger(V::load(x));
    }
    if !rest.is_empty() {
        largest = largest.larger(V::load(&load(rest, f32::NEG_INFINITY)));
    }
    largest.fold_max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::Level;
    use crate::vector::dispatch_vector;

    dispatch_vector! {
        fn squares(x: &[f32]) -> f32 = squares_body;
        fn largest(x: &[f32]) -> f32 = largest_body;
    }

    #[inline(always)]
    fn squares_body<V: Vector>(x: &[f32]) -> f32 {
        dot::<V, f32, f32>(x, x)
    }

    #[inline(always)]
    fn largest_body<V: Vector>(x: &[f32]) -> f32 {
        maximum::<V>(x)
    }

    fn levels() -> impl Iterator<Item = Level> {
        Level::ALL.into_iter().filter(|level| level.is_available())
    }

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
            for level in levels() {
                assert_eq!(squares(level, &x), (four[0] + four[2]) + (four[1] + four[3]), "length {len}, {level:?}");
            }
        }
    }

    #[test]
    fn finds_the_largest_element_anywhere_but_no_nan() {
        for level in levels() {
            for len in 1..70 {
                for place in 0..len {
                    let mut x: Vec<f32> = (0..len).map(|i| if i == place { -1.0 } else { -2.0 - i as f32 }).collect();
                    assert_eq!(largest(level, &x), -1.0);
                    x[(place + 7) % len] = f32::NAN;
                    assert!(!largest(level, &x).is_nan());
                }
            }
            assert_eq!(largest(level, &[]), f32::NEG_INFINITY);
        }
    }
}
