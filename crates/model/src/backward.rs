//! The backward of the layers, last to first: from the gradient of the final hidden states to every parameter's
//! gradient.
//!
//! Norm outputs and silu · up are computed again from what the forward kept, with the same ops and so the same bits.

use gradus_ops::Backend;

use crate::block::NormOutputs;
use crate::layout::LayerIndex;
use crate::workspace::{BackwardBuffers, ForwardBuffers, LayerActivations};
use crate::{Model, Parameters, Result};

/// Scratch of the forward, free again in the backward.
struct Scratch<'a, B: Backend> {
    x: &'a mut B::Buffer,
    sum: &'a mut B::Buffer,
    activation: &'a mut B::Buffer,
}

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
        let ForwardBuffers { ids, positions, cu_seqlens, layers, final_sum, final_rstd, x, delta, activation, .. } =
            forward;
        backend.zero(&mut buffers.d_sum, 0, tokens * self.config.hidden_size)?;
        self.norm_backward(index.final_norm, tokens, (final_sum, final_rstd), buffers, gradients)?;
        let mut scratch = Scratch { x, sum: delta, activation };
        for (layer, kept) in index.layers.iter().zip(layers).rev() {
            self.mlp_backward(layer, tokens, kept, &mut scratch, buffers, gradients)?;
            let shape = self.config.attention();
            let BackwardBuffers { d_sum, d_attended, d_qkv, .. } = &mut *buffers;
            let output = (layer.output, layer.output_bias);
            self.linear_backward(output, tokens, (d_sum, &kept.attended), d_attended, gradients)?;
            let (qkv, attended, lse) = (&kept.qkv.qkv, &kept.attended, &kept.lse);
            backend.attention_backward(shape, qkv, cu_seqlens, sequences, attended, lse, d_attended, d_qkv)?;
            self.qkv_backward(layer, tokens, positions, kept, &mut scratch, buffers, gradients)?;
        }
        let d_embedding = gradients.weight_mut(index.embedding);
        Ok(backend.embedding_backward(d_embedding, ids, tokens, &buffers.d_sum)?)
    }

    fn mlp_backward(
        &self,
        layer: &LayerIndex,
        tokens: usize,
        kept: &mut LayerActivations<B>,
        scratch: &mut Scratch<'_, B>,
        buffers: &mut BackwardBuffers<B>,
        gradients: &mut Parameters<B>,
    ) -> Result<()> {
        let ffn = self.config.intermediate_size;
        self.backend.swiglu(&kept.gate_up, tokens, ffn, scratch.activation)?;
        let BackwardBuffers { d_sum, d_activation, d_gate_up, d_x, rstd, .. } = &mut *buffers;
        let down = (layer.down, layer.down_bias);
        self.linear_backward(down, tokens, (d_sum, scratch.activation), d_activation, gradients)?;
        self.backend.swiglu_backward(&kept.gate_up, tokens, ffn, d_activation, d_gate_up)?;
        let outputs = NormOutputs { sum: scratch.sum, rstd, out: scratch.x };
        self.residual_norm(layer.mlp_norm, tokens, &kept.mlp_sum, None, outputs)?;
        let gate_up = (layer.gate_up, layer.gate_up_bias);
        self.linear_backward(gate_up, tokens, (d_gate_up, scratch.x), d_x, gradients)?;
        self.norm_backward(layer.mlp_norm, tokens, (&kept.mlp_sum, &kept.mlp_rstd), buffers, gradients)
    }

    #[allow(clippy::too_many_arguments)]
    fn qkv_backward(
        &self,
        layer: &LayerIndex,
        tokens: usize,
        positions: &B::Buffer,
        kept: &mut LayerActivations<B>,
        scratch: &mut Scratch<'_, B>,
        buffers: &mut BackwardBuffers<B>,
        gradients: &mut Parameters<B>,
    ) -> Result<()> {
        let backend = self.backend.as_ref();
        let BackwardBuffers { d_qkv, d_x, rstd, .. } = &mut *buffers;
        backend.rope_backward(self.rope_shape(tokens), &self.rope, positions, d_qkv)?;
        if let (Some((raw, raw_rstd)), Some((q_norm, k_norm))) = (&kept.qkv.before_norm, layer.qk_norm) {
            let (d_q, d_k) = gradients.pair_mut(q_norm, k_norm);
            let (q_norm, k_norm) = (self.parameters.weight(q_norm), self.parameters.weight(k_norm));
            let shape = self.config.attention();
            backend.qk_norm_backward(shape, tokens, raw, raw_rstd, q_norm, k_norm, d_qkv, d_q, d_k)?;
        }
        let outputs = NormOutputs { sum: scratch.sum, rstd, out: scratch.x };
        self.residual_norm(layer.attention_norm, tokens, &kept.attention_sum, None, outputs)?;
        self.linear_backward((layer.qkv, layer.qkv_bias), tokens, (d_qkv, scratch.x), d_x, gradients)?;
        let attention = (&kept.attention_sum, &kept.attention_rstd);
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
