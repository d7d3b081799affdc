//! How much a training pass keeps and how much it computes again, decided by the memory that it may take, before it takes any.

use gradus_ops::Backend;

use crate::allocation::Allocation;
use crate::head::HeadBuffers;
use crate::mlp::{MLP_BYTES, mlp_rows};
use crate::workspace::{BackwardBuffers, ForwardBuffers};
use crate::{Error, Model, Recompute, Result};

/// Capacities are rounded up to this many tokens, so that batches of nearly the same size do not allocate.
const TOKENS_STEP: usize = 256;

/// What a pass keeps and computes again, and the memory that it takes with its backward.
pub struct PassPlan {
    /// Of each layer.
    pub layers: Vec<Recompute>,
    pub bytes: u64,
}

impl PassPlan {
    /// The plan of a pass over at most so many tokens and sequences: what [`crate::TrainingWorkspace::limited`] will do. Takes no memory. Refuses what
    /// needs more than `limit` bytes however much is computed again.
    pub fn within<B: Backend>(model: &Model<B>, limit: u64, tokens: usize, sequences: usize) -> Result<PassPlan> {
        plan_within(model, limit, rounded(tokens, sequences), MLP_BYTES)
    }

    /// Layers that compute exactly this much again.
    pub fn count(&self, recompute: Recompute) -> usize {
        self.layers.iter().filter(|&&layer| layer == recompute).count()
    }
}

/// The tokens and sequences that there will be room for.
pub(crate) fn rounded(tokens: usize, sequences: usize) -> (usize, usize) {
    (tokens.next_multiple_of(TOKENS_STEP), sequences.next_power_of_two())
}

/// The plan that computes least again among those whose pass takes at most `limit` bytes.
pub(crate) fn plan_within<B: Backend>(
    model: &Model<B>,
    limit: u64,
    capacity: (usize, usize),
    mlp_bytes: u64,
) -> Result<PassPlan> {
    let layers = model.config.num_hidden_layers;
    let tokens = capacity.0;
    let mut count = Allocation::counting(model);
    HeadBuffers::new(model, tokens.min(model.backend.head_rows()), &mut count)?;
    let head = count.bytes;
    let (mut kept, mut backward) = (0, 0);
    for changed in 0..=2 * layers {
        let layers = nth_plan(layers, changed);
        let rows = mlp_rows(model, &layers, tokens, mlp_bytes);
        let mut count = Allocation::counting(model);
        ForwardBuffers::new(model, &layers, capacity, rows, &mut count)?;
        kept = count.bytes;
        BackwardBuffers::new(model, tokens, rows, &mut count)?;
        backward = count.bytes - kept;
        if kept + backward + head <= limit {
            return Ok(PassPlan { layers, bytes: kept + backward + head });
        }
    }
    let terms =
        [("activations of the layers", kept), ("gradients of activations", backward), ("logits of a chunk", head)];
    let (largest, largest_bytes) = terms.into_iter().max_by_key(|term| term.1).expect("three terms");
    Err(Error::ActivationMemory { tokens, bytes: kept + backward + head, limit, largest, largest_bytes })
}

/// From everything kept (0) over every layer's gate and up computed again (`layers`) to every layer (2 · `layers`).
fn nth_plan(layers: usize, changed: usize) -> Vec<Recompute> {
    let (weak, strong) =
        if changed <= layers { (Recompute::Nothing, Recompute::GateUp) } else { (Recompute::GateUp, Recompute::Layer) };
    let strongs = if changed <= layers { changed } else { changed - layers };
    (0..layers).map(|layer| if layer < strongs { strong } else { weak }).collect()
}

#[cfg(test)]
mod tests {
    use super::nth_plan;
    use crate::Recompute::{GateUp, Layer, Nothing};

    #[test]
    fn plans_go_from_everything_kept_to_every_layer_computed_again() {
        let plans: Vec<_> = (0..=4).map(|changed| nth_plan(2, changed)).collect();
        let expected = [[Nothing; 2], [GateUp, Nothing], [GateUp; 2], [Layer, GateUp], [Layer; 2]];
        assert_eq!(plans, expected);
    }
}
