//! The parts of a transformer layer that training and paged inference share, op for op.
//!
//! Both paths call these and differ only in where keys and values live, so the same token gets the same bits in both.

use gradus_ops::{Backend, RmsNormShape, RopeShape};

use crate::allocation::Allocation;
use crate::layout::LayerIndex;
use crate::{Model, ModelConfig, Result};

/// The fused projection of one layer.
pub(crate) struct QkvBuffers<B: Backend> {
    /// Before the query and key norm, and that norm's 1/rms `[tokens, heads + kv_heads]`; only where the family has
    /// one.
    pub before_norm: Option<(B::Buffer, B::Buffer)>,
    /// `[tokens, qkv_dim]`, ready for attention.
    pub qkv: B::Buffer,
}

impl<B: Backend> QkvBuffers<B> {
    pub fn new(config: &ModelConfig, tokens: usize, allocation: &mut Allocation<'_, B>) -> Result<QkvBuffers<B>> {
        let shape = config.attention();
        let values = tokens * shape.qkv_dim();
        let before_norm = if config.qk_norm {
            Some((allocation.activations(values)?, allocation.f32s(tokens * (shape.heads + shape.kv_heads))?))
        } else {
            None
        };
        Ok(QkvBuffers { before_norm, qkv: allocation.activations(values)? })
    }
}

/// Outputs of one residual norm.
pub(crate) struct NormOutputs<'a, B: Backend> {
    pub sum: &'a mut B::Buffer,
    pub rstd: &'a mut B::Buffer,
    pub out: &'a mut B::Buffer,
}

impl<B: Backend> Model<B> {
    pub(crate) fn norm_shape(&self, rows: usize) -> RmsNormShape {
        RmsNormShape { rows, dim: self.config.hidden_size, eps: self.config.rms_norm_eps as f32 }
    }

    pub(crate) fn rope_shape(&self, rows: usize) -> RopeShape {
        RopeShape { attention: self.config.attention(), rows, positions_max: self.config.max_position_embeddings }
    }

    /// sum = residual (+ delta), out = its norm under parameter `weight`.
    pub(crate) fn residual_norm(
        &self,
        weight: usize,
        rows: usize,
        residual: &B::Buffer,
        delta: Option<&B::Buffer>,
        outputs: NormOutputs<'_, B>,
    ) -> Result<()> {
        let weight = self.parameters.weight(weight);
        let NormOutputs { sum, rstd, out } = outputs;
        Ok(self.backend.rms_norm(self.norm_shape(rows), residual, delta, weight, sum, rstd, out)?)
    }

    /// y = x · weightᵀ + bias of the parameters at these indices.
    pub(crate) fn linear(
        &self,
        (weight, bias): (usize, Option<usize>),
        x: &B::Buffer,
        rows: usize,
        y: &mut B::Buffer,
    ) -> Result<()> {
        let bias = bias.map(|index| self.parameters.weight(index));
        Ok(self.backend.matmul(x, rows, self.parameters.weight(weight), bias, y)?)
    }

    /// Queries, keys and values of x, normed where the family does so, and rotated.
    pub(crate) fn project_qkv(
        &self,
        layer: &LayerIndex,
        x: &B::Buffer,
        positions: &B::Buffer,
        tokens: usize,
        buffers: &mut QkvBuffers<B>,
    ) -> Result<()> {
        let QkvBuffers { before_norm, qkv } = buffers;
        let projection = (layer.qkv, layer.qkv_bias);
        match (before_norm, layer.qk_norm) {
            (Some((raw, rstd)), Some((q_norm, k_norm))) => {
                self.linear(projection, x, tokens, raw)?;
                let eps = self.config.rms_norm_eps as f32;
                let (q_norm, k_norm) = (self.parameters.weight(q_norm), self.parameters.weight(k_norm));
                self.backend.qk_norm(self.config.attention(), tokens, eps, raw, q_norm, k_norm, rstd, qkv)?;
            }
            _ => self.linear(projection, x, tokens, qkv)?,
        }
        Ok(self.backend.rope(self.rope_shape(tokens), &self.rope, positions, qkv)?)
    }

    /// out = down(silu(gate(x)) · up(x)); gate_up `[tokens, 2 · ffn]` and activation `[tokens, ffn]` are left filled.
    pub(crate) fn mlp(
        &self,
        layer: &LayerIndex,
        x: &B::Buffer,
        tokens: usize,
        gate_up: &mut B::Buffer,
        activation: &mut B::Buffer,
        out: &mut B::Buffer,
    ) -> Result<()> {
        self.linear((layer.gate_up, layer.gate_up_bias), x, tokens, gate_up)?;
        self.backend.swiglu(gate_up, tokens, self.config.intermediate_size, activation)?;
        self.linear((layer.down, layer.down_bias), activation, tokens, out)
    }
}
