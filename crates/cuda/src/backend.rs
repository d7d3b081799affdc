//! The op list on CUDA: each op of the trait is one line that names the function doing it.

use crate::buffer::Buffer;
use crate::optimizer_state::OptimizerState;
use crate::region::Region;
use crate::scratch::scratch;
use crate::weight::Weight;
use crate::{
    CudaBackend, attention, cache, embedding, matmul, memory_ops, norm, optimizer, rope, sample, softmax, swiglu,
    transfers,
};
use gradus_ops::{
    AdamW, AttentionShape, Backend, DeviceMemory, KvPageShape, LogitAdjustments, LossRows, OptimizerValues, Precision,
    Result, RmsNormShape, RopeShape, SampleRows, Words, WordsMut,
};
use gradus_tensor::{DType, Element};

impl Backend for CudaBackend {
    type Buffer = Buffer;
    type Weight = Weight;
    type Region = Region;
    type OptimizerState = OptimizerState;
    const MOMENTS: DType = DType::BF16;

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
    fn head_rows(&self) -> usize {
        4096
    }
    fn step_tokens(&self) -> usize {
        8192
    }
    fn synchronize(&self) -> Result<()> {
        memory_ops::synchronize(self)
    }

    // ---- memory -------------------------------------------------------------------------------------------------
    fn alloc(&self, dtype: DType, len: usize) -> Result<Buffer> {
        Buffer::zeroed(&self.device, dtype, len)
    }
    fn unbacked(&self, dtype: DType, len: usize) -> Result<Buffer> {
        Buffer::unbacked(&self.device, dtype, len)
    }
    fn region(&self) -> Region {
        Region::new(&self.device)
    }
    fn region_bytes(&self, region: &Region) -> usize {
        region.bytes()
    }
    fn scratch_bytes(&self) -> usize {
        scratch(self).bytes()
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
    fn write_all(&self, lists: &mut [(&mut Buffer, Words<'_>)]) -> Result<()> {
        transfers::write_all(self, lists)
    }
    fn read_all(&self, lists: &mut [(&Buffer, WordsMut<'_>)]) -> Result<()> {
        transfers::read_all(self, lists)
    }
    fn zero(&self, dst: &mut Buffer, offset: usize, len: usize) -> Result<()> {
        dst.zero(offset, len)
    }
    fn copy(&self, src: &Buffer, src_offset: usize, dst: &mut Buffer, dst_offset: usize, len: usize) -> Result<()> {
        memory_ops::copy(self, (src, src_offset), (dst, dst_offset), len)
    }

    // ---- parameters ---------------------------------------------------------------------------------------------
    fn alloc_weight(&self, rows: usize, cols: usize, precision: Precision) -> Result<Weight> {
        Weight::zeroed(&self.device, rows, cols, precision)
    }
    fn unbacked_weight(&self, rows: usize, cols: usize, precision: Precision) -> Result<Weight> {
        Weight::unbacked(&self.device, rows, cols, precision)
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
    fn embedding(&self, weight: &Weight, ids: &Buffer, tokens: usize, out: &mut Buffer) -> Result<()> {
        embedding::embedding(self, weight, ids, tokens, out)
    }
    fn embedding_backward(&self, d_weight: &mut Weight, ids: &Buffer, tokens: usize, d_out: &Buffer) -> Result<()> {
        embedding::embedding_backward(self, d_weight, ids, tokens, d_out)
    }

    // ---- normalisation ------------------------------------------------------------------------------------------
    #[allow(clippy::too_many_arguments)]
    fn rms_norm(
        &self,
        shape: RmsNormShape,
        residual: &Buffer,
        delta: Option<&Buffer>,
        weight: &Weight,
        sum: &mut Buffer,
        rstd: &mut Buffer,
        out: &mut Buffer,
    ) -> Result<()> {
        norm::rms_norm(self, shape, residual, delta, weight, sum, rstd, out)
    }
    #[allow(clippy::too_many_arguments)]
    fn rms_norm_backward(
        &self,
        shape: RmsNormShape,
        sum: &Buffer,
        rstd: &Buffer,
        weight: &Weight,
        d_out: &Buffer,
        d_sum: &mut Buffer,
        d_weight: &mut Weight,
    ) -> Result<()> {
        norm::rms_norm_backward(self, shape, sum, rstd, weight, d_out, d_sum, d_weight)
    }
    #[allow(clippy::too_many_arguments)]
    fn qk_norm(
        &self,
        shape: AttentionShape,
        tokens: usize,
        eps: f32,
        qkv: &Buffer,
        q_weight: &Weight,
        k_weight: &Weight,
        rstd: &mut Buffer,
        qkv_out: &mut Buffer,
    ) -> Result<()> {
        norm::qk_norm(self, shape, tokens, eps, qkv, q_weight, k_weight, rstd, qkv_out)
    }
    #[allow(clippy::too_many_arguments)]
    fn qk_norm_backward(
        &self,
        shape: AttentionShape,
        tokens: usize,
        qkv: &Buffer,
        rstd: &Buffer,
        q_weight: &Weight,
        k_weight: &Weight,
        d_qkv: &mut Buffer,
        d_q_weight: &mut Weight,
        d_k_weight: &mut Weight,
    ) -> Result<()> {
        norm::qk_norm_backward(self, shape, tokens, qkv, rstd, q_weight, k_weight, d_qkv, d_q_weight, d_k_weight)
    }

    // ---- matmul -------------------------------------------------------------------------------------------------
    fn matmul(&self, x: &Buffer, m: usize, weight: &Weight, bias: Option<&Weight>, y: &mut Buffer) -> Result<()> {
        matmul::forward(self, x, m, weight, bias, y)
    }
    fn matmul_backward_input(&self, d_y: &Buffer, m: usize, weight: &Weight, d_x: &mut Buffer) -> Result<()> {
        matmul::backward_input(self, d_y, m, weight, d_x)
    }
    fn matmul_backward_weight(
        &self,
        d_y: &Buffer,
        x: &Buffer,
        m: usize,
        d_weight: &mut Weight,
        d_bias: Option<&mut Weight>,
    ) -> Result<()> {
        matmul::backward_weight(self, d_y, x, m, d_weight, d_bias)
    }

    // ---- rotary positions ---------------------------------------------------------------------------------------
    fn rope(&self, shape: RopeShape, table: &Buffer, positions: &Buffer, qkv: &mut Buffer) -> Result<()> {
        rope::rope(self, shape, table, positions, qkv)
    }
    fn rope_backward(&self, shape: RopeShape, table: &Buffer, positions: &Buffer, d_qkv: &mut Buffer) -> Result<()> {
        rope::rope_backward(self, shape, table, positions, d_qkv)
    }

    // ---- attention ----------------------------------------------------------------------------------------------
    fn attention(
        &self,
        shape: AttentionShape,
        qkv: &Buffer,
        cu_seqlens: &Buffer,
        sequences: usize,
        out: &mut Buffer,
        lse: &mut Buffer,
    ) -> Result<()> {
        attention::attention(self, shape, qkv, cu_seqlens, sequences, out, lse)
    }
    #[allow(clippy::too_many_arguments)]
    fn attention_backward(
        &self,
        shape: AttentionShape,
        qkv: &Buffer,
        cu_seqlens: &Buffer,
        sequences: usize,
        out: &Buffer,
        lse: &Buffer,
        d_out: &Buffer,
        d_qkv: &mut Buffer,
    ) -> Result<()> {
        attention::attention_backward(self, shape, qkv, cu_seqlens, sequences, out, lse, d_out, d_qkv)
    }
    fn kv_append(
        &self,
        shape: KvPageShape,
        qkv: &Buffer,
        slots: &Buffer,
        tokens: usize,
        k_pages: &mut Buffer,
        v_pages: &mut Buffer,
    ) -> Result<()> {
        cache::kv_append(self, shape, qkv, slots, tokens, k_pages, v_pages)
    }
    fn kv_copy_page(
        &self,
        shape: KvPageShape,
        from: usize,
        to: usize,
        k_pages: &mut Buffer,
        v_pages: &mut Buffer,
    ) -> Result<()> {
        cache::kv_copy_page(shape, from, to, k_pages, v_pages)
    }
    #[allow(clippy::too_many_arguments)]
    fn paged_attention(
        &self,
        shape: KvPageShape,
        qkv: &Buffer,
        tokens: usize,
        positions: &Buffer,
        sequences: &Buffer,
        page_table: &Buffer,
        pages_max: usize,
        k_pages: &Buffer,
        v_pages: &Buffer,
        out: &mut Buffer,
    ) -> Result<()> {
        attention::paged_attention(
            self, shape, qkv, tokens, positions, sequences, page_table, pages_max, k_pages, v_pages, out,
        )
    }

    // ---- mlp ----------------------------------------------------------------------------------------------------
    fn swiglu(&self, gate_up: &Buffer, tokens: usize, ffn: usize, out: &mut Buffer) -> Result<()> {
        swiglu::swiglu(self, gate_up, tokens, ffn, out)
    }
    fn swiglu_backward(
        &self,
        gate_up: &Buffer,
        tokens: usize,
        ffn: usize,
        d_out: &Buffer,
        d_gate_up: &mut Buffer,
    ) -> Result<()> {
        swiglu::swiglu_backward(self, gate_up, tokens, ffn, d_out, d_gate_up)
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
        embedding::gather_rows(self, x, indices, offset, rows, dim, out)
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
        embedding::scatter_add_rows(self, x, indices, offset, rows, dim, y)
    }
    fn softmax_statistics(
        &self,
        logits: &Buffer,
        rows: LossRows<'_, Buffer>,
        lse: &mut Buffer,
        logprob: &mut Buffer,
        entropy: &mut Buffer,
    ) -> Result<()> {
        softmax::softmax_statistics(self, logits, &rows, [lse, logprob, entropy])
    }
    fn softmax_backward(
        &self,
        logits: &mut Buffer,
        rows: LossRows<'_, Buffer>,
        lse: &Buffer,
        coefficient: &Buffer,
    ) -> Result<()> {
        softmax::softmax_backward(self, logits, &rows, lse, coefficient)
    }
    fn adjust_logits(
        &self,
        logits: &mut Buffer,
        adjustments: LogitAdjustments<'_, Buffer>,
        saved: &mut Buffer,
    ) -> Result<()> {
        sample::adjust_logits(self, logits, &adjustments, saved)
    }
    fn restore_logits(
        &self,
        logits: &mut Buffer,
        adjustments: LogitAdjustments<'_, Buffer>,
        saved: &Buffer,
    ) -> Result<()> {
        sample::restore_logits(self, logits, &adjustments, saved)
    }
    fn sample(
        &self,
        logits: &Buffer,
        rows: SampleRows<'_, Buffer>,
        ids: &mut Buffer,
        lse: &mut Buffer,
        logprob: &mut Buffer,
        entropy: &mut Buffer,
    ) -> Result<()> {
        sample::sample(self, logits, &rows, ids, [lse, logprob, entropy])
    }

    // ---- optimizer ----------------------------------------------------------------------------------------------
    fn sum_of_squares<'a>(&self, weights: impl Iterator<Item = &'a Weight>) -> Result<f64> {
        optimizer::sum_of_squares(self, weights)
    }
    fn alloc_optimizer(&self, weight: &Weight) -> Result<OptimizerState> {
        OptimizerState::of(&self.device, weight)
    }
    fn optimizer_bytes(&self, weight: &Weight) -> u64 {
        OptimizerState::bytes_of(weight)
    }
    fn load_optimizer(
        &self,
        values: OptimizerValues,
        weight: &mut Weight,
        state: &mut OptimizerState,
        row_offset: usize,
        src: &[f32],
    ) -> Result<()> {
        state.load(values, weight, row_offset, src)
    }
    fn store_optimizer(
        &self,
        values: OptimizerValues,
        weight: &Weight,
        state: &OptimizerState,
        row_offset: usize,
        dst: &mut [f32],
    ) -> Result<()> {
        state.store(values, weight, row_offset, dst)
    }
    fn adamw(&self, weight: &mut Weight, state: &mut OptimizerState, gradient: &Weight, options: &AdamW) -> Result<()> {
        optimizer::adamw(self, weight, state, gradient, options)
    }
}
