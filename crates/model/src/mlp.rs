//! The MLP of a layer in a training pass: over all tokens at once, or in chunks of them where every layer computes gate and up again anyway,
//! so that a long sequence needs room for the widest values of one chunk alone.
//!
//! A chunk is whole blocks of [`GRADIENT_BLOCK`] rows: weight gradients get the same partial sums in the same order, and no bit changes.

use gradus_ops::{Backend, GRADIENT_BLOCK};

use crate::activations::{LayerView, Recompute};
use crate::allocation::Allocation;
use crate::layout::LayerIndex;
use crate::workspace::{BackwardBuffers, ForwardScratch};
use crate::{Model, ModelConfig, Parameters, Result};

/// Bytes that the values of a chunk take, at most. Of a 7B policy in bf16 they are 2,816 tokens: enough that its products are as fast as longer
/// ones, and that the gradients of the weights, read and written once a chunk, cost little beside them.
pub(crate) const MLP_BYTES: u64 = 1 << 30;

/// The stream of one chunk, copied from and to that of all tokens.
pub(crate) struct MlpChunk<B: Backend> {
    pub rows: usize,
    /// The normed input `[rows, hidden]`.
    pub x: B::Buffer,
    /// The branch, in a backward its gradient `[rows, hidden]`.
    pub branch: B::Buffer,
}

/// The values `[rows, ffn]` and `[rows, 2 · ffn]` of a backward.
struct WideValues<'a, B: Backend> {
    recompute: Recompute,
    gate_up: &'a mut B::Buffer,
    activation: &'a mut B::Buffer,
    d_activation: &'a mut B::Buffer,
    d_gate_up: &'a mut B::Buffer,
}

/// Tokens whose wide values there is room for: those of one chunk of at most `bytes_max`, or all where a layer keeps gate and up of all.
pub(crate) fn mlp_rows<B: Backend>(model: &Model<B>, plan: &[Recompute], tokens: usize, bytes_max: u64) -> usize {
    if plan.contains(&Recompute::Nothing) {
        return tokens;
    }
    let ModelConfig { hidden_size, intermediate_size, .. } = model.config;
    // Values as they are stored and gradients in f32, of gate, up and silu · up; of the chunk's stream one more f32.
    let stored = model.precision.activations().bytes();
    let row_bytes = 3 * intermediate_size * (stored + 4) + hidden_size * (stored + 8);
    let blocks = bytes_max as usize / (row_bytes * GRADIENT_BLOCK);
    tokens.min(blocks.max(1) * GRADIENT_BLOCK)
}

impl<B: Backend> MlpChunk<B> {
    /// None where there is room for all tokens at once.
    pub fn new(
        config: &ModelConfig,
        tokens: usize,
        rows: usize,
        allocation: &mut Allocation<'_, B>,
    ) -> Result<Option<MlpChunk<B>>> {
        if rows == tokens {
            return Ok(None);
        }
        let hidden = rows * config.hidden_size;
        Ok(Some(MlpChunk { rows, x: allocation.activations(hidden)?, branch: allocation.f32s(hidden)? }))
    }

    /// (first token, tokens) of each chunk.
    fn split(&self, tokens: usize) -> impl Iterator<Item = (usize, usize)> + use<B> {
        let rows = self.rows;
        (0..tokens).step_by(rows).map(move |first| (first, rows.min(tokens - first)))
    }
}

impl<B: Backend> Model<B> {
    /// From the normed input in `scratch.x` to the branch in `scratch.delta`. `gate_up` is left filled where there is room for all tokens.
    pub(crate) fn mlp_branch(
        &self,
        layer: &LayerIndex,
        tokens: usize,
        gate_up: &mut B::Buffer,
        scratch: &mut ForwardScratch<B>,
    ) -> Result<()> {
        let (backend, hidden) = (self.backend.as_ref(), self.config.hidden_size);
        let ForwardScratch { x, delta, activation, chunk } = scratch;
        let Some(chunk) = chunk.as_mut().filter(|chunk| tokens > chunk.rows) else {
            return self.mlp(layer, x, tokens, gate_up, activation, delta);
        };
        for (first, rows) in chunk.split(tokens) {
            backend.copy(x, first * hidden, &mut chunk.x, 0, rows * hidden)?;
            self.mlp(layer, &chunk.x, rows, gate_up, activation, &mut chunk.branch)?;
            backend.copy(&chunk.branch, 0, delta, first * hidden, rows * hidden)?;
        }
        Ok(())
    }

    /// From the normed input in `scratch.x` and the gradient of the branch in `d_sum` to that of the input in `d_x`. Adds to the gradients of
    /// the layer's MLP.
    pub(crate) fn mlp_branch_backward(
        &self,
        layer: &LayerIndex,
        tokens: usize,
        view: &mut LayerView<'_, B>,
        scratch: &mut ForwardScratch<B>,
        buffers: &mut BackwardBuffers<B>,
        gradients: &mut Parameters<B>,
    ) -> Result<()> {
        let (backend, hidden) = (self.backend.as_ref(), self.config.hidden_size);
        let ForwardScratch { x, activation, chunk, .. } = scratch;
        let BackwardBuffers { d_sum, d_x, d_activation, d_gate_up, d_chunk, .. } = buffers;
        let (recompute, gate_up) = (view.recompute, &mut *view.gate_up);
        let mut wide = WideValues { recompute, gate_up, activation, d_activation, d_gate_up };
        let (Some(chunk), Some(d_chunk)) = (chunk.as_mut().filter(|chunk| tokens > chunk.rows), d_chunk) else {
            return self.mlp_rows_backward(layer, tokens, (x, d_sum), d_x, &mut wide, gradients);
        };
        for (first, rows) in chunk.split(tokens) {
            backend.copy(x, first * hidden, &mut chunk.x, 0, rows * hidden)?;
            backend.copy(d_sum, first * hidden, &mut chunk.branch, 0, rows * hidden)?;
            self.mlp_rows_backward(layer, rows, (&chunk.x, &chunk.branch), d_chunk, &mut wide, gradients)?;
            backend.copy(d_chunk, 0, d_x, first * hidden, rows * hidden)?;
        }
        Ok(())
    }

    /// d_x[rows, hidden] from (x, the gradient of the branch) `[rows, hidden]`.
    fn mlp_rows_backward(
        &self,
        layer: &LayerIndex,
        rows: usize,
        (x, d_branch): (&B::Buffer, &B::Buffer),
        d_x: &mut B::Buffer,
        wide: &mut WideValues<'_, B>,
        gradients: &mut Parameters<B>,
    ) -> Result<()> {
        let (backend, ffn) = (self.backend.as_ref(), self.config.intermediate_size);
        let WideValues { recompute, gate_up, activation, d_activation, d_gate_up } = wide;
        let projection = (layer.gate_up, layer.gate_up_bias);
        if *recompute != Recompute::Nothing {
            self.linear(projection, x, rows, gate_up)?;
        }
        backend.swiglu(gate_up, rows, ffn, activation)?;
        self.linear_backward((layer.down, layer.down_bias), rows, (d_branch, activation), d_activation, gradients)?;
        backend.swiglu_backward(gate_up, rows, ffn, d_activation, d_gate_up)?;
        self.linear_backward(projection, rows, (d_gate_up, x), d_x, gradients)
    }
}
