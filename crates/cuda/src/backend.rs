//! The op list on CUDA: each op of the trait is one line that names the function doing it.

use crate::buffer::Buffer;
use crate::weight::Weight;
use crate::{CudaBackend, memory_ops, rows};
use gradus_ops::{
    AdamW, AttentionShape, Backend, DeviceMemory, Error, KvPageShape, LogitAdjustments, LossRows, Precision, Result,
    RmsNormShape, RopeShape, SampleRows,
};
use gradus_tensor::{DType, Element};

/// An op whose kernels are not written yet.
fn missing<T>(op: &'static str) -> Result<T> {
    Err(Error::Invalid { op, reason: "there is no CUDA kernel for it in this version; take device \"cpu\"".to_owned() })
}

impl Backend for CudaBackend {
    type Buffer = Buffer;
    type Weight = Weight;

    // ---- device -------------------------------------------------------------------------------------------------
    fn kind(&self) -> &'static str {
        self.device.driver.kind()
    }
    fn level(&self) -> &str {
        &self.level
    }
    /// Of the host: one thread enqueues.
    fn threads(&self) -> usize {
        1
    }
    fn device_memory(&self) -> Result<Option<DeviceMemory>> {
        memory_ops::device_memory(self)
    }
    fn synchronize(&self) -> Result<()> {
        memory_ops::synchronize(self)
    }

    // ---- memory -------------------------------------------------------------------------------------------------
    fn alloc(&self, dtype: DType, len: usize) -> Result<Buffer> {
        Buffer::zeroed(&self.device, dtype, len)
    }
    fn len(&self, buffer: &Buffer) -> usize {
        buffer.len()
    }
    fn write<T: Element>(&self, dst: &mut Buffer, offset: usize, src: &[T]) -> Result<()> {
        dst.write(offset, src)
    }
    fn read<T: Element>(&self, src: &Buffer, offset: usize, dst: &mut [T]) -> Result<()> {
        src.read(offset, dst)
    }
    fn zero(&self, dst: &mut Buffer, offset: usize, len: usize) -> Result<()> {
        dst.zero(offset, len)
    }
    fn add(&self, y: &mut Buffer, x: &Buffer, len: usize) -> Result<()> {
        memory_ops::add(self, y, x, len)
    }

    // ---- parameters ---------------------------------------------------------------------------------------------
    fn alloc_weight(&self, rows: usize, cols: usize, precision: Precision) -> Result<Weight> {
        Weight::zeroed(&self.device, rows, cols, precision)
    }
    fn weight_precision(&self, weight: &Weight) -> Precision {
        weight.precision()
    }
    fn weight_shape(&self, weight: &Weight) -> (usize, usize) {
        (weight.rows(), weight.cols())
    }
    fn load_row_major(&self, weight: &mut Weight, row_offset: usize, src: &[f32]) -> Result<()> {
        weight.load_row_major(row_offset, src)
    }
    fn store_row_major(&self, weight: &Weight, row_offset: usize, dst: &mut [f32]) -> Result<()> {
        weight.store_row_major(row_offset, dst)
    }
    fn zero_weight(&self, weight: &mut Weight) -> Result<()> {
        weight.set_zero()
    }

    // ---- embedding ----------------------------------------------------------------------------------------------
    fn embedding(&self, _: &Weight, _: &Buffer, _: usize, _: &mut Buffer) -> Result<()> {
        missing("embedding")
    }
    fn embedding_backward(&self, _: &mut Weight, _: &Buffer, _: usize, _: &Buffer) -> Result<()> {
        missing("embedding_backward")
    }

    // ---- normalisation ------------------------------------------------------------------------------------------
    #[allow(clippy::too_many_arguments)]
    fn rms_norm(
        &self,
        _: RmsNormShape,
        _: &Buffer,
        _: Option<&Buffer>,
        _: &Weight,
        _: &mut Buffer,
        _: &mut Buffer,
        _: &mut Buffer,
    ) -> Result<()> {
        missing("rms_norm")
    }
    #[allow(clippy::too_many_arguments)]
    fn rms_norm_backward(
        &self,
        _: RmsNormShape,
        _: &Buffer,
        _: &Buffer,
        _: &Weight,
        _: &Buffer,
        _: &mut Buffer,
        _: &mut Weight,
    ) -> Result<()> {
        missing("rms_norm_backward")
    }
    #[allow(clippy::too_many_arguments)]
    fn qk_norm(
        &self,
        _: AttentionShape,
        _: usize,
        _: f32,
        _: &Buffer,
        _: &Weight,
        _: &Weight,
        _: &mut Buffer,
        _: &mut Buffer,
    ) -> Result<()> {
        missing("qk_norm")
    }
    #[allow(clippy::too_many_arguments)]
    fn qk_norm_backward(
        &self,
        _: AttentionShape,
        _: usize,
        _: &Buffer,
        _: &Buffer,
        _: &Weight,
        _: &Weight,
        _: &mut Buffer,
        _: &mut Weight,
        _: &mut Weight,
    ) -> Result<()> {
        missing("qk_norm_backward")
    }

    // ---- matmul -------------------------------------------------------------------------------------------------
    fn matmul(&self, _: &Buffer, _: usize, _: &Weight, _: Option<&Weight>, _: &mut Buffer) -> Result<()> {
        missing("matmul")
    }
    fn matmul_backward_input(&self, _: &Buffer, _: usize, _: &Weight, _: &mut Buffer) -> Result<()> {
        missing("matmul_backward_input")
    }
    fn matmul_backward_weight(
        &self,
        _: &Buffer,
        _: &Buffer,
        _: usize,
        _: &mut Weight,
        _: Option<&mut Weight>,
    ) -> Result<()> {
        missing("matmul_backward_weight")
    }

    // ---- rotary positions ---------------------------------------------------------------------------------------
    fn rope(&self, _: RopeShape, _: &Buffer, _: &Buffer, _: &mut Buffer) -> Result<()> {
        missing("rope")
    }
    fn rope_backward(&self, _: RopeShape, _: &Buffer, _: &Buffer, _: &mut Buffer) -> Result<()> {
        missing("rope_backward")
    }

    // ---- attention ----------------------------------------------------------------------------------------------
    fn attention(
        &self,
        _: AttentionShape,
        _: &Buffer,
        _: &Buffer,
        _: usize,
        _: &mut Buffer,
        _: &mut Buffer,
    ) -> Result<()> {
        missing("attention")
    }
    #[allow(clippy::too_many_arguments)]
    fn attention_backward(
        &self,
        _: AttentionShape,
        _: &Buffer,
        _: &Buffer,
        _: usize,
        _: &Buffer,
        _: &Buffer,
        _: &Buffer,
        _: &mut Buffer,
    ) -> Result<()> {
        missing("attention_backward")
    }
    fn kv_append(
        &self,
        _: KvPageShape,
        _: &Buffer,
        _: &Buffer,
        _: usize,
        _: &mut Buffer,
        _: &mut Buffer,
    ) -> Result<()> {
        missing("kv_append")
    }
    fn kv_copy_page(
        &self,
        shape: KvPageShape,
        from: usize,
        to: usize,
        k_pages: &mut Buffer,
        v_pages: &mut Buffer,
    ) -> Result<()> {
        memory_ops::kv_copy_page(shape, from, to, k_pages, v_pages)
    }
    #[allow(clippy::too_many_arguments)]
    fn paged_attention(
        &self,
        _: KvPageShape,
        _: &Buffer,
        _: usize,
        _: &Buffer,
        _: &Buffer,
        _: &Buffer,
        _: usize,
        _: &Buffer,
        _: &Buffer,
        _: &mut Buffer,
    ) -> Result<()> {
        missing("paged_attention")
    }

    // ---- mlp ----------------------------------------------------------------------------------------------------
    fn swiglu(&self, _: &Buffer, _: usize, _: usize, _: &mut Buffer) -> Result<()> {
        missing("swiglu")
    }
    fn swiglu_backward(&self, _: &Buffer, _: usize, _: usize, _: &Buffer, _: &mut Buffer) -> Result<()> {
        missing("swiglu_backward")
    }

    // ---- head, loss, sampling -----------------------------------------------------------------------------------
    fn gather_rows(
        &self,
        x: &Buffer,
        indices: &Buffer,
        offset: usize,
        rows: usize,
        dim: usize,
        out: &mut Buffer,
    ) -> Result<()> {
        rows::gather_rows(self, x, indices, offset, rows, dim, out)
    }
    fn scatter_add_rows(
        &self,
        x: &Buffer,
        indices: &Buffer,
        offset: usize,
        rows: usize,
        dim: usize,
        y: &mut Buffer,
    ) -> Result<()> {
        rows::scatter_add_rows(self, x, indices, offset, rows, dim, y)
    }
    fn softmax_statistics(
        &self,
        _: &Buffer,
        _: LossRows<'_, Buffer>,
        _: &mut Buffer,
        _: &mut Buffer,
        _: &mut Buffer,
    ) -> Result<()> {
        missing("softmax_statistics")
    }
    fn softmax_backward(&self, _: &mut Buffer, _: LossRows<'_, Buffer>, _: &Buffer, _: &Buffer) -> Result<()> {
        missing("softmax_backward")
    }
    fn adjust_logits(&self, _: &mut Buffer, _: LogitAdjustments<'_, Buffer>, _: &mut Buffer) -> Result<()> {
        missing("adjust_logits")
    }
    fn restore_logits(&self, _: &mut Buffer, _: LogitAdjustments<'_, Buffer>, _: &Buffer) -> Result<()> {
        missing("restore_logits")
    }
    fn sample(
        &self,
        _: &Buffer,
        _: SampleRows<'_, Buffer>,
        _: &mut Buffer,
        _: &mut Buffer,
        _: &mut Buffer,
        _: &mut Buffer,
    ) -> Result<()> {
        missing("sample")
    }

    // ---- optimizer ----------------------------------------------------------------------------------------------
    fn sum_of_squares<'a>(&self, _: impl Iterator<Item = &'a Weight>) -> Result<f64> {
        missing("sum_of_squares")
    }
    fn adamw(
        &self,
        _: &mut Weight,
        _: Option<&mut Weight>,
        _: &Weight,
        _: &mut Weight,
        _: &mut Weight,
        _: &AdamW,
    ) -> Result<()> {
        missing("adamw")
    }
}
