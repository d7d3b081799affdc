//! Keys and values in pages of 16 tokens; on a GPU both are `[pages, kv_heads, 16, head_dim]`.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Call;
use crate::kernels::{KV_APPEND, KvAppendParams};
use gradus_ops::{AttentionShape, Error, KvPageShape, Result};

/// Stores the keys and values of qkv at `slots`.
pub(crate) fn kv_append(
    backend: &CudaBackend,
    shape: KvPageShape,
    qkv: &Buffer,
    slots: &Buffer,
    tokens: usize,
    k_pages: &mut Buffer,
    v_pages: &mut Buffer,
) -> Result<()> {
    const OP: &str = "kv_append";
    let AttentionShape { heads, kv_heads, head_dim } = shape.attention;
    let params = KvAppendParams {
        qkv: qkv.bf16(OP, "qkv", tokens * shape.attention.qkv_dim())?,
        slots: slots.u32(OP, "slots", tokens)?,
        k_pages: k_pages.bf16_mut(OP, "k_pages", shape.elements())?,
        v_pages: v_pages.bf16_mut(OP, "v_pages", shape.elements())?,
        tokens: tokens as u32,
        heads: heads as u32,
        kv_heads: kv_heads as u32,
        head_dim: head_dim as u32,
    };
    let call = Call { op: OP, shape: format_args!("[tokens {tokens}, {shape:?}]") };
    // SAFETY: lengths were checked; slots within the pages are the caller's part of the op.
    unsafe { backend.launch(call, &KV_APPEND, [tokens as u32, 1, 1], &params) }
}

/// Copies page `from` to page `to`: a page is one stretch of memory in both.
pub(crate) fn kv_copy_page(
    shape: KvPageShape,
    from: usize,
    to: usize,
    k_pages: &mut Buffer,
    v_pages: &mut Buffer,
) -> Result<()> {
    const OP: &str = "kv_copy_page";
    if from >= shape.pages || to >= shape.pages {
        let reason = format!("page {from} to page {to}: there are {} pages", shape.pages);
        return Err(Error::Invalid { op: OP, reason });
    }
    if from == to {
        return Ok(());
    }
    let page = KvPageShape { pages: 1, ..shape }.elements();
    k_pages.copy_within(OP, "k_pages", [from * page, to * page], page)?;
    v_pages.copy_within(OP, "v_pages", [from * page, to * page], page)
}
