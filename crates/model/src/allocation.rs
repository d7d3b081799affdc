//! Makes the buffers of a workspace, or only counts what they would take: one list of shapes says both.

use gradus_ops::Backend;
use gradus_tensor::DType::{self, F32, U32};

use crate::{Model, Result};

/// Takes memory for workspaces and counts its bytes.
pub(crate) struct Allocation<'a, B: Backend> {
    backend: &'a B,
    /// Element type of activations: F32, or BF16 in a bf16 policy.
    activations: DType,
    is_real: bool,
    pub bytes: u64,
}

impl<'a, B: Backend> Allocation<'a, B> {
    pub fn new(model: &'a Model<B>) -> Allocation<'a, B> {
        let activations = model.precision.activations();
        Allocation { backend: model.backend.as_ref(), activations, is_real: true, bytes: 0 }
    }

    /// Counts alone: the buffers that it gives are empty.
    pub fn counting(model: &'a Model<B>) -> Allocation<'a, B> {
        Allocation { is_real: false, ..Allocation::new(model) }
    }

    /// Values that a forward rounds where it stores them.
    pub fn activations(&mut self, len: usize) -> Result<B::Buffer> {
        self.take(self.activations, len)
    }

    /// Sums that stay in f32: gradients, logits, statistics, outputs of projections before the residual is added.
    pub fn f32s(&mut self, len: usize) -> Result<B::Buffer> {
        self.take(F32, len)
    }

    pub fn u32s(&mut self, len: usize) -> Result<B::Buffer> {
        self.take(U32, len)
    }

    fn take(&mut self, dtype: DType, len: usize) -> Result<B::Buffer> {
        self.bytes += (len * dtype.bytes()) as u64;
        Ok(self.backend.alloc(dtype, if self.is_real { len } else { 0 })?)
    }
}
