//! The trait every device implements. Each forward op stands beside its backward.

use crate::{
    AdamW, AttentionShape, Backed, DeviceMemory, KvPageShape, LogitAdjustments, LossRows, OptimizerValues, Precision,
    Result, RmsNormShape, RopeShape, SampleRows, Words, WordsMut,
};
use gradus_tensor::{DType, Element};

/// A device: memory, and every op of the policy network.
///
/// Ops enqueue; only [`Backend::read`] and [`Backend::synchronize`] wait (on the CPU every op has finished when it returns).
/// Row-major shapes stand beside each argument. `tokens` is the number of rows of a packed batch or of one inference step.
/// "+=" means the op adds to what is there; otherwise outputs are overwritten. Buffers may be longer than an op needs.
/// Every parameter, vectors included, is a `Weight` `[rows, cols]` (a vector of n is `[n, 1]`), and so is its gradient, in f32:
/// packing stays inside the backend, and padding is zero and stays zero.
///
/// Activations (x, y, out, sum, qkv, gate_up, keys, values) are F32 or BF16 by the dtype of their buffers; a forward op reads and writes
/// one of the two, except where its comment says more. Gradients of activations, rstd, lse, logits and everything of the loss are F32.
pub trait Backend: Send + Sync + Sized + 'static {
    /// Device memory of one dtype.
    type Buffer: Backed<Self::Region> + Send + Sync + 'static;
    /// A parameter matrix [rows (outputs), cols (inputs)] in the backend's own packing.
    type Weight: Backed<Self::Region> + Send + Sync + 'static;
    /// Memory that buffers and weights use in turn; clones are the same memory.
    type Region: Clone + Send + Sync + 'static;
    /// What the optimizer keeps of one parameter beside weight and gradient: both moments, and what makes a bf16 weight an exact f32 master.
    type OptimizerState: Send + Sync + 'static;
    /// Element type of the moments.
    const MOMENTS: DType;

    // ---- device -------------------------------------------------------------------------------------------------
    /// "cpu", "cuda" or "cuda-sim": recorded in checkpoints.
    fn kind(&self) -> &'static str;
    /// The instruction level or the chip: recorded in checkpoints and benchmark lines.
    fn level(&self) -> &str;
    fn threads(&self) -> usize;
    /// The device's own memory; None where it computes in the host's.
    fn device_memory(&self) -> Result<Option<DeviceMemory>> {
        Ok(None)
    }
    /// Rows of logits that exist at once, a multiple of [`crate::GRADIENT_BLOCK`]: what is enough for matrix products at full speed. No
    /// result depends on it.
    fn head_rows(&self) -> usize {
        512
    }
    /// Tokens of one inference step at most, prompts and single tokens together: what fills the device. No result depends on it.
    fn step_tokens(&self) -> usize {
        512
    }
    fn synchronize(&self) -> Result<()>;

    // ---- memory -------------------------------------------------------------------------------------------------
    /// Zero-filled memory of `len` elements.
    fn alloc(&self, dtype: DType, len: usize) -> Result<Self::Buffer>;
    /// A buffer of `len` elements that has no memory yet.
    fn unbacked(&self, dtype: DType, len: usize) -> Result<Self::Buffer>;
    /// An empty region.
    fn region(&self) -> Self::Region;
    /// Bytes that a region has taken of the device, in use or not.
    fn region_bytes(&self, region: &Self::Region) -> usize;
    /// Bytes that ops keep for themselves from call to call.
    fn scratch_bytes(&self) -> usize;
    fn len(&self, buffer: &Self::Buffer) -> usize;
    /// Copies `src` to `dst[offset..]`.
    fn write<T: Element>(&self, dst: &mut Self::Buffer, offset: usize, src: &[T]) -> Result<()>;
    /// Copies `src[offset..]` to `dst` and waits for it.
    fn read<T: Element>(&self, src: &Self::Buffer, offset: usize, dst: &mut [T]) -> Result<()>;
    /// Copies each list to the beginning of its buffer: all in one transfer where transfers are what costs.
    fn write_all(&self, lists: &mut [(&mut Self::Buffer, Words<'_>)]) -> Result<()> {
        lists.iter_mut().try_for_each(|(dst, list)| match list {
            Words::U32(src) => self.write(dst, 0, src),
            Words::F32(src) => self.write(dst, 0, src),
        })
    }
    /// Copies the beginning of each buffer to its list, and waits once.
    fn read_all(&self, lists: &mut [(&Self::Buffer, WordsMut<'_>)]) -> Result<()> {
        lists.iter_mut().try_for_each(|(src, list)| match list {
            WordsMut::U32(dst) => self.read(src, 0, dst),
            WordsMut::F32(dst) => self.read(src, 0, dst),
        })
    }
    /// dst[offset..offset + len] = 0
    fn zero(&self, dst: &mut Self::Buffer, offset: usize, len: usize) -> Result<()>;
    /// dst[dst_offset..dst_offset + len] = src[src_offset..src_offset + len]; both F32 or both BF16.
    fn copy(
        &self,
        src: &Self::Buffer,
        src_offset: usize,
        dst: &mut Self::Buffer,
        dst_offset: usize,
        len: usize,
    ) -> Result<()>;

    // ---- parameters ---------------------------------------------------------------------------------------------
    /// A zero matrix. Vectors `[n, 1]` of a bf16 policy hold bf16 values; those of a q8_0 policy are f32.
    fn alloc_weight(&self, rows: usize, cols: usize, precision: Precision) -> Result<Self::Weight>;
    /// A matrix that has no memory yet; taken from a region, it holds anything until it is zeroed.
    fn unbacked_weight(&self, rows: usize, cols: usize, precision: Precision) -> Result<Self::Weight>;
    fn weight_precision(&self, weight: &Self::Weight) -> Precision;
    /// (rows, cols)
    fn weight_shape(&self, weight: &Self::Weight) -> (usize, usize);
    /// Sets rows `row_offset..row_offset + src.len() / cols` from row-major values, rounded to the weight's precision.
    fn load_row_major(&self, weight: &mut Self::Weight, row_offset: usize, src: &[f32]) -> Result<()>;
    /// Reads rows `row_offset..row_offset + dst.len() / cols` into row-major order and waits.
    fn store_row_major(&self, weight: &Self::Weight, row_offset: usize, dst: &mut [f32]) -> Result<()>;
    fn zero_weight(&self, weight: &mut Self::Weight) -> Result<()>;

    // ---- embedding ----------------------------------------------------------------------------------------------
    /// out[tokens, cols] = weight[ids[tokens], :]; out F32 or BF16.
    fn embedding(&self, weight: &Self::Weight, ids: &Self::Buffer, tokens: usize, out: &mut Self::Buffer)
    -> Result<()>;
    /// d_weight[ids[t], :] += d_out[t, :], equal ids added in order of position.
    fn embedding_backward(
        &self,
        d_weight: &mut Self::Weight,
        ids: &Self::Buffer,
        tokens: usize,
        d_out: &Self::Buffer,
    ) -> Result<()>;

    // ---- normalisation ------------------------------------------------------------------------------------------
    /// sum = residual + delta (sum = residual without a delta); rstd[rows] = 1/sqrt(mean(sum²) + eps); out = sum · rstd · weight[dim].
    /// residual, delta, sum, out: [rows, dim]; residual may be F32 beside BF16 outputs, delta is always F32.
    #[allow(clippy::too_many_arguments)]
    fn rms_norm(
        &self,
        shape: RmsNormShape,
        residual: &Self::Buffer,
        delta: Option<&Self::Buffer>,
        weight: &Self::Weight,
        sum: &mut Self::Buffer,
        rstd: &mut Self::Buffer,
        out: &mut Self::Buffer,
    ) -> Result<()>;
    /// d_sum[rows, dim] += the gradient through the norm; d_weight += Σ_rows d_out · sum · rstd.
    #[allow(clippy::too_many_arguments)]
    fn rms_norm_backward(
        &self,
        shape: RmsNormShape,
        sum: &Self::Buffer,
        rstd: &Self::Buffer,
        weight: &Self::Weight,
        d_out: &Self::Buffer,
        d_sum: &mut Self::Buffer,
        d_weight: &mut Self::Weight,
    ) -> Result<()>;
    /// Qwen3's norm of each query and key head: qkv_out = qkv with query and key heads normalised (values copied).
    /// rstd: [tokens, heads + kv_heads]. Weights: [head_dim].
    #[allow(clippy::too_many_arguments)]
    fn qk_norm(
        &self,
        shape: AttentionShape,
        tokens: usize,
        eps: f32,
        qkv: &Self::Buffer,
        q_weight: &Self::Weight,
        k_weight: &Self::Weight,
        rstd: &mut Self::Buffer,
        qkv_out: &mut Self::Buffer,
    ) -> Result<()>;
    /// d_qkv[tokens, qkv_dim], in place: gradient of qkv_out in, gradient of qkv out. Adds to both weight gradients.
    #[allow(clippy::too_many_arguments)]
    fn qk_norm_backward(
        &self,
        shape: AttentionShape,
        tokens: usize,
        qkv: &Self::Buffer,
        rstd: &Self::Buffer,
        q_weight: &Self::Weight,
        k_weight: &Self::Weight,
        d_qkv: &mut Self::Buffer,
        d_q_weight: &mut Self::Weight,
        d_k_weight: &mut Self::Weight,
    ) -> Result<()>;

    // ---- matmul -------------------------------------------------------------------------------------------------
    /// y[m, n] = x[m, k] · weightᵀ (+ bias[n]); weight is [n, k]. With a bf16 weight x and y are each F32 or BF16; otherwise F32.
    fn matmul(
        &self,
        x: &Self::Buffer,
        m: usize,
        weight: &Self::Weight,
        bias: Option<&Self::Weight>,
        y: &mut Self::Buffer,
    ) -> Result<()>;
    /// d_x[m, k] = d_y[m, n] · weight; one chain over n. Refuses q8_0.
    fn matmul_backward_input(
        &self,
        d_y: &Self::Buffer,
        m: usize,
        weight: &Self::Weight,
        d_x: &mut Self::Buffer,
    ) -> Result<()>;
    /// d_weight[n, k] += d_yᵀ · x, and d_bias[n] += column sums of d_y (unrounded). x in BF16 makes it a bf16 product.
    fn matmul_backward_weight(
        &self,
        d_y: &Self::Buffer,
        x: &Self::Buffer,
        m: usize,
        d_weight: &mut Self::Weight,
        d_bias: Option<&mut Self::Weight>,
    ) -> Result<()>;

    // ---- rotary positions ---------------------------------------------------------------------------------------
    /// In place on the query and key heads of qkv[rows, qkv_dim], halves paired (i, i + head_dim/2) as Hugging Face does; positions: [rows] u32.
    fn rope(
        &self,
        shape: RopeShape,
        table: &Self::Buffer,
        positions: &Self::Buffer,
        qkv: &mut Self::Buffer,
    ) -> Result<()>;
    /// The inverse rotation, in place, on d_qkv.
    fn rope_backward(
        &self,
        shape: RopeShape,
        table: &Self::Buffer,
        positions: &Self::Buffer,
        d_qkv: &mut Self::Buffer,
    ) -> Result<()>;

    // ---- attention ----------------------------------------------------------------------------------------------
    /// Causal attention over packed sequences. qkv: [tokens, qkv_dim]; cu_seqlens: [sequences + 1] u32; out: [tokens, q_dim]; lse: [tokens, heads].
    fn attention(
        &self,
        shape: AttentionShape,
        qkv: &Self::Buffer,
        cu_seqlens: &Self::Buffer,
        sequences: usize,
        out: &mut Self::Buffer,
        lse: &mut Self::Buffer,
    ) -> Result<()>;
    /// d_qkv[tokens, qkv_dim] from d_out[tokens, q_dim]; probabilities are recomputed from lse.
    #[allow(clippy::too_many_arguments)]
    fn attention_backward(
        &self,
        shape: AttentionShape,
        qkv: &Self::Buffer,
        cu_seqlens: &Self::Buffer,
        sequences: usize,
        out: &Self::Buffer,
        lse: &Self::Buffer,
        d_out: &Self::Buffer,
        d_qkv: &mut Self::Buffer,
    ) -> Result<()>;
    /// Stores the keys and values of qkv[tokens, qkv_dim] at slots[tokens] (page · PAGE_TOKENS + offset, u32), no two of them alike.
    fn kv_append(
        &self,
        shape: KvPageShape,
        qkv: &Self::Buffer,
        slots: &Self::Buffer,
        tokens: usize,
        k_pages: &mut Self::Buffer,
        v_pages: &mut Self::Buffer,
    ) -> Result<()>;
    /// Copies page `from` to page `to`, keys and values.
    fn kv_copy_page(
        &self,
        shape: KvPageShape,
        from: usize,
        to: usize,
        k_pages: &mut Self::Buffer,
        v_pages: &mut Self::Buffer,
    ) -> Result<()>;
    /// Attention of `tokens` query rows of qkv over their sequences' pages, keys 0..=positions[token].
    /// sequences: [tokens] u32, the row of page_table[_, pages_max] u32; out: [tokens, q_dim]. Equal bits to [`Backend::attention`].
    #[allow(clippy::too_many_arguments)]
    fn paged_attention(
        &self,
        shape: KvPageShape,
        qkv: &Self::Buffer,
        tokens: usize,
        positions: &Self::Buffer,
        sequences: &Self::Buffer,
        page_table: &Self::Buffer,
        pages_max: usize,
        k_pages: &Self::Buffer,
        v_pages: &Self::Buffer,
        out: &mut Self::Buffer,
    ) -> Result<()>;

    // ---- mlp ----------------------------------------------------------------------------------------------------
    /// out[tokens, ffn] = silu(gate) · up; gate_up: [tokens, 2 · ffn], gate first.
    fn swiglu(&self, gate_up: &Self::Buffer, tokens: usize, ffn: usize, out: &mut Self::Buffer) -> Result<()>;
    /// d_gate_up[tokens, 2 · ffn] from d_out[tokens, ffn].
    fn swiglu_backward(
        &self,
        gate_up: &Self::Buffer,
        tokens: usize,
        ffn: usize,
        d_out: &Self::Buffer,
        d_gate_up: &mut Self::Buffer,
    ) -> Result<()>;

    // ---- head, loss, sampling -----------------------------------------------------------------------------------
    /// out[rows, dim] = x[indices[row], :]; indices: [..] u32, read from `offset`.
    fn gather_rows(
        &self,
        x: &Self::Buffer,
        indices: &Self::Buffer,
        offset: usize,
        rows: usize,
        dim: usize,
        out: &mut Self::Buffer,
    ) -> Result<()>;
    /// y[indices[row], :] += x[row, :]; indices are distinct.
    fn scatter_add_rows(
        &self,
        x: &Self::Buffer,
        indices: &Self::Buffer,
        offset: usize,
        rows: usize,
        dim: usize,
        y: &mut Self::Buffer,
    ) -> Result<()>;
    /// Of z = logits[rows, vocab] · inv_t: lse, logprob of the target, entropy of softmax(z), each [rows] f32.
    fn softmax_statistics(
        &self,
        logits: &Self::Buffer,
        rows: LossRows<'_, Self::Buffer>,
        lse: &mut Self::Buffer,
        logprob: &mut Self::Buffer,
        entropy: &mut Self::Buffer,
    ) -> Result<()>;
    /// In place: logits[r, v] becomes coefficient[r] · inv_t[r] · (softmax(z)[v] − [v = target]); lse is that of softmax_statistics.
    /// With loss = −Σ coefficient · logprob this is its gradient.
    fn softmax_backward(
        &self,
        logits: &mut Self::Buffer,
        rows: LossRows<'_, Self::Buffer>,
        lse: &Self::Buffer,
        coefficient: &Self::Buffer,
    ) -> Result<()>;
    /// Changes single logits of logits[rows, vocab] in place; their former values go to saved[entries] f32.
    fn adjust_logits(
        &self,
        logits: &mut Self::Buffer,
        adjustments: LogitAdjustments<'_, Self::Buffer>,
        saved: &mut Self::Buffer,
    ) -> Result<()>;
    /// Undoes [`Backend::adjust_logits`].
    fn restore_logits(
        &self,
        logits: &mut Self::Buffer,
        adjustments: LogitAdjustments<'_, Self::Buffer>,
        saved: &Self::Buffer,
    ) -> Result<()>;
    /// One id a row from softmax(z) by inverse CDF, within the row's limits, or the highest logit where greedy; ids: [rows] u32.
    /// lse, logprob and entropy are those of [`Backend::softmax_statistics`] with these ids as targets: of all of softmax(z), bit for bit.
    #[allow(clippy::too_many_arguments)]
    fn sample(
        &self,
        logits: &Self::Buffer,
        rows: SampleRows<'_, Self::Buffer>,
        ids: &mut Self::Buffer,
        lse: &mut Self::Buffer,
        logprob: &mut Self::Buffer,
        entropy: &mut Self::Buffer,
    ) -> Result<()>;

    // ---- optimizer ----------------------------------------------------------------------------------------------
    /// Σ of squares over all matrices, summed in f64 per fixed block in order; infinite or NaN if any element is.
    fn sum_of_squares<'a>(&self, weights: impl Iterator<Item = &'a Self::Weight>) -> Result<f64>;
    /// Moments of zero, and the values of `weight` as masters where it is bf16. Refuses q8_0.
    fn alloc_optimizer(&self, weight: &Self::Weight) -> Result<Self::OptimizerState>;
    /// Bytes of what [`Backend::alloc_optimizer`] gives, without padding.
    fn optimizer_bytes(&self, weight: &Self::Weight) -> u64;
    /// Sets rows from `row_offset` on from row-major values: moments rounded to [`Backend::MOMENTS`]; masters exactly, and the rows of `weight`
    /// to them, rounded. An f32 weight has no masters.
    fn load_optimizer(
        &self,
        values: OptimizerValues,
        weight: &mut Self::Weight,
        state: &mut Self::OptimizerState,
        row_offset: usize,
        src: &[f32],
    ) -> Result<()>;
    /// Reads rows from `row_offset` on into row-major order and waits.
    fn store_optimizer(
        &self,
        values: OptimizerValues,
        weight: &Self::Weight,
        state: &Self::OptimizerState,
        row_offset: usize,
        dst: &mut [f32],
    ) -> Result<()>;
    /// One AdamW update of `weight` with its gradient and state, in one pass: of its masters where it is bf16, which it then is, rounded.
    fn adamw(
        &self,
        weight: &mut Self::Weight,
        state: &mut Self::OptimizerState,
        gradient: &Self::Weight,
        options: &AdamW,
    ) -> Result<()>;
}
