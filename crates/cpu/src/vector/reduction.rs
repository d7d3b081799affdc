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
