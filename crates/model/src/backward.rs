//! The backward of the layers, last to first: from the gradient of the final hidden states to every parameter's
//! gradient.
//!
//! What the forward did not keep is computed again, with the same ops and so the same bits.

use gradus_ops::Backend;

use crate::activations::{InnerActivations, LayerView, Recompute};
use crate::block::NormOutputs;
use crate::forward::PackedRows;
use crate::layout::LayerIndex;
use crate::workspace::{BackwardBuffers, ForwardBuffers, ForwardScratch};
use crate::{Model, Parameters, Result};

impl<B: Backend> Model<B> {
    /// Adds to `gradients`; on entry `d_x` of the buffers is the gradient of the final hidden states `[tokens,
    /// hidden]`.
    pub(crate) fn backward_layers(
        &self,
        tokens: usize,
        sequences: usize,
        forward: &mut ForwardBuffers<B>,
        buffers: &mut BackwardBuffers<B>,
        gradients: &mut Parameters<B>,
    ) -> Result<()> {
        let backend = self.backend.as_ref();
        let index = &self.parameters.index;
        let ForwardBuffers { ids, positions, cu_seqlens, stack, final_sum, final_rstd, scratch, .. } = forward;
        let rows = PackedRows { tokens, sequences, positions, cu_seqlens };
        backend.zero(&mut buffers.d_sum, 0, tokens * self.config.hidden_size)?;
        self.norm_backward(index.final_norm, tokens, (final_sum, final_rstd), buffers, gradients)?;
        for (number, layer) in index.layers.iter().enumerate().rev() {
            let mut view = stack.layer(number);
            self.recompute(layer, &rows, &mut view, scratch, buffers)?;
            self.mlp_branch_backward(layer, tokens, &mut view, scratch, buffers, gradients)?;
            let mlp = (&view.inner.mlp_sum, &view.inner.mlp_rstd);
            self.norm_backward(layer.mlp_norm, tokens, mlp, buffers, gradients)?;
            self.attention_backward(layer, &rows, &view, scratch, buffers, gradients)?;
        }
        let d_embedding = gradients.weight_mut(index.embedding);
        Ok(backend.embedding_backward(d_embedding, ids, tokens, &buffers.d_sum)?)
    }

    /// Fills the layer's activations but those of the MLP, whose normed input it leaves in `scratch.x`.
    fn recompute(
        &self,
        layer: &LayerIndex,
        rows: &PackedRows<'_, B>,
        view: &mut LayerView<'_, B>,
        scratch: &mut ForwardScratch<B>,
        buffers: &mut BackwardBuffers<B>,
    ) -> Result<()> {
        if view.recompute == Recompute::Layer {
            self.norm_again(layer.attention_norm, rows.tokens, view.attention_sum, scratch, buffers)?;
            self.attention_branch(layer, rows, view.attention_sum, view.inner, scratch)
        } else {
            self.norm_again(layer.mlp_norm, rows.tokens, &view.inner.mlp_sum, scratch, buffers)
        }
    }

    /// `scratch.x` becomes the norm of a stored residual stream.
    fn norm_again(
        &self,
        weight: usize,
        tokens: usize,
        stored: &B::Buffer,
        scratch: &mut ForwardScratch<B>,
        buffers: &mut BackwardBuffers<B>,
    ) -> Result<()> {
        let outputs = NormOutputs { sum: &mut buffers.sum, rstd: &mut buffers.rstd, out: &mut scratch.x };
        self.residual_norm(weight, tokens, stored, None, outputs)
    }

    fn attention_backward(
        &self,
        layer: &LayerIndex,
        rows: &PackedRows<'_, B>,
        view: &LayerView<'_, B>,
        scratch: &mut ForwardScratch<B>,
        buffers: &mut BackwardBuffers<B>,
        gradients: &mut Parameters<B>,
    ) -> Result<()> {
        let PackedRows { tokens, sequences, positions, cu_seqlens } = *rows;
        let (backend, shape) = (self.backend.as_ref(), self.config.attention());
        let InnerActivations { qkv, attended, lse, .. } = &*view.inner;
        let BackwardBuffers { d_sum, d_attended, d_qkv, .. } = &mut *buffers;
        let output = (layer.output, layer.output_bias);
        self.linear_backward(output, tokens, (d_sum, attended), d_attended, gradients)?;
        backend.attention_backward(shape, &qkv.qkv, cu_seqlens, sequences, attended, lse, d_attended, d_qkv)?;
        backend.rope_backward(self.rope_shape(tokens), &self.rope, positions, d_qkv)?;
        if let (Some((raw, raw_rstd)), Some((q_norm, k_norm))) = (&qkv.before_norm, layer.qk_norm) {
            let (d_q, d_k) = gradients.pair_mut(q_norm, k_norm);
            let (q_norm, k_norm) = (self.parameters.weight(q_norm), self.parameters.weight(k_norm));
            backend.qk_norm_backward(shape, tokens, raw, raw_rstd, q_norm, k_norm, d_qkv, d_q, d_k)?;
        }
        self.norm_again(layer.attention_norm, tokens, view.attention_sum, scratch, buffers)?;
        let BackwardBuffers { d_qkv, d_x, .. } = &mut *buffers;
        self.linear_backward((layer.qkv, layer.qkv_bias), tokens, (d_qkv, &scratch.x), d_x, gradients)?;
        let attention = (view.attention_sum, view.attention_rstd);
        self.norm_backward(layer.attention_norm, tokens, attention, buffers, gradients)
    }

    /// d_sum += the gradient of d_x through the norm that made it from (sum, 1/rms).
    fn norm_backward(
        &self,
        weight: usize,
        tokens: usize,
        (sum, rstd): (&B::Buffer, &B::Buffer),
        buffers: &mut BackwardBuffers<B>,
        gradients: &mut Parameters<B>,
    ) -> Result<()> {
        let BackwardBuffers { d_x, d_sum, .. } = buffers;
        let d_weight = gradients.weight_mut(weight);
        let weight = self.parameters.weight(weight);
        Ok(self.backend.rms_norm_backward(self.norm_shape(tokens), sum, rstd, weight, d_x, d_sum, d_weight)?)
    }

    /// Adds the weight's and the bias's gradient, and overwrites `d_x`.
    pub(crate) fn linear_backward(
        &self,
        (weight, bias): (usize, Option<usize>),
        rows: usize,
        (d_y, x): (&B::Buffer, &B::Buffer),
        d_x: &mut B::Buffer,
        gradients: &mut Parameters<B>,
    ) -> Result<()> {
        match bias {
            Some(bias) => {
                let (d_weight, d_bias) = gradients.pair_mut(weight, bias);
                self.backend.matmul_backward_weight(d_y, x, rows, d_weight, Some(d_bias))?;
            }
            None => self.backend.matmul_backward_weight(d_y, x, rows, gradients.weight_mut(weight), None)?,
        }
        Ok(self.backend.matmul_backward_input(d_y, rows, self.parameters.weight(weight), d_x)?)
    }
}
