//! Device memory of the layers in a training pass, and how much of it is kept: what a layer does not keep, the backward computes
//! again, with the same ops and so the same bits.

use gradus_ops::Backend;

use crate::allocation::Allocation;
use crate::block::QkvBuffers;
use crate::{ModelConfig, Result};

/// What the backward of a layer computes again, beside norm outputs and silu · up, which are kept for no layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recompute {
    Nothing,
    /// Gate and up, the largest activation: one product out of the layer's four.
    GateUp,
    /// The whole layer, from the residual stream that enters it.
    Layer,
}

/// Of one layer, for its backward.
pub(crate) struct LayerActivations<B: Backend> {
    /// The residual stream entering attention `[tokens, hidden]`, with its norm's 1/rms `[tokens]`.
    pub attention_sum: B::Buffer,
    pub attention_rstd: B::Buffer,
    /// None where the layer is computed again.
    pub inner: Option<InnerActivations<B>>,
    /// `[tokens, 2 · ffn]`; None where it is computed again.
    pub gate_up: Option<B::Buffer>,
}

/// What follows from the residual stream that enters a layer.
pub(crate) struct InnerActivations<B: Backend> {
    pub qkv: QkvBuffers<B>,
    /// `[tokens, q_dim]` and its log-sum-exp `[tokens, heads]`.
    pub attended: B::Buffer,
    pub lse: B::Buffer,
    /// The residual stream entering the MLP `[tokens, hidden]`, with its norm's 1/rms `[tokens]`.
    pub mlp_sum: B::Buffer,
    pub mlp_rstd: B::Buffer,
}

/// The activations of all layers, and one set that those which keep less use in turn.
pub(crate) struct StackActivations<B: Backend> {
    pub layers: Vec<LayerActivations<B>>,
    pub shared_inner: Option<InnerActivations<B>>,
    pub shared_gate_up: Option<B::Buffer>,
}

/// The memory of one layer, its own or the shared one.
pub(crate) struct LayerView<'a, B: Backend> {
    pub attention_sum: &'a B::Buffer,
    pub attention_rstd: &'a B::Buffer,
    pub inner: &'a mut InnerActivations<B>,
    pub gate_up: &'a mut B::Buffer,
    pub recompute: Recompute,
}

/// The residual stream on its way into one layer.
pub(crate) struct LayerEntry<'a, B: Backend> {
    /// That entering the MLP of the layer before; None before the first layer.
    pub previous: Option<&'a B::Buffer>,
    pub attention_sum: &'a mut B::Buffer,
    pub attention_rstd: &'a mut B::Buffer,
}

impl<B: Backend> InnerActivations<B> {
    fn new(config: &ModelConfig, tokens: usize, allocation: &mut Allocation<'_, B>) -> Result<Self> {
        let shape = config.attention();
        Ok(InnerActivations {
            qkv: QkvBuffers::new(config, tokens, allocation)?,
            attended: allocation.activations(tokens * shape.q_dim())?,
            lse: allocation.f32s(tokens * shape.heads)?,
            mlp_sum: allocation.activations(tokens * config.hidden_size)?,
            mlp_rstd: allocation.f32s(tokens)?,
        })
    }
}

impl<B: Backend> StackActivations<B> {
    /// `plan` has what each layer computes again; gate and up that no layer keeps have room for `mlp_rows` tokens.
    pub fn new(
        config: &ModelConfig,
        plan: &[Recompute],
        (tokens, mlp_rows): (usize, usize),
        allocation: &mut Allocation<'_, B>,
    ) -> Result<Self> {
        let most = plan.iter().copied().max().unwrap_or(Recompute::Nothing);
        let gate_up = |allocation: &mut Allocation<'_, B>, rows: usize| {
            allocation.activations(rows * 2 * config.intermediate_size)
        };
        let mut layers = Vec::with_capacity(plan.len());
        for &recompute in plan {
            layers.push(LayerActivations {
                attention_sum: allocation.activations(tokens * config.hidden_size)?,
                attention_rstd: allocation.f32s(tokens)?,
                inner: if recompute < Recompute::Layer {
                    Some(InnerActivations::new(config, tokens, allocation)?)
                } else {
                    None
                },
                gate_up: if recompute < Recompute::GateUp { Some(gate_up(allocation, tokens)?) } else { None },
            });
        }
        let shared_inner =
            if most == Recompute::Layer { Some(InnerActivations::new(config, tokens, allocation)?) } else { None };
        let shared_gate_up = if most >= Recompute::GateUp { Some(gate_up(allocation, mlp_rows)?) } else { None };
        Ok(StackActivations { layers, shared_inner, shared_gate_up })
    }

    /// Where layer `number` begins; the layer before was the last to be computed.
    pub fn entry(&mut self, number: usize) -> LayerEntry<'_, B> {
        let (before, rest) = self.layers.split_at_mut(number);
        let LayerActivations { attention_sum, attention_rstd, .. } = &mut rest[0];
        let shared = self.shared_inner.as_ref();
        let previous = before.last().map(|layer| &layer.inner.as_ref().or(shared).expect(THERE).mlp_sum);
        LayerEntry { previous, attention_sum, attention_rstd }
    }

    /// What layer `number` keeps, and for the rest the shared memory.
    pub fn layer(&mut self, number: usize) -> LayerView<'_, B> {
        let LayerActivations { attention_sum, attention_rstd, inner, gate_up } = &mut self.layers[number];
        let recompute = match (&inner, &gate_up) {
            (None, _) => Recompute::Layer,
            (_, None) => Recompute::GateUp,
            _ => Recompute::Nothing,
        };
        LayerView {
            attention_sum,
            attention_rstd,
            inner: inner.as_mut().or(self.shared_inner.as_mut()).expect(THERE),
            gate_up: gate_up.as_mut().or(self.shared_gate_up.as_mut()).expect(THERE),
            recompute,
        }
    }

    /// The residual stream entering the MLP of the last layer, after a forward.
    pub fn last_mlp_sum(&self) -> &B::Buffer {
        let last = self.layers.last().expect("a config has at least one layer");
        &last.inner.as_ref().or(self.shared_inner.as_ref()).expect(THERE).mlp_sum
    }
}

const THERE: &str = "the shared memory is made where a layer keeps less than everything";
