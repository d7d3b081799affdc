//! Causal attention over packed sequences, its backward, and attention over pages: equal bits, because keys are taken in blocks of 128 that
//! are anchored at the sequence's own position 0.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Call;
use crate::kernels::{
    ATTENTION_64, ATTENTION_128, ATTENTION_BACKWARD_KV_64, ATTENTION_BACKWARD_KV_128, ATTENTION_BACKWARD_Q_64,
    ATTENTION_BACKWARD_Q_128, ATTENTION_DELTA, AttentionBackwardParams, AttentionDeltaParams, AttentionParams,
    PAGED_ATTENTION_64, PAGED_ATTENTION_128, PagedAttentionParams,
};
use crate::scratch::scratch;
use gradus_ops::{AttentionShape, Error, KvPageShape, Result};

/// Elements of a head that the smaller kernels take, and those that any takes.
const SMALL_HEAD: usize = 64;
const LARGEST_HEAD: usize = 128;
/// Query rows of one block.
const QUERY_ROWS: usize = 64;
/// Query heads of one block of paged attention: the rows of one `mma.sync`.
const PAGED_HEADS: usize = 16;
/// Heads of one block of `attention_delta`.
const DELTA_HEADS: usize = 8;

fn check_head(op: &'static str, shape: AttentionShape) -> Result<()> {
    let AttentionShape { heads, kv_heads, head_dim } = shape;
    if head_dim == 0 || !head_dim.is_multiple_of(8) || head_dim > LARGEST_HEAD {
        let reason =
            format!("head_dim is {head_dim}, expected a multiple of 8 up to {LARGEST_HEAD}; take device \"cpu\"");
        return Err(Error::Invalid { op, reason });
    }
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        let reason = format!("{heads} heads are no multiple of {kv_heads} key heads");
        return Err(Error::Invalid { op, reason });
    }
    Ok(())
}

/// Rows that every one of the buffers has, each given with the length of its row. The batch has no more; how many it has, cu_seqlens says
/// on the device, and blocks past its end do nothing.
fn rows_max(buffers: &[(&Buffer, usize)]) -> usize {
    buffers.iter().map(|(buffer, row)| buffer.len() / row.max(&1)).min().unwrap_or(0)
}

/// Blocks of 64 query rows, each of one sequence.
fn query_blocks(tokens: usize, sequences: usize) -> u32 {
    (tokens.div_ceil(QUERY_ROWS) + sequences) as u32
}

/// out[tokens, q_dim] and lse[tokens, heads] of qkv[tokens, qkv_dim].
pub(crate) fn attention(
    backend: &CudaBackend,
    shape: AttentionShape,
    qkv: &Buffer,
    cu_seqlens: &Buffer,
    sequences: usize,
    out: &mut Buffer,
    lse: &mut Buffer,
) -> Result<()> {
    const OP: &str = "attention";
    check_head(OP, shape)?;
    let tokens = rows_max(&[(qkv, shape.qkv_dim()), (out, shape.q_dim()), (lse, shape.heads)]);
    let params = AttentionParams {
        qkv: qkv.bf16(OP, "qkv", 0)?,
        cu_seqlens: cu_seqlens.u32(OP, "cu_seqlens", sequences + 1)?,
        out: out.bf16_mut(OP, "out", 0)?,
        lse: lse.f32_mut(OP, "lse", 0)?,
        tokens: tokens as u32,
        sequences: sequences as u32,
        heads: shape.heads as u32,
        kv_heads: shape.kv_heads as u32,
        head_dim: shape.head_dim as u32,
        scale: shape.scale(),
    };
    let call = Call { op: OP, shape: format_args!("[tokens {tokens}, sequences {sequences}, {shape:?}]") };
    let kernel = if shape.head_dim <= SMALL_HEAD { &ATTENTION_64 } else { &ATTENTION_128 };
    // SAFETY: that sequences end within the buffers is the caller's part of the op.
    unsafe { backend.launch(call, kernel, [query_blocks(tokens, sequences), params.heads, 1], &params) }
}

/// d_qkv from d_out: the rounded d_out is the operand of every product, its row sums with out (delta) take the unrounded one.
#[allow(clippy::too_many_arguments)]
pub(crate) fn attention_backward(
    backend: &CudaBackend,
    shape: AttentionShape,
    qkv: &Buffer,
    cu_seqlens: &Buffer,
    sequences: usize,
    out: &Buffer,
    lse: &Buffer,
    d_out: &Buffer,
    d_qkv: &mut Buffer,
) -> Result<()> {
    const OP: &str = "attention_backward";
    check_head(OP, shape)?;
    let AttentionShape { heads, kv_heads, head_dim } = shape;
    let (q_dim, qkv_dim) = (shape.q_dim(), shape.qkv_dim());
    let tokens = rows_max(&[(qkv, qkv_dim), (out, q_dim), (lse, heads), (d_out, q_dim), (d_qkv, qkv_dim)]);
    let call = Call { op: OP, shape: format_args!("[tokens {tokens}, sequences {sequences}, {shape:?}]") };
    let mut scratch = scratch(backend);
    let delta = scratch.partials(backend, tokens * heads * size_of::<f32>())?;
    let params = AttentionDeltaParams {
        out: out.bf16(OP, "out", 0)?,
        d_out: d_out.f32(OP, "d_out", 0)?,
        delta,
        tokens: tokens as u32,
        heads: heads as u32,
        head_dim: head_dim as u32,
        unused: 0,
    };
    let blocks = [tokens as u32, heads.div_ceil(DELTA_HEADS) as u32, 1];
    // SAFETY: every buffer has `tokens` rows, and so has the scratch.
    unsafe { backend.launch(call, &ATTENTION_DELTA, blocks, &params)? };
    let rounded = scratch.operand(backend, call, 0, ("d_out", d_out), (tokens, q_dim))?;
    let params = AttentionBackwardParams {
        qkv: qkv.bf16(OP, "qkv", 0)?,
        d_out: rounded.address,
        lse: lse.f32(OP, "lse", 0)?,
        delta,
        cu_seqlens: cu_seqlens.u32(OP, "cu_seqlens", sequences + 1)?,
        d_qkv: d_qkv.f32_mut(OP, "d_qkv", 0)?,
        tokens: tokens as u32,
        sequences: sequences as u32,
        heads: heads as u32,
        kv_heads: kv_heads as u32,
        head_dim: head_dim as u32,
        scale: shape.scale(),
    };
    let (of_keys, of_queries) = if head_dim <= SMALL_HEAD {
        (&ATTENTION_BACKWARD_KV_64, &ATTENTION_BACKWARD_Q_64)
    } else {
        (&ATTENTION_BACKWARD_KV_128, &ATTENTION_BACKWARD_Q_128)
    };
    let blocks = query_blocks(tokens, sequences);
    // SAFETY: as in attention.
    unsafe { backend.launch(call, of_keys, [blocks, params.kv_heads, 1], &params)? };
    // SAFETY: as in attention.
    unsafe { backend.launch(call, of_queries, [blocks, params.heads, 1], &params) }
}

/// Attention of `tokens` query rows over their sequences' pages, keys 0 to their positions.
#[allow(clippy::too_many_arguments)]
pub(crate) fn paged_attention(
    backend: &CudaBackend,
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
    const OP: &str = "paged_attention";
    let attention = shape.attention;
    check_head(OP, attention)?;
    let AttentionShape { heads, kv_heads, head_dim } = attention;
    let params = PagedAttentionParams {
        qkv: qkv.bf16(OP, "qkv", tokens * attention.qkv_dim())?,
        positions: positions.u32(OP, "positions", tokens)?,
        sequences: sequences.u32(OP, "sequences", tokens)?,
        page_table: page_table.u32(OP, "page_table", 0)?,
        k_pages: k_pages.bf16(OP, "k_pages", shape.elements())?,
        v_pages: v_pages.bf16(OP, "v_pages", shape.elements())?,
        out: out.bf16_mut(OP, "out", tokens * attention.q_dim())?,
        tokens: tokens as u32,
        pages_max: pages_max as u32,
        heads: heads as u32,
        kv_heads: kv_heads as u32,
        head_dim: head_dim as u32,
        scale: attention.scale(),
    };
    let call = Call { op: OP, shape: format_args!("[tokens {tokens}, pages {pages_max}, {attention:?}]") };
    let kernel = if head_dim <= SMALL_HEAD { &PAGED_ATTENTION_64 } else { &PAGED_ATTENTION_128 };
    let blocks = [params.tokens, params.kv_heads, (heads / kv_heads).div_ceil(PAGED_HEADS) as u32];
    // SAFETY: lengths were checked; what the page table says is the caller's part of the op.
    unsafe { backend.launch(call, kernel, blocks, &params) }
}
