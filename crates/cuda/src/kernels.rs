//! The kernels by name, with their parameters: the mirror of kernels/kernels.h, struct for struct.
//!
//! Both sides assert the size of every struct, and a launch checks it once more against the compiled kernel.

use crate::driver::Address;
use bytemuck::NoUninit;
use std::marker::PhantomData;

/// A row of a family's table: the kernel, the type of its parameters, the threads of its blocks and their shared memory.
pub(crate) struct Kernel<P> {
    pub name: &'static str,
    pub threads: u32,
    pub shared_bytes: u32,
    params: PhantomData<P>,
}

impl<P> Kernel<P> {
    const fn new(name: &'static str, threads: u32, shared_bytes: u32) -> Kernel<P> {
        Kernel { name, threads, shared_bytes, params: PhantomData }
    }
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

// ---- copy ---------------------------------------------------------------------------------------------------------
params! {
    /// y[..elements] += x[..elements]
    AddParams, 24 { y: Address, x: Address, elements: u64 }
    /// Rows to another stride, in bf16.
    CopyRowsParams, 32 { from: Address, to: Address, m: u32, n: u32, ld_from: u32, ld_to: u32 }
}
pub(crate) const ADD_F32: Kernel<AddParams> = Kernel::new("add_f32", 256, 0);
pub(crate) const COPY_ROWS_BF16: Kernel<CopyRowsParams> = Kernel::new("copy_rows_bf16", 256, 0);

// ---- gemm ---------------------------------------------------------------------------------------------------------
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
    /// Rows of f32 to another stride, rounded to bf16.
    CastRowsParams, 32 { from: Address, to: Address, m: u32, n: u32, ld_from: u32, ld_to: u32 }
}
pub(crate) const GEMM_BACKWARD_INPUT_128X256: Kernel<GemmBackwardInputParams> =
    Kernel::new("gemm_backward_input_128x256", 256, 98304);
pub(crate) const GEMM_BACKWARD_INPUT_128X128: Kernel<GemmBackwardInputParams> =
    Kernel::new("gemm_backward_input_128x128", 128, 65536);
pub(crate) const GEMM_BACKWARD_WEIGHT_128X128: Kernel<GemmBackwardWeightParams> =
    Kernel::new("gemm_backward_weight_128x128", 256, 65536);
pub(crate) const COLUMN_SUM: Kernel<ColumnSumParams> = Kernel::new("column_sum", 1024, 4224);
pub(crate) const CAST_ROWS: Kernel<CastRowsParams> = Kernel::new("cast_rows", 256, 0);

/// The two kernels of one forward tile: y in bf16, and in f32.
pub(crate) type ForwardKernels = [Kernel<GemmForwardParams>; 2];
pub(crate) const GEMM_FORWARD_128X256: ForwardKernels =
    [Kernel::new("gemm_forward_128x256_bf16", 256, 98304), Kernel::new("gemm_forward_128x256_f32", 256, 98304)];
pub(crate) const GEMM_FORWARD_128X128: ForwardKernels =
    [Kernel::new("gemm_forward_128x128_bf16", 128, 65536), Kernel::new("gemm_forward_128x128_f32", 128, 65536)];
pub(crate) const GEMM_DECODE_16X8: ForwardKernels =
    [Kernel::new("gemm_decode_16x8_bf16", 128, 49152), Kernel::new("gemm_decode_16x8_f32", 128, 49152)];
pub(crate) const GEMM_DECODE_16X32: ForwardKernels =
    [Kernel::new("gemm_decode_16x32_bf16", 128, 98304), Kernel::new("gemm_decode_16x32_f32", 128, 98304)];
pub(crate) const GEMM_DECODE_64X32: ForwardKernels =
    [Kernel::new("gemm_decode_64x32_bf16", 128, 98304), Kernel::new("gemm_decode_64x32_f32", 128, 98304)];

// ---- embedding ----------------------------------------------------------------------------------------------------
params! {
    EmbeddingParams, 40 { weight: Address, ids: Address, out: Address, tokens: u32, cols: u32, ld_weight: u32, unused: u32 }
    EmbeddingBackwardParams, 40 {
        d_out: Address, ids: Address, d_weight: Address, tokens: u32, cols: u32, ld_weight: u32, unused: u32,
    }
    RowsParams, 32 { x: Address, indices: Address, out: Address, rows: u32, dim: u32 }
}
pub(crate) const EMBEDDING_BF16: Kernel<EmbeddingParams> = Kernel::new("embedding_bf16", 256, 0);
pub(crate) const EMBEDDING_F32: Kernel<EmbeddingParams> = Kernel::new("embedding_f32", 256, 0);
pub(crate) const EMBEDDING_BACKWARD: Kernel<EmbeddingBackwardParams> = Kernel::new("embedding_backward", 256, 32);
pub(crate) const GATHER_ROWS_16: Kernel<RowsParams> = Kernel::new("gather_rows_16", 256, 0);
pub(crate) const GATHER_ROWS_32: Kernel<RowsParams> = Kernel::new("gather_rows_32", 256, 0);
pub(crate) const SCATTER_ADD_ROWS: Kernel<RowsParams> = Kernel::new("scatter_add_rows", 256, 0);

// ---- norm ---------------------------------------------------------------------------------------------------------
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
pub(crate) const RMS_NORM_BF16: Kernel<RmsNormParams> = Kernel::new("rms_norm_bf16", 256, 32);
pub(crate) const RMS_NORM_F32: Kernel<RmsNormParams> = Kernel::new("rms_norm_f32", 256, 32);
pub(crate) const RMS_NORM_BACKWARD: Kernel<RmsNormBackwardParams> = Kernel::new("rms_norm_backward", 256, 32);
pub(crate) const RMS_NORM_WEIGHT: Kernel<RmsNormWeightParams> = Kernel::new("rms_norm_weight", 1024, 4224);
pub(crate) const QK_NORM: Kernel<QkNormParams> = Kernel::new("qk_norm", 256, 0);
pub(crate) const QK_NORM_BACKWARD: Kernel<QkNormBackwardParams> = Kernel::new("qk_norm_backward", 256, 0);
pub(crate) const QK_NORM_WEIGHT: Kernel<QkNormWeightParams> = Kernel::new("qk_norm_weight", 256, 0);

// ---- rope ---------------------------------------------------------------------------------------------------------
params! {
    RopeParams, 40 { table: Address, positions: Address, qkv: Address, rows: u32, heads: u32, head_dim: u32, ld: u32 }
}
pub(crate) const ROPE: Kernel<RopeParams> = Kernel::new("rope", 256, 0);
pub(crate) const ROPE_BACKWARD: Kernel<RopeParams> = Kernel::new("rope_backward", 256, 0);

// ---- cache --------------------------------------------------------------------------------------------------------
params! {
    KvAppendParams, 48 {
        qkv: Address, slots: Address, k_pages: Address, v_pages: Address,
        tokens: u32, heads: u32, kv_heads: u32, head_dim: u32,
    }
}
pub(crate) const KV_APPEND: Kernel<KvAppendParams> = Kernel::new("kv_append", 256, 0);

// ---- mlp ----------------------------------------------------------------------------------------------------------
params! {
    SwigluParams, 24 { gate_up: Address, out: Address, tokens: u32, ffn: u32 }
    SwigluBackwardParams, 32 { gate_up: Address, d_out: Address, d_gate_up: Address, tokens: u32, ffn: u32 }
}
pub(crate) const SWIGLU: Kernel<SwigluParams> = Kernel::new("swiglu", 256, 0);
pub(crate) const SWIGLU_BACKWARD: Kernel<SwigluBackwardParams> = Kernel::new("swiglu_backward", 256, 0);

// ---- loss ---------------------------------------------------------------------------------------------------------
params! {
    SoftmaxStatisticsParams, 56 {
        logits: Address, targets: Address, inv_t: Address, lse: Address, logprob: Address, entropy: Address,
        rows: u32, vocab: u32,
    }
    SoftmaxBackwardParams, 48 {
        logits: Address, targets: Address, inv_t: Address, lse: Address, coefficient: Address, rows: u32, vocab: u32,
    }
}
pub(crate) const SOFTMAX_STATISTICS: Kernel<SoftmaxStatisticsParams> = Kernel::new("softmax_statistics", 1024, 512);
pub(crate) const SOFTMAX_BACKWARD: Kernel<SoftmaxBackwardParams> = Kernel::new("softmax_backward", 256, 0);

// ---- sampling -----------------------------------------------------------------------------------------------------
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
/// Ids that the sampler's shared memory has room for.
pub(crate) const SAMPLE_VOCAB_MAX: usize = 256 * 1024;
pub(crate) const SAMPLE: Kernel<SampleParams> = Kernel::new("sample", 1024, 21024);
pub(crate) const ADJUST_LOGITS: Kernel<AdjustLogitsParams> = Kernel::new("adjust_logits", 128, 0);
pub(crate) const RESTORE_LOGITS: Kernel<AdjustLogitsParams> = Kernel::new("restore_logits", 128, 0);

// ---- optim --------------------------------------------------------------------------------------------------------
params! {
    /// The factors of one update, computed in f64 and rounded once.
    AdamWFactors, 32 {
        gradient_scale: f32, decay: f32, rate1: f32, beta2: f32, rate2: f32, correction2_root: f32, eps: f32,
        negative_step: f32,
    }
    AdamWParams, 80 {
        gradient: Address, weight: Address, master: Address, m: Address, v: Address, len: u64, factors: AdamWFactors,
    }
    SumOfSquaresParams, 24 { values: Address, partials: Address, len: u64 }
}
/// Elements of one partial sum.
pub(crate) const SUM_OF_SQUARES_BLOCK: usize = 64 * 1024;
pub(crate) const ADAMW: Kernel<AdamWParams> = Kernel::new("adamw", 256, 0);
pub(crate) const SUM_OF_SQUARES: Kernel<SumOfSquaresParams> = Kernel::new("sum_of_squares", 256, 64);
