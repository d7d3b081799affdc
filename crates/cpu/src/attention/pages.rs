//! Pages of keys and values: how the cache of inference, and the scratch of a packed batch, hold them.
//!
//! Keys are transposed in a page (`[kv_heads, head_dim, 16]`), so that a score is a chain over head_dim for 16 keys at once.

use super::registers::Stored;
use super::scratch::LINE;
use crate::CpuBackend;
use crate::buffer::Buffer;
use crate::disjoint::DisjointMut;
use crate::pool::run_ranges;
use crate::vector::prefetch_to_write;
use gradus_ops::{AttentionShape, Error, KEY_BLOCK, KvPageShape, PAGE_TOKENS, Result};
use gradus_tensor::DType;
use half::bf16;
use std::sync::PoisonError;

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
        DType::BF16 => append::<bf16>(backend, shape, qkv, slots, tokens, k_pages, v_pages),
        _ => append::<f32>(backend, shape, qkv, slots, tokens, k_pages, v_pages),
    }
}

fn append<E: Stored>(
    backend: &CpuBackend,
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
    check_distinct(backend, slots)?;
    let kv_heads = shape.attention.kv_heads;
    let pages = [DisjointMut::new(k_pages), DisjointMut::new(v_pages)];
    run_ranges(&backend.pool, tokens, TOKENS_OF_TASK, &|from, to| {
        for head in 0..2 * kv_heads {
            let (is_value, kv_head) = (head >= kv_heads, head % kv_heads);
            let place = |slot: u32| Place::new(shape.attention, &pages[usize::from(is_value)], is_value, kv_head, slot);
            for token in from..to {
                if token + 1 < to {
                    place(slots[token + 1]).ask_for();
                }
                let first = token * dim + shape.attention.q_dim() + head * shape.attention.head_dim;
                // SAFETY: the slot lies inside the pages, and no other token has it.
                unsafe { place(slots[token]).store(&qkv[first..first + shape.attention.head_dim]) };
            }
        }
    });
    Ok(())
}

/// An error where two tokens would be stored at one place.
fn check_distinct(backend: &CpuBackend, slots: &[u32]) -> Result<()> {
    let mut scratch = backend.scratch.lock().unwrap_or_else(PoisonError::into_inner);
    let sorted = scratch.take::<u32>(slots.len())?;
    sorted.copy_from_slice(slots);
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => {
            let reason = format!("two tokens have slot {}, expected one for each", pair[0]);
            Err(Error::Invalid { op: "kv_append", reason })
        }
    }
}

/// Where one head's key or value of a token lies.
struct Place<'a, E> {
    pages: &'a DisjointMut<'a, E>,
    /// Its first element, and how far each is from the one before: keys are transposed in a page.
    first: usize,
    step: usize,
    head_dim: usize,
}

impl<'a, E: Stored> Place<'a, E> {
    fn new(shape: AttentionShape, pages: &'a DisjointMut<'a, E>, is_value: bool, kv_head: usize, slot: u32) -> Self {
        let (page, offset) = (slot as usize / PAGE_TOKENS, slot as usize % PAGE_TOKENS);
        let AttentionShape { kv_heads, head_dim, .. } = shape;
        let start = (page * kv_heads + kv_head) * head_dim * PAGE_TOKENS;
        let (first, step) = if is_value { (start + offset * head_dim, 1) } else { (start + offset, PAGE_TOKENS) };
        Place { pages, first, step, head_dim }
    }

    /// Asks for the lines that [`Place::store`] will write: a key's are as many as it has elements, and none of them follows another.
    fn ask_for(&self) {
        let last = self.first + (self.head_dim - 1) * self.step;
        for element in (self.first..=last).step_by(self.step.max(LINE)) {
            prefetch_to_write(self.pages.as_mut_ptr().wrapping_add(element));
        }
    }

    /// # Safety
    /// No other place of this slot is in use.
    unsafe fn store(&self, from: &[E]) {
        if self.step == 1 {
            // SAFETY: as the caller promises; outside of the pages it panics.
            unsafe { self.pages.range(self.first, self.head_dim) }.copy_from_slice(from);
            return;
        }
        for (index, key) in from.iter().enumerate() {
            // SAFETY: as above.
            unsafe { self.pages.range(self.first + index * self.step, 1)[0] = *key };
        }
    }
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
