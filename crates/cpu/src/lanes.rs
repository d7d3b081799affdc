//! The contract's virtual lanes as a plain array, and the fold tree over them; `vector` holds them in registers.

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
