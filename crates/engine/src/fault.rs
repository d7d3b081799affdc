//! A test hook: faults that the comparison of sampler and trainer must notice (`train_rollout_logprob_abs_diff`).
//!
//! Off unless [`crate::Engine::plant_fault`] is called. A logprob difference of 0 proves something only if a fault makes it non-zero.

/// A planted difference between the sampler and every other path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedFault {
    /// The sampler's 1/T is the next f32 above the right one.
    InverseTemperatureUlp,
}

impl PlantedFault {
    pub(crate) fn inverse_temperature(self, inv_t: f32) -> f32 {
        match self {
            Self::InverseTemperatureUlp => inv_t.next_up(),
        }
    }
}
