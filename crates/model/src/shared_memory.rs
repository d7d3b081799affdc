//! Memory of a training pass that generation uses in between: every buffer of a workspace, and gradients, can give theirs back to a region.
//!
//! The structs are taken apart without `..`, so that a buffer which is added to one cannot be forgotten here.

use gradus_ops::{Backed, Backend, Result};

use crate::Parameters;
use crate::activations::{InnerActivations, LayerActivations, StackActivations};
use crate::block::QkvBuffers;
use crate::head::HeadBuffers;
use crate::mlp::MlpChunk;
use crate::workspace::{BackwardBuffers, ForwardBuffers, ForwardScratch};

/// Something done to each buffer.
pub(crate) type Visit<'a, B> = &'a mut dyn FnMut(&mut <B as Backend>::Buffer) -> Result<()>;

impl<B: Backend> ForwardBuffers<B> {
    pub fn each(&mut self, visit: Visit<'_, B>) -> Result<()> {
        let ForwardBuffers { ids, positions, cu_seqlens, stack, final_sum, final_rstd, hidden, scratch } = self;
        let ForwardScratch { x, delta, activation, chunk } = scratch;
        for buffer in [ids, positions, cu_seqlens, final_sum, final_rstd, hidden, x, delta, activation] {
            visit(buffer)?;
        }
        if let Some(MlpChunk { rows: _, x, branch }) = chunk {
            [x, branch].into_iter().try_for_each(&mut *visit)?;
        }
        let StackActivations { layers, shared_inner, shared_gate_up } = stack;
        for layer in layers {
            let LayerActivations { attention_sum, attention_rstd, inner, gate_up } = layer;
            for buffer in [attention_sum, attention_rstd].into_iter().chain(gate_up) {
                visit(buffer)?;
            }
            inner.iter_mut().try_for_each(|inner| inner.each(visit))?;
        }
        shared_gate_up.iter_mut().try_for_each(&mut *visit)?;
        shared_inner.iter_mut().try_for_each(|inner| inner.each(visit))
    }
}

impl<B: Backend> InnerActivations<B> {
    fn each(&mut self, visit: Visit<'_, B>) -> Result<()> {
        let InnerActivations { qkv, attended, lse, mlp_sum, mlp_rstd } = self;
        let QkvBuffers { before_norm, qkv } = qkv;
        let before_norm = before_norm.iter_mut().flat_map(|(values, rstd)| [values, rstd]);
        [qkv, attended, lse, mlp_sum, mlp_rstd].into_iter().chain(before_norm).try_for_each(visit)
    }
}

impl<B: Backend> BackwardBuffers<B> {
    pub fn each(&mut self, visit: Visit<'_, B>) -> Result<()> {
        let BackwardBuffers { d_sum, d_x, d_attended, d_qkv, d_activation, d_gate_up, d_chunk, sum, rstd } = self;
        let buffers = [d_sum, d_x, d_attended, d_qkv, d_activation, d_gate_up, sum, rstd];
        buffers.into_iter().chain(d_chunk).try_for_each(visit)
    }
}

impl<B: Backend> HeadBuffers<B> {
    pub fn each(&mut self, visit: Visit<'_, B>) -> Result<()> {
        let HeadBuffers { rows: _, indices, targets, inv_t, x, d_x, logits, lse, logprob, entropy, coefficient } = self;
        let buffers = [indices, targets, inv_t, x, d_x, logits, lse, logprob, entropy, coefficient];
        buffers.into_iter().try_for_each(visit)
    }
}

impl<B: Backend> Parameters<B> {
    /// Takes memory of `region`, which holds anything, for every matrix that has none.
    pub fn take_from(&mut self, region: &B::Region) -> Result<()> {
        self.list.iter_mut().try_for_each(|parameter| parameter.weight.take_from(region))
    }

    /// Gives the memory of every matrix back; the values are lost.
    pub fn give_back(&mut self) {
        self.list.iter_mut().for_each(|parameter| parameter.weight.give_back());
    }
}
