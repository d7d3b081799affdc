//! The forward over packed sequences: embedding, layers, final norm. Logits come later, in chunks (`head`).

use gradus_ops::Backend;

use crate::block::NormOutputs;
use crate::workspace::ForwardBuffers;
use crate::{Model, Result, TokenBatch, TrainingWorkspace};

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
        let backend = self.backend.as_ref();
        let index = &self.parameters.index;
        let ForwardBuffers { ids, positions, cu_seqlens, layers, x, delta, activation, .. } = buffers;
        backend.embedding(self.parameters.weight(index.embedding), ids, tokens, delta)?;
        for (number, layer) in index.layers.iter().enumerate() {
            let (before, rest) = layers.split_at_mut(number);
            let kept = &mut rest[0];
            // The first residual is the embedding itself; every later one is the sum before plus the branch in delta.
            let (residual, branch) = match before.last() {
                None => (&*delta, None),
                Some(previous) => (&previous.mlp_sum, Some(&*delta)),
            };
            let outputs = NormOutputs { sum: &mut kept.attention_sum, rstd: &mut kept.attention_rstd, out: x };
            self.residual_norm(layer.attention_norm, tokens, residual, branch, outputs)?;
            self.project_qkv(layer, x, positions, tokens, &mut kept.qkv)?;
            let shape = self.config.attention();
            backend.attention(shape, &kept.qkv.qkv, cu_seqlens, sequences, &mut kept.attended, &mut kept.lse)?;
            self.linear((layer.output, layer.output_bias), &kept.attended, tokens, delta)?;
            let outputs = NormOutputs { sum: &mut kept.mlp_sum, rstd: &mut kept.mlp_rstd, out: x };
            self.residual_norm(layer.mlp_norm, tokens, &kept.attention_sum, Some(delta), outputs)?;
            self.mlp(layer, x, tokens, &mut kept.gate_up, activation, delta)?;
        }
        let ForwardBuffers { layers, final_sum, final_rstd, hidden, delta, .. } = buffers;
        let last = &layers.last().expect("a config has at least one layer").mlp_sum;
        let outputs = NormOutputs { sum: final_sum, rstd: final_rstd, out: hidden };
        self.residual_norm(index.final_norm, tokens, last, Some(delta), outputs)
    }
}
