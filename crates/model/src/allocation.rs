//! Makes the buffers of a workspace, or only counts what they would take: one list of shapes says both.

use gradus_ops::{Backed, Backend};
use gradus_tensor::DType::{self, F32, U32};

use crate::{Model, Result};

/// Takes memory for workspaces and counts its bytes.
pub(crate) struct Allocation<'a, B: Backend> {
    backend: &'a B,
    /// Element type of activations: F32, or BF16 in a bf16 policy.
    activations: DType,
    source: Source<'a, B>,
    pub bytes: u64,
}

/// Where the memory comes from.
enum Source<'a, B: Backend> {
    /// Nowhere: bytes are counted alone.
    Nothing,
    /// An allocation for each buffer.
    Device,
    /// A region, to which each buffer can give it back.
    Region(&'a B::Region),
}

impl<'a, B: Backend> Allocation<'a, B> {
    pub fn new(model: &'a Model<B>) -> Allocation<'a, B> {
        Allocation::with(model, Source::Device)
    }

    /// From `region` where there is one.
    pub fn shared(model: &'a Model<B>, region: Option<&'a B::Region>) -> Allocation<'a, B> {
        Allocation::with(model, region.map_or(Source::Device, Source::Region))
    }

    /// Counts alone: the buffers that it gives have no memory.
    pub fn counting(model: &'a Model<B>) -> Allocation<'a, B> {
        Allocation::with(model, Source::Nothing)
    }

    fn with(model: &'a Model<B>, source: Source<'a, B>) -> Allocation<'a, B> {
        Allocation { backend: model.backend.as_ref(), activations: model.precision.activations(), source, bytes: 0 }
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
        if let Source::Device = self.source {
            return Ok(self.backend.alloc(dtype, len)?);
        }
        let mut buffer = self.backend.unbacked(dtype, len)?;
        if let Source::Region(region) = self.source {
            buffer.take_from(region)?;
        }
        Ok(buffer)
    }
}
