//! What a step is told and what it reports: the numbers that cross to TypeScript.

use crate::{Error, Result};

/// Settings of one optimizer update.
#[derive(Clone, Copy, Debug)]
pub struct StepOptions {
    pub learning_rate: f32,
    /// f64, because 1 − 0.999 in f32 is off by a factor of 1 + 1.3e-5.
    pub betas: (f64, f64),
    pub eps: f32,
    /// Decoupled; not applied to norms and biases.
    pub weight_decay: f32,
    /// The global gradient norm is clipped to this; `None` leaves it.
    pub max_grad_norm: Option<f32>,
    /// (low, high): the ratio to the sampler's logprob is clipped to [1 − low, 1 + high] as in PPO; `None` takes no ratio.
    pub ratio_clip: Option<(f32, f32)>,
    /// Tokens of one forward and backward pass; a longer sequence passes alone. Changes nothing but rounding.
    pub micro_batch_tokens: usize,
    /// The run's: key of the random numbers by which a device that keeps moments in bf16 rounds them. Others use it for nothing.
    pub seed: u64,
}

impl StepOptions {
    pub(crate) fn check(&self) -> Result<()> {
        let not_negative = |value: f32| value.is_finite() && value >= 0.0;
        let beta = |value: f64| (0.0..1.0).contains(&value);
        let refuse = |name, value: String, expected| Err(Error::Option { name, value, expected });
        if !not_negative(self.learning_rate) {
            return refuse("learning_rate", self.learning_rate.to_string(), "a number of at least 0");
        }
        if !beta(self.betas.0) || !beta(self.betas.1) {
            return refuse("betas", format!("{:?}", self.betas), "two numbers from 0 to below 1");
        }
        if !(self.eps.is_finite() && self.eps > 0.0) {
            return refuse("eps", self.eps.to_string(), "a number above 0");
        }
        if !not_negative(self.weight_decay) {
            return refuse("weight_decay", self.weight_decay.to_string(), "a number of at least 0");
        }
        if self.max_grad_norm.is_some_and(|norm| norm.is_nan() || norm <= 0.0) {
            return refuse("max_grad_norm", format!("{:?}", self.max_grad_norm), "a number above 0, or none");
        }
        if self.ratio_clip.is_some_and(|(low, high)| !not_negative(low) || !not_negative(high)) {
            return refuse("ratio_clip", format!("{:?}", self.ratio_clip), "two numbers of at least 0, or none");
        }
        if self.micro_batch_tokens == 0 {
            return refuse("micro_batch_tokens", "0".to_owned(), "at least 1 token");
        }
        Ok(())
    }
}

/// Why a step moved nothing: weights, moments and step counter are as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// No row of the batch has a weight other than 0.
    NoWeight,
    /// A logprob of this pass or of the sampler is infinite or NaN.
    NonFiniteLogprob,
    NonFiniteLoss,
    NonFiniteGradient,
}

impl SkipReason {
    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            SkipReason::NoWeight => "no-weight",
            SkipReason::NonFiniteLogprob => "non-finite-logprob",
            SkipReason::NonFiniteLoss => "non-finite-loss",
            SkipReason::NonFiniteGradient => "non-finite-gradient",
        }
    }
}

/// Figures of one step. A trained row is one whose weight is not 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepMetrics {
    /// −Σ weight · logprob over the trained rows (with a ratio clip: the clipped surrogate).
    pub loss: f64,
    /// Global L2 norm before clipping; 0 where the step was skipped before the gradient was known.
    pub grad_norm: f64,
    /// Mean over the trained rows, at the rollout's temperature.
    pub entropy: f64,
    /// Largest |logprob − sampler's logprob| over the trained rows that have one; 0 by the numerics contract.
    pub logprob_abs_diff_max: f32,
    /// Tokens that passed through the network: sequences without any weight do not.
    pub tokens: usize,
    /// Number of trained rows.
    pub trained_tokens: usize,
    pub skipped: Option<SkipReason>,
    pub seconds: f64,
}
