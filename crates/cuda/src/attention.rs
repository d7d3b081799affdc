//! Causal attention over packed sequences, its backward, and attention over pages: equal bits, because keys are taken in blocks of 128 that
//! are anchored at the sequence's own position 0.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Call;
use crate::driver::Address;
use crate::kernels::{
    ATTENTION_64, ATTENTION_128, ATTENTION_BACKWARD_KV_64, ATTENTION_BACKWARD_KV_128, ATTENTION_BACKWARD_Q_64,
    ATTENTION_BACKWARD_Q_128, ATTENTION_DELTA, AttentionBackwardParams, AttentionDeltaParams, AttentionParams,
    MERGE_SPLITS, MergeSplitsParams, PAGED_ATTENTION_64, PAGED_ATTENTION_128, PagedAttentionParams,
};
use crate::scratch::scratch;
use gradus_ops::{AttentionShape, Error, KEY_SPLIT, KvPageShape, PAGE_TOKENS, Result};
use gradus_tensor::DType;

/// Elements of a head that the smaller kernels take, and those that any takes.
const SMALL_HEAD: usize = 64;
const LARGEST_HEAD: usize = 128;
/// Query rows of one block.
const QUERY_ROWS: usize = 64;
/// Query heads of one block of paged attention: the rows of one `mma.sync`.
const PAGED_HEADS: u32 = 16;
/// Heads of one block of `attention_delta` and `merge_splits`.
const HEADS_OF_BLOCK: u32 = 8;
/// Memory for the splits of paged attention: a longer prefill goes through it in ranges of tokens.
const PARTIALS_BYTES_MAX: usize = 64 << 20;

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
    let blocks = [tokens as u32, params.heads.div_ceil(HEADS_OF_BLOCK), 1];
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

/// Attention of `tokens` query rows over their sequences' pages, keys 0 to their positions. Where the page table has room for more than one
/// split of keys, every split is a block of its own, and a second kernel adds them in order.
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
    let splits = (pages_max * PAGE_TOKENS).div_ceil(KEY_SPLIT).max(1);
    let partials_bytes = heads * splits * (head_dim + 2) * size_of::<f32>();
    let tokens_max = if splits == 1 { tokens } else { (PARTIALS_BYTES_MAX / partials_bytes).max(1) };
    let mut scratch = scratch(backend);
    let partials = match splits {
        1 => Address::NONE,
        _ => scratch.partials(backend, tokens.min(tokens_max) * partials_bytes)?,
    };
    let call = Call { op: OP, shape: format_args!("[tokens {tokens}, pages {pages_max}, {attention:?}]") };
    let whole = PagedAttentionParams {
        qkv: qkv.bf16(OP, "qkv", tokens * attention.qkv_dim())?,
        positions: positions.u32(OP, "positions", tokens)?,
        sequences: sequences.u32(OP, "sequences", tokens)?,
        page_table: page_table.u32(OP, "page_table", 0)?,
        k_pages: k_pages.bf16(OP, "k_pages", shape.elements())?,
        v_pages: v_pages.bf16(OP, "v_pages", shape.elements())?,
        out: out.bf16_mut(OP, "out", tokens * attention.q_dim())?,
        partials,
        tokens: 0,
        pages_max: pages_max as u32,
        heads: heads as u32,
        kv_heads: kv_heads as u32,
        head_dim: head_dim as u32,
        scale: attention.scale(),
        splits: splits as u32,
        unused: 0,
    };
    for first in (0..tokens).step_by(tokens_max.max(1)) {
        let params = PagedAttentionParams {
            qkv: whole.qkv.offset(first * attention.qkv_dim() * DType::BF16.bytes()),
            positions: whole.positions.offset(first * DType::U32.bytes()),
            sequences: whole.sequences.offset(first * DType::U32.bytes()),
            out: whole.out.offset(first * attention.q_dim() * DType::BF16.bytes()),
            tokens: tokens_max.min(tokens - first) as u32,
            ..whole
        };
        // SAFETY: lengths were checked, and the partials have room for so many tokens; what the page table says is the caller's part of the op.
        unsafe { attend_pages(backend, call, &params)? };
    }
    Ok(())
}

/// The launches of one range of tokens.
///
/// # Safety
/// As of [`CudaBackend::launch`], for both kernels.
unsafe fn attend_pages(backend: &CudaBackend, call: Call<'_>, params: &PagedAttentionParams) -> Result<()> {
    let PagedAttentionParams { partials, positions, out, tokens, heads, kv_heads, head_dim, splits, .. } = *params;
    let kernel = if head_dim as usize <= SMALL_HEAD { &PAGED_ATTENTION_64 } else { &PAGED_ATTENTION_128 };
    let groups = kv_heads * (heads / kv_heads).div_ceil(PAGED_HEADS);
    // SAFETY: the caller's promise.
    unsafe { backend.launch(call, kernel, [tokens, groups, splits], params)? };
    if splits == 1 {
        return Ok(());
    }
    let merge = MergeSplitsParams { partials, positions, out, tokens, heads, head_dim, splits };
    // SAFETY: the caller's promise.
    unsafe { backend.launch(call, &MERGE_SPLITS, [tokens, heads.div_ceil(HEADS_OF_BLOCK), 1], &merge) }
}
