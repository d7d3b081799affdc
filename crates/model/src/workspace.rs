//! Device memory of a training step: what the forward keeps for the backward, and scratch.
//!
//! Grows to the largest batch seen and is then used again, so a step allocates nothing. What is cheap to compute again
//! (norm outputs, silu · up) is kept for no layer.

use gradus_ops::Backend;
use gradus_tensor::DType::{F32, U32};

use crate::block::QkvBuffers;
use crate::head::HeadBuffers;
use crate::{Error, Model, Result, TokenBatch};

/// Capacities are rounded up to this many tokens, so that batches of nearly the same size do not allocate.
const TOKENS_STEP: usize = 256;

/// Memory of `forward`, `score_rows` and `loss_backward`; empty until the first forward.
pub struct TrainingWorkspace<B: Backend> {
    capacity: (usize, usize),
    pub(crate) forward: Option<ForwardBuffers<B>>,
    pub(crate) backward: Option<BackwardBuffers<B>>,
    pub(crate) head: Option<HeadBuffers<B>>,
    /// Size of the batch whose activations are held; 0 before the first forward.
    pub(crate) tokens: usize,
    pub(crate) sequences: usize,
}

/// Of one layer, for its backward.
pub(crate) struct LayerActivations<B: Backend> {
    /// The residual stream entering attention and the MLP `[tokens, hidden]`, each with its norm's 1/rms `[tokens]`.
    pub attention_sum: B::Buffer,
    pub attention_rstd: B::Buffer,
    pub mlp_sum: B::Buffer,
    pub mlp_rstd: B::Buffer,
    pub qkv: QkvBuffers<B>,
    /// `[tokens, q_dim]` and its log-sum-exp `[tokens, heads]`.
    pub attended: B::Buffer,
    pub lse: B::Buffer,
    /// `[tokens, 2 · ffn]`
    pub gate_up: B::Buffer,
}

pub(crate) struct ForwardBuffers<B: Backend> {
    pub ids: B::Buffer,
    pub positions: B::Buffer,
    pub cu_seqlens: B::Buffer,
    pub layers: Vec<LayerActivations<B>>,
    pub final_sum: B::Buffer,
    pub final_rstd: B::Buffer,
    /// The normed hidden state of every token `[tokens, hidden]`.
    pub hidden: B::Buffer,
    /// Scratch: norm output and the branch to be added to the residual `[tokens, hidden]`, silu · up `[tokens, ffn]`.
    pub x: B::Buffer,
    pub delta: B::Buffer,
    pub activation: B::Buffer,
}

pub(crate) struct BackwardBuffers<B: Backend> {
    /// Gradient of the residual stream, and of a norm's output `[tokens, hidden]`.
    pub d_sum: B::Buffer,
    pub d_x: B::Buffer,
    pub d_attended: B::Buffer,
    pub d_qkv: B::Buffer,
    pub d_activation: B::Buffer,
    pub d_gate_up: B::Buffer,
    /// A recomputed norm writes its 1/rms here.
    pub rstd: B::Buffer,
}

impl<B: Backend> Default for TrainingWorkspace<B> {
    fn default() -> Self {
        TrainingWorkspace::new()
    }
}

impl<B: Backend> TrainingWorkspace<B> {
    pub fn new() -> TrainingWorkspace<B> {
        TrainingWorkspace { capacity: (0, 0), forward: None, backward: None, head: None, tokens: 0, sequences: 0 }
    }

    /// Makes room for `batch` and copies its tokens in.
    pub(crate) fn begin(&mut self, model: &Model<B>, batch: &TokenBatch) -> Result<&mut ForwardBuffers<B>> {
        (self.tokens, self.sequences) = (0, 0);
        let (tokens, sequences) = (batch.tokens.len(), batch.sequences());
        if self.forward.is_none() || tokens > self.capacity.0 || sequences > self.capacity.1 {
            let capacity = (
                tokens.max(self.capacity.0).next_multiple_of(TOKENS_STEP),
                sequences.max(self.capacity.1).next_power_of_two(),
            );
            // The old memory goes first: both together might not fit.
            (self.forward, self.backward) = (None, None);
            self.forward = Some(ForwardBuffers::new(model, capacity)?);
            self.capacity = capacity;
        }
        let buffers = self.forward.as_mut().expect("just allocated");
        let backend = model.backend.as_ref();
        backend.write(&mut buffers.ids, 0, &batch.tokens)?;
        backend.write(&mut buffers.positions, 0, &batch.positions())?;
        backend.write(&mut buffers.cu_seqlens, 0, &batch.cu_seqlens)?;
        Ok(buffers)
    }

    /// Memory of the backward, allocated when a backward first needs it: scoring alone never does.
    pub(crate) fn backward_for(&mut self, model: &Model<B>) -> Result<()> {
        if self.backward.is_none() {
            self.backward = Some(BackwardBuffers::new(model, self.capacity.0)?);
        }
        Ok(())
    }

    /// Tells a forgotten forward from one over another batch.
    pub(crate) fn check_holds(&self, batch: &TokenBatch) -> Result<()> {
        if (self.tokens, self.sequences) == (batch.tokens.len(), batch.sequences()) {
            return Ok(());
        }
        Err(Error::invalid("workspace", "holds no activations of this batch; run forward over it first"))
    }
}

impl<B: Backend> ForwardBuffers<B> {
    fn new(model: &Model<B>, (tokens, sequences): (usize, usize)) -> Result<ForwardBuffers<B>> {
        let (config, backend) = (&model.config, model.backend.as_ref());
        let shape = config.attention();
        let rows = |width: usize| backend.alloc(F32, tokens * width);
        let hidden = || rows(config.hidden_size);
        let layer = |_| -> Result<LayerActivations<B>> {
            Ok(LayerActivations {
                attention_sum: hidden()?,
                attention_rstd: rows(1)?,
                mlp_sum: hidden()?,
                mlp_rstd: rows(1)?,
                qkv: QkvBuffers::new(config, backend, tokens)?,
                attended: rows(shape.q_dim())?,
                lse: rows(shape.heads)?,
                gate_up: rows(2 * config.intermediate_size)?,
            })
        };
        Ok(ForwardBuffers {
            ids: backend.alloc(U32, tokens)?,
            positions: backend.alloc(U32, tokens)?,
            cu_seqlens: backend.alloc(U32, sequences + 1)?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            final_sum: hidden()?,
            final_rstd: rows(1)?,
            hidden: hidden()?,
            x: hidden()?,
            delta: hidden()?,
            activation: rows(config.intermediate_size)?,
        })
    }
}

impl<B: Backend> BackwardBuffers<B> {
    fn new(model: &Model<B>, tokens: usize) -> Result<BackwardBuffers<B>> {
        let (config, backend) = (&model.config, model.backend.as_ref());
        let shape = config.attention();
        let rows = |width: usize| backend.alloc(F32, tokens * width);
        Ok(BackwardBuffers {
            d_sum: rows(config.hidden_size)?,
            d_x: rows(config.hidden_size)?,
            d_attended: rows(shape.q_dim())?,
            d_qkv: rows(shape.qkv_dim())?,
            d_activation: rows(config.intermediate_size)?,
            d_gate_up: rows(2 * config.intermediate_size)?,
            rstd: rows(1)?,
        })
    }
}
