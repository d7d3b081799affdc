//! The forward over packed sequences: embedding, layers, final norm. Logits come later, in chunks (`head`).

use gradus_ops::Backend;

use crate::activations::{InnerActivations, LayerEntry, LayerView};
use crate::block::NormOutputs;
use crate::layout::LayerIndex;
use crate::workspace::{ForwardBuffers, ForwardScratch};
use crate::{Model, Result, TokenBatch, TrainingWorkspace};

/// The packed sequences of a pass.
pub(crate) struct PackedRows<'a, B: Backend> {
    pub tokens: usize,
    pub sequences: usize,
    pub positions: &'a B::Buffer,
    pub cu_seqlens: &'a B::Buffer,
}

impl<B: Backend> Model<B> {
    /// Fills `workspace` with the activations of `batch`; the final normed hidden states stay there for
    /// [`Model::score_rows`] and [`Model::loss_backward`]. Refuses ids over the vocabulary and sequences over the
    /// context length.
    pub fn forward(&self, batch: &TokenBatch, workspace: &mut TrainingWorkspace<B>) -> Result<()> {
        batch.check(&self.config)?;
        let (tokens, sequences) = (batch.tokens.len(), batch.sequences());
        let buffers = workspace.begin(self, batch)?;
        self.forward_layers(tokens, sequences, buffers)?;
        (workspace.tokens, workspace.sequences) = (tokens, sequences);
        Ok(())
    }

    fn forward_layers(&self, tokens: usize, sequences: usize, buffers: &mut ForwardBuffers<B>) -> Result<()> {
        let index = &self.parameters.index;
        let ForwardBuffers { ids, positions, cu_seqlens, stack, final_sum, final_rstd, hidden, scratch } = buffers;
        let rows = PackedRows { tokens, sequences, positions, cu_seqlens };
        self.backend.embedding(self.parameters.weight(index.embedding), ids, tokens, &mut scratch.delta)?;
        for (number, layer) in index.layers.iter().enumerate() {
            let LayerEntry { previous, attention_sum, attention_rstd } = stack.entry(number);
            // The first residual is the embedding itself; every later one is the sum before plus the branch in delta.
            let (residual, branch) = match previous {
                None => (&scratch.delta, None),
                Some(previous) => (previous, Some(&scratch.delta)),
            };
            let outputs = NormOutputs { sum: attention_sum, rstd: attention_rstd, out: &mut scratch.x };
            self.residual_norm(layer.attention_norm, tokens, residual, branch, outputs)?;
            let LayerView { attention_sum, inner, gate_up, .. } = stack.layer(number);
            self.attention_branch(layer, &rows, attention_sum, inner, scratch)?;
            self.mlp_branch(layer, tokens, gate_up, scratch)?;
        }
        let outputs = NormOutputs { sum: final_sum, rstd: final_rstd, out: hidden };
        self.residual_norm(index.final_norm, tokens, stack.last_mlp_sum(), Some(&scratch.delta), outputs)
    }

    /// From the normed residual stream in `scratch.x` to the normed input of the MLP, which takes its place.
    pub(crate) fn attention_branch(
        &self,
        layer: &LayerIndex,
        rows: &PackedRows<'_, B>,
        attention_sum: &B::Buffer,
        inner: &mut InnerActivations<B>,
        scratch: &mut ForwardScratch<B>,
    ) -> Result<()> {
        let PackedRows { tokens, sequences, positions, cu_seqlens } = *rows;
        let InnerActivations { qkv, attended, lse, mlp_sum, mlp_rstd } = inner;
        let ForwardScratch { x, delta, .. } = scratch;
        self.project_qkv(layer, x, positions, tokens, qkv)?;
        self.backend.attention(self.config.attention(), &qkv.qkv, cu_seqlens, sequences, attended, lse)?;
        self.linear((layer.output, layer.output_bias), attended, tokens, delta)?;
        let outputs = NormOutputs { sum: mlp_sum, rstd: mlp_rstd, out: x };
        self.residual_norm(layer.mlp_norm, tokens, attention_sum, Some(delta), outputs)
    }
}
