//! Pages of keys and values: how the cache of inference, and the scratch of a packed batch, hold them.
//!
//! Keys are transposed in a page (`[kv_heads, head_dim, 16]`), so that a score is a chain over head_dim for 16 keys at once.

use super::registers::Stored;
use crate::buffer::Buffer;
use gradus_ops::{AttentionShape, Error, KEY_BLOCK, KvPageShape, PAGE_TOKENS, Result};
use gradus_tensor::DType;
use half::bf16;

/// See [`gradus_ops::Backend::kv_append`].
pub(crate) fn kv_append(
    shape: KvPageShape,
    qkv: &Buffer,
    slots: &Buffer,
    tokens: usize,
    k_pages: &mut Buffer,
    v_pages: &mut Buffer,
) -> Result<()> {
    match qkv.dtype() {
        DType::BF16 => append::<bf16>(shape, qkv, slots, tokens, k_pages, v_pages),
        _ => append::<f32>(shape, qkv, slots, tokens, k_pages, v_pages),
    }
}

fn append<E: Stored>(
    shape: KvPageShape,
    qkv: &Buffer,
    slots: &Buffer,
    tokens: usize,
    k_pages: &mut Buffer,
    v_pages: &mut Buffer,
) -> Result<()> {
    const OP: &str = "kv_append";
    let dim = shape.attention.qkv_dim();
    let qkv = qkv.slice::<E>(OP, "qkv", tokens * dim)?;
    let slots = slots.u32(OP, "slots", tokens)?;
    let k_pages = k_pages.slice_mut::<E>(OP, "k_pages", shape.elements())?;
    let v_pages = v_pages.slice_mut::<E>(OP, "v_pages", shape.elements())?;
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
    let part = from * page_len..(from + 1) * page_len;
    for (what, pages) in [("k_pages", k_pages), ("v_pages", v_pages)] {
        match pages.dtype() {
            DType::BF16 => {
                pages.slice_mut::<bf16>(OP, what, shape.elements())?.copy_within(part.clone(), to * page_len);
            }
            _ => pages.f32_mut(OP, what, shape.elements())?.copy_within(part.clone(), to * page_len),
        }
    }
    Ok(())
}

/// Elements of one page of keys (and of one page of values).
pub(super) fn page_elements(shape: AttentionShape) -> usize {
    shape.kv_heads * shape.head_dim * PAGE_TOKENS
}

/// Puts the keys and values of one qkv row at `offset` of a page.
fn store_token<E: Stored>(shape: AttentionShape, row: &[E], offset: usize, k_page: &mut [E], v_page: &mut [E]) {
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

/// Pages of one key block; those past the keys asked for are empty.
pub(super) type Block<'a, E> = [&'a [E]; KEY_BLOCK / PAGE_TOKENS];

/// Keys and values of all sequences, and the table that says which page holds which positions.
#[derive(Clone, Copy)]
pub(super) struct Pages<'a, E> {
    /// The numbers of the pages; where there is none, pages are numbered as they lie.
    pub(super) table: Option<&'a [u32]>,
    pub(super) keys: &'a [E],
    pub(super) values: &'a [E],
}

impl<'a, E> Pages<'a, E> {
    /// Keys `[head_dim][16]` and values `[16][head_dim]` of one head in the `count` pages from entry `first` of the table.
    #[inline(always)]
    pub(super) fn block(
        &self,
        shape: AttentionShape,
        kv_head: usize,
        first: usize,
        count: usize,
    ) -> (Block<'a, E>, Block<'a, E>) {
        let (mut keys, mut values): (Block<'a, E>, Block<'a, E>) = ([&[]; 4], [&[]; 4]);
        let len = shape.head_dim * PAGE_TOKENS;
        for index in 0..count {
            let page = self.table.map_or(first + index, |table| table[first + index] as usize);
            let start = (page * shape.kv_heads + kv_head) * len;
            keys[index] = &self.keys[start..][..len];
            values[index] = &self.values[start..][..len];
        }
        (keys, values)
    }
}
