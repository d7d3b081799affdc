//! The op list of the engine: one trait, [`Backend`], whose documentation is the numerics contract.
//!
//! Stands between `model`, which is written once over this trait, and the backends, `cpu` and `cuda`.
//!
//! # Numerics contract, version 1
//!
//! The logprob that the sampler reports equals the trainer's and `score`'s bit for bit on one device kind, for any
//! batch size, batch composition, prefill chunking, paging, prefix sharing, micro-batch split and thread count.
//! It holds because each op fixes the order of every sum by the shape of one row or one sequence, never by the batch. The rules below
//! are the CPU's, to the bit. `cuda` keeps the promise with orders of its own (kernels/README.md): products by tensor cores in groups of 16
//! along k, rows over 32 lanes; so bits are equal within a device kind, and near between two.
//!
//! - **matmul**: each output is one chain of fused multiply-adds over k = 0, 1, 2, … starting from 0 in f32; work is split over
//!   rows and columns, never over k. Bias is added after the last k.
//! - **rms_norm, qk norm, softmax statistics**: a row is reduced in [`LANES`] virtual lanes (lane i takes elements i, i + 16, …) and
//!   one fold tree (lane i += lane i + 8, then + 4, + 2, + 1).
//! - **attention**: key blocks of [`KEY_BLOCK`] keys anchored at the sequence's position 0; scores are one fma chain over head_dim; online softmax
//!   block by block; splits of [`KEY_SPLIT`] keys have their own (maximum, sum, output) and are merged in order. Masked lanes are −inf / 0.
//!   A query row never depends on its neighbours, so packed training, chunked prefill and paged decode give equal bits.
//! - **sampling**: inverse CDF by one Philox number u a token. Shares are exp(z − m), z = logit · inv_t, m the largest z. Tiles of
//!   [`SAMPLE_TILE`] ids are each summed in lanes and fold tree as above, and the sums added in id order to the total; the tile is the first
//!   whose running sum exceeds g = u · total. In it shares are added one by one in id order: the id is the first whose running sum exceeds
//!   g minus the sums of the tiles before, or, where rounding keeps all below, the last id with a share above 0.
//! - **truncated sampling** (top-k, then top-p of what is left, then min-p, as transformers has them): ids are ordered by z, the lower id
//!   first where equal. An id's mass is its share exp(z − m) in units of 2⁻⁴⁰, cut to an integer, so that sums have no order. Top-k keeps the first k ids.
//!   Top-p keeps the first ids until their masses reach p · total in f64, rounded up, total as above or, after top-k, of the kept masses. Min-p
//!   keeps masses of at least min_p in the same units, rounded up. The id is the first in id order whose running mass exceeds u · the kept
//!   masses, compared exactly. Rows without limits are drawn as under **sampling**; logprob and entropy never see limits or adjustments.
//! - **adjusted logits**: l + bias, then the repetition penalty, then less the reduction, each rounded once, in the order of vLLM.
//! - **greedy**: the lowest id with the highest logit.
//! - **elementary functions**: one polynomial exp and log for every path; no libm call in an op.
//! - **denormals**: every thread that computes sets flush-to-zero, denormals-are-zero and round-to-nearest.
//! - **backward**: partial sums per fixed block of [`GRADIENT_BLOCK`] rows, added to the gradient in order.
//! - **bf16** ([`Precision::Bf16`]): a tensor is rounded once (nearest even; denormals flushed), where it is stored, and every path reads the stored value:
//!   residual sum (the norm reads the rounded sum), norm output, qkv (+ bias), qk-norm output, rope output, keys and values, attention
//!   output, gate and up, silu · up. Outputs of the attention and MLP projections stay f32 until the residual is added. Scores and
//!   probabilities are f32. A matmul takes pairs of elements (2j, 2j + 1) and adds the odd product to the chain first, then the even one,
//!   each by a fused multiply-add of exact f32 values; an odd last element has a zero beside it. Its f32 inputs are rounded to bf16 as
//!   they are read. Gradients, masters and moments are f32; partial sums of weight gradients pair the rows of a block in the same way.
//!   (`cuda` keeps masters exactly, as the weight, rounded half away from zero, and a remainder of 16 bits, and moments in bf16, rounded at
//!   random by [`AdamW::seed`] and [`AdamW::stream`].)
//! - **q8_0** ([`Precision::Q8`]): weights and inputs in aligned blocks of 32 along k: scale = absmax / 127, element = value / scale rounded to
//!   nearest even; each block's dot product is exact in i32 and enters the chain as fma(weight scale · input scale, dot, sum), blocks in order of k.

mod backend;
mod error;
mod optimizer;
pub mod philox;
mod precision;
mod region;
mod shapes;
mod words;

pub use backend::Backend;
pub use error::{Error, Result};
pub use optimizer::{AdamW, AdamWFactors, OptimizerValues};
pub use precision::Precision;
pub use region::{Backed, Cut, Cuts};
pub use shapes::{
    AttentionShape, DeviceMemory, KvPageShape, LogitAdjustments, LossRows, RmsNormShape, RopeShape, SampleRows,
};
pub use words::{Words, WordsMut};

/// Written into checkpoints; changing any rule above changes it.
pub const CONTRACT_VERSION: u32 = 1;
/// Virtual lanes of every row reduction.
pub const LANES: usize = 16;
/// Keys in one block of the online softmax.
pub const KEY_BLOCK: usize = 64;
/// Keys in one split of attention; splits are merged in order.
pub const KEY_SPLIT: usize = 2048;
/// Token positions in one page of the KV cache.
pub const PAGE_TOKENS: usize = 16;
/// Vocabulary ids in one tile of the sampler's sums.
pub const SAMPLE_TILE: usize = 256;
/// Rows in one partial sum of a weight gradient.
pub const GRADIENT_BLOCK: usize = 64;
