//! The kernels by name, with their parameters: the mirror of kernels/kernels.h, struct for struct and row for row.
//!
//! Both sides assert the size of every struct, a launch checks it once more against the compiled kernel, and a test compares the rows with the
//! simulator's table.

use crate::driver::Address;
use bytemuck::NoUninit;
use gradus_ops::AdamWFactors;
use std::marker::PhantomData;

/// A row of a family's table: the kernel, the type of its parameters, the threads of its blocks and their shared memory.
#[derive(Clone, Copy)]
pub(crate) struct Kernel<P> {
    pub name: &'static str,
    pub threads: u32,
    pub shared_bytes: u32,
    params: PhantomData<P>,
}

/// Declares parameter structs with their sizes; `NoUninit` refuses padding, which a struct must name.
macro_rules! params {
    ($($(#[$comment:meta])* $name:ident, $bytes:literal { $($field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$comment])*
        #[derive(Clone, Copy, NoUninit)]
        #[repr(C)]
        pub(crate) struct $name { $(pub $field: $type),* }
        const _: () = assert!(size_of::<$name>() == $bytes);
    )*};
}

/// Declares kernels, a constant each, and for the test the rows of all.
macro_rules! kernels {
    ($($constant:ident: $params:ident = $name:literal, $threads:literal, $shared_bytes:literal;)*) => {
        $(pub(crate) const $constant: Kernel<$params> =
            Kernel { name: $name, threads: $threads, shared_bytes: $shared_bytes, params: PhantomData };)*

        /// (name, bytes of the parameters, threads, bytes of shared memory)
        #[cfg(test)]
        const ROWS: &[(&str, usize, u32, u32)] = &[$(($name, size_of::<$params>(), $threads, $shared_bytes)),*];
    };
}

// attention
params! {
    AttentionParams, 56 {
        qkv: Address, cu_seqlens: Address, out: Address, lse: Address,
        tokens: u32, sequences: u32, heads: u32, kv_heads: u32, head_dim: u32, scale: f32,
    }
    PagedAttentionParams, 96 {
        qkv: Address, positions: Address, sequences: Address, page_table: Address, k_pages: Address, v_pages: Address,
        out: Address, partials: Address,
        tokens: u32, pages_max: u32, heads: u32, kv_heads: u32, head_dim: u32, scale: f32, splits: u32, unused: u32,
    }
    MergeSplitsParams, 40 {
        partials: Address, positions: Address, out: Address, tokens: u32, heads: u32, head_dim: u32, splits: u32,
    }
    AttentionDeltaParams, 40 {
        out: Address, d_out: Address, delta: Address, tokens: u32, heads: u32, head_dim: u32, unused: u32,
    }
    AttentionBackwardParams, 72 {
        qkv: Address, d_out: Address, lse: Address, delta: Address, cu_seqlens: Address, d_qkv: Address,
        tokens: u32, sequences: u32, heads: u32, kv_heads: u32, head_dim: u32, scale: f32,
    }
}

// copy
params! {
    /// Rows to another stride, in bf16.
    CopyRowsParams, 32 { from: Address, to: Address, m: u32, n: u32, ld_from: u32, ld_to: u32 }
    /// Up to 16 lists of 32-bit words, each from one place to another.
    MoveWordsParams, 320 { from: [Address; 16], to: [Address; 16], words: [u32; 16] }
}

// gemm
params! {
    GemmForwardParams, 56 {
        x: Address, weight: Address, bias: Address, y: Address,
        m: u32, n: u32, k: u32, ld_x: u32, ld_weight: u32, ld_y: u32,
    }
    GemmBackwardInputParams, 48 {
        d_y: Address, weight: Address, d_x: Address,
        m: u32, n: u32, k: u32, ld_d_y: u32, ld_weight: u32, ld_d_x: u32,
    }
    GemmBackwardWeightParams, 48 {
        d_y: Address, x: Address, d_weight: Address,
        m: u32, n: u32, k: u32, ld_d_y: u32, ld_x: u32, ld_d_weight: u32,
    }
    ColumnSumParams, 32 { x: Address, sums: Address, m: u32, n: u32, ld_x: u32, unused: u32 }
    /// Sums of parts, rounded to bf16.
    GemmSumPartsParams, 32 { parts: Address, y: Address, elements: u64, count: u32, unused: u32 }
    /// Rows of f32 to another stride, rounded to bf16.
    CastRowsParams, 32 { from: Address, to: Address, m: u32, n: u32, ld_from: u32, ld_to: u32 }
}

// embedding
params! {
    EmbeddingParams, 40 { weight: Address, ids: Address, out: Address, tokens: u32, cols: u32, ld_weight: u32, unused: u32 }
    EmbeddingBackwardParams, 40 {
        d_out: Address, ids: Address, d_weight: Address, tokens: u32, cols: u32, ld_weight: u32, unused: u32,
    }
    RowsParams, 32 { x: Address, indices: Address, out: Address, rows: u32, dim: u32 }
}

// norm
params! {
    RmsNormParams, 64 {
        residual: Address, delta: Address, weight: Address, sum: Address, rstd: Address, out: Address,
        rows: u32, dim: u32, eps: f32, unused: u32,
    }
    RmsNormBackwardParams, 48 {
        sum: Address, rstd: Address, weight: Address, d_out: Address, d_sum: Address, rows: u32, dim: u32,
    }
    RmsNormWeightParams, 40 { sum: Address, rstd: Address, d_out: Address, d_weight: Address, rows: u32, dim: u32 }
    QkNormParams, 64 {
        qkv: Address, q_weight: Address, k_weight: Address, rstd: Address, qkv_out: Address,
        tokens: u32, heads: u32, kv_heads: u32, head_dim: u32, eps: f32, unused: u32,
    }
    QkNormBackwardParams, 56 {
        qkv: Address, rstd: Address, q_weight: Address, k_weight: Address, d_qkv: Address,
        tokens: u32, heads: u32, kv_heads: u32, head_dim: u32,
    }
    QkNormWeightParams, 56 {
        qkv: Address, rstd: Address, d_qkv: Address, partials: Address,
        tokens: u32, heads_all: u32, heads_normed: u32, first_head: u32, heads: u32, head_dim: u32,
    }
}

// rope
params! {
    RopeParams, 40 { table: Address, positions: Address, qkv: Address, rows: u32, heads: u32, head_dim: u32, ld: u32 }
}

// cache
params! {
    KvAppendParams, 48 {
        qkv: Address, slots: Address, k_pages: Address, v_pages: Address,
        tokens: u32, heads: u32, kv_heads: u32, head_dim: u32,
    }
}

// mlp
params! {
    SwigluParams, 24 { gate_up: Address, out: Address, tokens: u32, ffn: u32 }
    SwigluBackwardParams, 32 { gate_up: Address, d_out: Address, d_gate_up: Address, tokens: u32, ffn: u32 }
}

// loss
params! {
    SoftmaxStatisticsParams, 56 {
        logits: Address, targets: Address, inv_t: Address, lse: Address, logprob: Address, entropy: Address,
        rows: u32, vocab: u32,
    }
    SoftmaxBackwardParams, 48 {
        logits: Address, targets: Address, inv_t: Address, lse: Address, coefficient: Address, rows: u32, vocab: u32,
    }
}

// sampling
params! {
    SampleParams, 104 {
        logits: Address, inv_t: Address, greedy: Address, streams: Address, positions: Address,
        top_k: Address, top_p: Address, min_p: Address,
        ids: Address, lse: Address, logprob: Address, entropy: Address, rows: u32, vocab: u32,
    }
    AdjustLogitsParams, 64 {
        logits: Address, offsets: Address, ids: Address, biases: Address, repetition_penalties: Address,
        reductions: Address, saved: Address, rows: u32, vocab: u32,
    }
}

// optim
params! {
    AdamWParams, 96 {
        gradient: Address, weight: Address, remainder: Address, m: Address, v: Address, len: u64, factors: AdamWFactors,
        seed: [u32; 2], stream: [u32; 2],
    }
    SumOfSquaresParams, 24 { values: Address, partials: Address, len: u64 }
}

kernels! {
    // attention
    ATTENTION_64: AttentionParams = "attention_64", 128, 40960;
    ATTENTION_128: AttentionParams = "attention_128", 128, 81920;
    PAGED_ATTENTION_64: PagedAttentionParams = "paged_attention_64", 128, 34816;
    PAGED_ATTENTION_128: PagedAttentionParams = "paged_attention_128", 128, 69632;
    MERGE_SPLITS: MergeSplitsParams = "merge_splits", 256, 0;
    ATTENTION_DELTA: AttentionDeltaParams = "attention_delta", 256, 0;
    ATTENTION_BACKWARD_KV_64: AttentionBackwardParams = "attention_backward_kv_64", 128, 33280;
    ATTENTION_BACKWARD_KV_128: AttentionBackwardParams = "attention_backward_kv_128", 128, 66048;
    ATTENTION_BACKWARD_Q_64: AttentionBackwardParams = "attention_backward_q_64", 128, 32768;
    ATTENTION_BACKWARD_Q_128: AttentionBackwardParams = "attention_backward_q_128", 128, 65536;
    // cache
    KV_APPEND: KvAppendParams = "kv_append", 256, 0;
    // copy
    COPY_ROWS_BF16: CopyRowsParams = "copy_rows_bf16", 256, 0;
    MOVE_WORDS: MoveWordsParams = "move_words", 256, 0;
    // embedding
    EMBEDDING_BF16: EmbeddingParams = "embedding_bf16", 256, 0;
    EMBEDDING_F32: EmbeddingParams = "embedding_f32", 256, 0;
    EMBEDDING_BACKWARD: EmbeddingBackwardParams = "embedding_backward", 256, 32;
    GATHER_ROWS_16: RowsParams = "gather_rows_16", 256, 0;
    GATHER_ROWS_32: RowsParams = "gather_rows_32", 256, 0;
    SCATTER_ADD_ROWS: RowsParams = "scatter_add_rows", 256, 0;
    // gemm
    GEMM_BACKWARD_INPUT_128X256: GemmBackwardInputParams = "gemm_backward_input_128x256", 256, 98304;
    GEMM_BACKWARD_INPUT_128X128: GemmBackwardInputParams = "gemm_backward_input_128x128", 128, 65536;
    GEMM_BACKWARD_WEIGHT_128X128: GemmBackwardWeightParams = "gemm_backward_weight_128x128", 256, 65536;
    COLUMN_SUM: ColumnSumParams = "column_sum", 1024, 4224;
    CAST_ROWS: CastRowsParams = "cast_rows", 256, 0;
    GEMM_SPLIT_16X32: GemmForwardParams = "gemm_split_16x32", 128, 98304;
    GEMM_SPLIT_64X32: GemmForwardParams = "gemm_split_64x32", 128, 98304;
    GEMM_SPLIT_128X128: GemmForwardParams = "gemm_split_128x128", 128, 65536;
    GEMM_SUM_PARTS: GemmSumPartsParams = "gemm_sum_parts", 256, 0;
    GEMM_FORWARD_128X256_BF16: GemmForwardParams = "gemm_forward_128x256_bf16", 256, 98304;
    GEMM_FORWARD_128X256_F32: GemmForwardParams = "gemm_forward_128x256_f32", 256, 98304;
    GEMM_FORWARD_128X128_BF16: GemmForwardParams = "gemm_forward_128x128_bf16", 128, 65536;
    GEMM_FORWARD_128X128_F32: GemmForwardParams = "gemm_forward_128x128_f32", 128, 65536;
    GEMM_DECODE_16X8_BF16: GemmForwardParams = "gemm_decode_16x8_bf16", 128, 49152;
    GEMM_DECODE_16X8_F32: GemmForwardParams = "gemm_decode_16x8_f32", 128, 49152;
    GEMM_DECODE_16X32_BF16: GemmForwardParams = "gemm_decode_16x32_bf16", 128, 98304;
    GEMM_DECODE_16X32_F32: GemmForwardParams = "gemm_decode_16x32_f32", 128, 98304;
    GEMM_DECODE_64X32_BF16: GemmForwardParams = "gemm_decode_64x32_bf16", 128, 98304;
    GEMM_DECODE_64X32_F32: GemmForwardParams = "gemm_decode_64x32_f32", 128, 98304;
    // loss
    SOFTMAX_STATISTICS: SoftmaxStatisticsParams = "softmax_statistics", 1024, 512;
    SOFTMAX_BACKWARD: SoftmaxBackwardParams = "softmax_backward", 256, 0;
    // mlp
    SWIGLU: SwigluParams = "swiglu", 256, 0;
    SWIGLU_BACKWARD: SwigluBackwardParams = "swiglu_backward", 256, 0;
    // norm
    RMS_NORM_BF16: RmsNormParams = "rms_norm_bf16", 256, 32;
    RMS_NORM_F32: RmsNormParams = "rms_norm_f32", 256, 32;
    RMS_NORM_BACKWARD: RmsNormBackwardParams = "rms_norm_backward", 256, 32;
    RMS_NORM_WEIGHT: RmsNormWeightParams = "rms_norm_weight", 1024, 4224;
    QK_NORM: QkNormParams = "qk_norm", 256, 0;
    QK_NORM_BACKWARD: QkNormBackwardParams = "qk_norm_backward", 256, 0;
    QK_NORM_WEIGHT: QkNormWeightParams = "qk_norm_weight", 256, 0;
    // optim
    ADAMW: AdamWParams = "adamw", 256, 0;
    SUM_OF_SQUARES: SumOfSquaresParams = "sum_of_squares", 256, 64;
    // rope
    ROPE: RopeParams = "rope", 256, 0;
    ROPE_BACKWARD: RopeParams = "rope_backward", 256, 0;
    // sampling
    SAMPLE: SampleParams = "sample", 1024, 21024;
    ADJUST_LOGITS: AdjustLogitsParams = "adjust_logits", 128, 0;
    RESTORE_LOGITS: AdjustLogitsParams = "restore_logits", 128, 0;
}

/// Kernels that differ in the type of their output: bf16, and f32.
pub(crate) type ForwardKernels = [Kernel<GemmForwardParams>; 2];
pub(crate) const GEMM_FORWARD_128X256: ForwardKernels = [GEMM_FORWARD_128X256_BF16, GEMM_FORWARD_128X256_F32];
pub(crate) const GEMM_FORWARD_128X128: ForwardKernels = [GEMM_FORWARD_128X128_BF16, GEMM_FORWARD_128X128_F32];
pub(crate) const GEMM_DECODE_16X8: ForwardKernels = [GEMM_DECODE_16X8_BF16, GEMM_DECODE_16X8_F32];
pub(crate) const GEMM_DECODE_16X32: ForwardKernels = [GEMM_DECODE_16X32_BF16, GEMM_DECODE_16X32_F32];
pub(crate) const GEMM_DECODE_64X32: ForwardKernels = [GEMM_DECODE_64X32_BF16, GEMM_DECODE_64X32_F32];

/// Ids that the sampler's shared memory has room for.
pub(crate) const SAMPLE_VOCAB_MAX: usize = 256 * 1024;
/// Elements of one partial sum of squares.
pub(crate) const SUM_OF_SQUARES_BLOCK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::ROWS;
    use crate::SimDriver;
    use std::collections::BTreeMap;
    use std::path::Path;

    #[test]
    fn rows_are_those_of_the_kernels_themselves() {
        let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../build/kernels/libgradus_cuda_sim.so");
        let driver = SimDriver::open(&library, 1).unwrap_or_else(|error| panic!("{error}"));
        let expected: BTreeMap<String, (usize, u32, u32)> = driver
            .kernels()
            .into_iter()
            .map(|kernel| (kernel.name, (kernel.params_bytes as usize, kernel.threads_max, kernel.shared_bytes)))
            .collect();
        let rows = ROWS.iter().map(|&(name, params, threads, shared)| (name.to_owned(), (params, threads, shared)));
        assert_eq!(rows.collect::<BTreeMap<_, _>>(), expected);
    }
}
