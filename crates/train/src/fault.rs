//! Planted faults: a test hook that breaks the equality of sampler and trainer on purpose, so that a test can see the alarm ring.
//!
//! Off unless [`crate::Trainer::plant_fault`] is called. A logprob difference of 0 proves something only if a fault makes it non-zero.

use gradus_model::{Model, ParameterKind};
use gradus_ops::Backend;

use crate::Result;

/// What is broken at the start of each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedFault {
    /// One weight moves by one unit in the last place of its precision between rollout and step. It is the first value of the first norm, whose
    /// change passes through every layer.
    WeightUlp,
}

pub(crate) fn plant<B: Backend>(fault: PlantedFault, model: &mut Model<B>) -> Result<()> {
    match fault {
        PlantedFault::WeightUlp => move_a_weight_by_an_ulp(model),
    }
}

fn move_a_weight_by_an_ulp<B: Backend>(model: &mut Model<B>) -> Result<()> {
    let norm = model.parameters.list.iter_mut().find(|parameter| parameter.kind == ParameterKind::Norm);
    let norm = norm.expect("every supported architecture has norms");
    let mut value = [0.0f32];
    model.backend.store_row_major(&norm.weight, 0, &mut value)?;
    // A bf16 value is the upper half of an f32.
    let ulp = 1 << (u32::BITS as usize - 8 * model.precision.activations().bytes());
    value[0] = f32::from_bits(value[0].to_bits() + ulp);
    model.backend.load_row_major(&mut norm.weight, 0, &value)?;
    Ok(())
}
