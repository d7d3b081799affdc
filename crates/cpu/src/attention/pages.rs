//! Pages of keys and values: how the cache of inference, and the scratch of a packed batch, hold them.
//!
//! Keys are transposed in a page (`[kv_heads, head_dim, 16]`), so that a score is a chain over head_dim for 16 keys at once.

use crate::buffer::Buffer;
use gradus_ops::{AttentionShape, Error, KvPageShape, PAGE_TOKENS, Result};

/// See [`gradus_ops::Backend::kv_append`].
pub(crate) fn kv_append(
    shape: KvPageShape,
    qkv: &Buffer,
    slots: &Buffer,
    tokens: usize,
    k_pages: &mut Buffer,
    v_pages: &mut Buffer,
) -> Result<()> {
    const OP: &str = "kv_append";
    let dim = shape.attention.qkv_dim();
    let qkv = qkv.f32(OP, "qkv", tokens * dim)?;
    let slots = slots.u32(OP, "slots", tokens)?;
    let k_pages = k_pages.f32_mut(OP, "k_pages", shape.elements())?;
    let v_pages = v_pages.f32_mut(OP, "v_pages", shape.elements())?;
    if let Some(token) = slots.iter().position(|slot| *slot as usize / PAGE_TOKENS >= shape.pages) {
        let reason = format!("token {token} has slot {}, the cache has {} pages", slots[token], shape.pages);
        return Err(Error::Invalid { op: OP, reason });
    }
    let page_len = page_elements(shape.attention);
    // One thread: a few kilobytes a token, next to nothing beside the matmul that made them.
    for (row, slot) in qkv.chunks_exact(dim).zip(slots) {
        let (page, offset) = (*slot as usize / PAGE_TOKENS, *slot as usize % PAGE_TOKENS);
        let (k_page, v_page) = (&mut k_pages[page * page_len..], &mut v_pages[page * page_len..]);
        store_token(shape.attention, row, offset, &mut k_page[..page_len], &mut v_page[..page_len]);
    }
    Ok(())
}

/// See [`gradus_ops::Backend::kv_copy_page`].
pub(crate) fn kv_copy_page(
    shape: KvPageShape,
    from: usize,
    to: usize,
    k_pages: &mut Buffer,
    v_pages: &mut Buffer,
) -> Result<()> {
    const OP: &str = "kv_copy_page";
    if from.max(to) >= shape.pages {
        let reason = format!("page {from} to page {to}, the cache has {} pages", shape.pages);
        return Err(Error::Invalid { op: OP, reason });
    }
    let page_len = page_elements(shape.attention);
    for (what, pages) in [("k_pages", k_pages), ("v_pages", v_pages)] {
        pages.f32_mut(OP, what, shape.elements())?.copy_within(from * page_len..(from + 1) * page_len, to * page_len);
    }
    Ok(())
}

/// Elements of one page of keys (and of one page of values).
pub(super) fn page_elements(shape: AttentionShape) -> usize {
    shape.kv_heads * shape.head_dim * PAGE_TOKENS
}

/// Puts the keys and values of one qkv row at `offset` of a page.
pub(super) fn store_token(shape: AttentionShape, row: &[f32], offset: usize, k_page: &mut [f32], v_page: &mut [f32]) {
    let head_dim = shape.head_dim;
    let (keys, values) = row[shape.q_dim()..].split_at(shape.kv_heads * head_dim);
    // [kv_heads, head_dim] in a row, so the transposed columns of all heads follow each other.
    for (column, key) in k_page.chunks_exact_mut(PAGE_TOKENS).zip(keys) {
        column[offset] = *key;
    }
    let heads = v_page.chunks_exact_mut(PAGE_TOKENS * head_dim);
    for (head, values) in heads.zip(values.chunks_exact(head_dim)) {
        head[offset * head_dim..][..head_dim].copy_from_slice(values);
    }
}

/// Pages of one sequence as its query rows see them: `table[i]` holds positions 16·i to 16·i + 15.
#[derive(Clone, Copy)]
pub(super) struct PageView<'a> {
    pub(super) shape: AttentionShape,
    pub(super) kv_head: usize,
    pub(super) table: &'a [u32],
    pub(super) k_pages: &'a [f32],
    pub(super) v_pages: &'a [f32],
}

impl<'a> PageView<'a> {
    /// `[head_dim][16]` keys of page `index` of the sequence.
    #[inline(always)]
    pub(super) fn keys(&self, index: usize) -> &'a [f32] {
        self.part(self.k_pages, index)
    }

    /// `[16][head_dim]` values of page `index` of the sequence.
    #[inline(always)]
    pub(super) fn values(&self, index: usize) -> &'a [f32] {
        self.part(self.v_pages, index)
    }

    #[inline(always)]
    fn part(&self, pages: &'a [f32], index: usize) -> &'a [f32] {
        let len = self.shape.head_dim * PAGE_TOKENS;
        &pages[(self.table[index] as usize * self.shape.kv_heads + self.kv_head) * len..][..len]
    }
}
