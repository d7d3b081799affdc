//! Pages of keys and values: how the cache of inference, and the scratch of a packed batch, hold them.
//!
//! Keys are transposed in a page (`[kv_heads, head_dim, 16]`), so that a score is a chain over head_dim for 16 keys at once.

use super::registers::Stored;
use super::scratch::LINE;
use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::pool::{DisjointMut, Pool, run_ranges};
use crate::vector::prefetch_to_write;
use gradus_ops::{AttentionShape, Error, KEY_BLOCK, KvPageShape, PAGE_TOKENS, Result};
use gradus_tensor::DType;
use half::bf16;

/// Tokens that one thread appends faster than it wakes another.
const TOKENS_OF_TASK: usize = 4;

/// See [`gradus_ops::Backend::kv_append`].
pub(crate) fn kv_append(
    backend: &CpuBackend,
    shape: KvPageShape,
    qkv: &Buffer,
    slots: &Buffer,
    tokens: usize,
    k_pages: &mut Buffer,
    v_pages: &mut Buffer,
) -> Result<()> {
    match qkv.dtype() {
        DType::BF16 => append::<bf16>(&backend.pool, shape, qkv, slots, tokens, k_pages, v_pages),
        _ => append::<f32>(&backend.pool, shape, qkv, slots, tokens, k_pages, v_pages),
    }
}

fn append<E: Stored>(
    pool: &Pool,
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
    let AttentionShape { kv_heads, head_dim, .. } = shape.attention;
    let head_len = head_dim * PAGE_TOKENS;
    let (k_pages, v_pages) = (DisjointMut::new(k_pages), DisjointMut::new(v_pages));
    // Tasks are heads of keys or of values, which lie apart whatever the slots are.
    let heads_of_task = if tokens <= TOKENS_OF_TASK { 2 * kv_heads } else { 1 };
    run_ranges(pool, 2 * kv_heads, heads_of_task, &|from, to| {
        for head in from..to {
            let (is_value, kv_head) = (head >= kv_heads, head % kv_heads);
            let pages = if is_value { &v_pages } else { &k_pages };
            let place = |slot: u32| {
                let (page, offset) = (slot as usize / PAGE_TOKENS, slot as usize % PAGE_TOKENS);
                // SAFETY: a head's part of a page, inside the pages by the check above; one task holds it, one token at a time.
                (unsafe { pages.range((page * kv_heads + kv_head) * head_len, head_len) }, offset)
            };
            for (token, slot) in slots.iter().enumerate() {
                if let Some(next) = slots.get(token + 1) {
                    ask_for(place(*next), head_dim, is_value);
                }
                let first = token * dim + shape.attention.q_dim() + head * head_dim;
                store_head(&qkv[first..first + head_dim], place(*slot), is_value);
            }
        }
    });
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

/// Puts one head's key or value of a token at `offset` of its part of a page.
fn store_head<E: Stored>(from: &[E], (page, offset): (&mut [E], usize), is_value: bool) {
    if is_value {
        page[offset * from.len()..][..from.len()].copy_from_slice(from);
    } else {
        for (column, key) in page.as_chunks_mut::<PAGE_TOKENS>().0.iter_mut().zip(from) {
            column[offset] = *key;
        }
    }
}

/// Asks for the lines that [`store_head`] will write: a key's are as many as it has elements, and none of them follows another.
fn ask_for<E: Stored>((page, offset): (&mut [E], usize), head_dim: usize, is_value: bool) {
    let (first, step) = if is_value { (offset * head_dim, LINE) } else { (offset, PAGE_TOKENS) };
    let lines = if is_value { head_dim.div_ceil(LINE) } else { head_dim };
    for line in 0..lines {
        prefetch_to_write(page.as_ptr().wrapping_add(first + line * step));
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
