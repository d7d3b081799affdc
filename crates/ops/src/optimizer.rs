//! The optimizer's update in numbers: its options, the factors that every backend computes with, and the names of what it keeps.

use crate::{Error, Result};

/// One AdamW update (decoupled weight decay, Loshchilov and Hutter). `update = m̂ / (√v̂ + eps)`.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    pub learning_rate: f32,
    /// f64, because 1 − 0.999 in f32 is off by a factor of 1 + 1.3e-5.
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f32,
    pub weight_decay: f32,
    /// Number of this update, from 1: the bias corrections are 1 − βᵗ, computed in f64.
    pub step: u64,
    /// Multiplied into every gradient: the clipping factor.
    pub gradient_scale: f32,
    /// Key and stream of the random numbers (see [`crate::philox::number`]) by which a backend that keeps moments in bf16 rounds them; the
    /// stream is another one for each update of each parameter.
    pub seed: u64,
    pub stream: u64,
}

/// The factors of one update, computed in f64 and rounded once. With g = gradient_scale · gradient:
/// m += rate1 · (g − m); v = rate2 · g · g + beta2 · v; p = decay · p + negative_step · m / (√v / correction2_root + eps).
#[derive(Clone, Copy, Debug, bytemuck::NoUninit)]
#[repr(C)]
pub struct AdamWFactors {
    pub gradient_scale: f32,
    /// 1 − learning_rate · weight_decay
    pub decay: f32,
    /// 1 − β₁
    pub rate1: f32,
    pub beta2: f32,
    /// 1 − β₂
    pub rate2: f32,
    /// √(1 − β₂ᵗ)
    pub correction2_root: f32,
    pub eps: f32,
    /// −learning_rate / (1 − β₁ᵗ)
    pub negative_step: f32,
}

impl AdamW {
    /// Refuses what would divide by zero.
    pub fn factors(&self) -> Result<AdamWFactors> {
        let invalid = |reason: String| Error::Invalid { op: "adamw", reason };
        let AdamW { learning_rate, beta1, beta2, eps, weight_decay, step, gradient_scale, .. } = *self;
        if !(0.0..1.0).contains(&beta1) || !(0.0..1.0).contains(&beta2) {
            return Err(invalid(format!("betas are {beta1} and {beta2}, expected at least 0 and below 1")));
        }
        if eps.is_nan() || eps < f32::MIN_POSITIVE {
            return Err(invalid(format!("eps is {eps}, expected more than 0: a gradient of 0 would divide 0 by 0")));
        }
        if step == 0 {
            return Err(invalid("step is 0, but updates are counted from 1".into()));
        }
        let power = |beta: f64| beta.powf(step as f64);
        let learning_rate = f64::from(learning_rate);
        Ok(AdamWFactors {
            gradient_scale,
            decay: (1.0 - learning_rate * f64::from(weight_decay)) as f32,
            rate1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            rate2: (1.0 - beta2) as f32,
            correction2_root: (1.0 - power(beta2)).sqrt() as f32,
            eps,
            negative_step: (-learning_rate / (1.0 - power(beta1))) as f32,
        })
    }
}

/// What the optimizer keeps of a parameter, as files have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptimizerValues {
    /// The exact f32 values that are updated; a bf16 weight is they, rounded. An f32 weight has none: it is its own.
    Master,
    FirstMoment,
    SecondMoment,
}
