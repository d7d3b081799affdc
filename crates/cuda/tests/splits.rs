//! Paged attention over several splits of 2,048 keys: blocks of their own, merged in order, with the bits of packed attention, where one
//! block walks all splits of a row.
#![allow(clippy::unwrap_used)]

mod device;

use device::backend;
use gradus_cuda::CudaBackend;
use gradus_ops::{AttentionShape, Backend, KEY_SPLIT, KvPageShape, PAGE_TOKENS};
use gradus_tensor::DType;
use gradus_testing::on_backend::{buffer, halves, poisoned, read};
use gradus_testing::uniform;
use half::bf16;

/// Keys of the longest sequence, and of one that ends in its second split.
const LONGEST: usize = 3 * KEY_SPLIT + 17;
const SHORTER: usize = KEY_SPLIT + 1;

/// A sequence's rows of qkv, and what packed attention makes of them.
struct Packed {
    qkv: Vec<f32>,
    out: Vec<bf16>,
}

fn packed(backend: &CudaBackend, shape: AttentionShape, seed: u64, tokens: usize) -> Packed {
    let qkv = uniform(seed, tokens * shape.qkv_dim());
    let mut out = poisoned(backend, DType::BF16, tokens * shape.q_dim());
    let mut lse = poisoned(backend, DType::F32, tokens * shape.heads);
    let ends = buffer(backend, &[0, tokens as u32]);
    backend.attention(shape, &halves(backend, &qkv), &ends, 1, &mut out, &mut lse).unwrap();
    Packed { qkv, out: read(backend, &out) }
}

/// Both sequences in pages of their own, in an order that is not that of positions.
struct Cache {
    shape: KvPageShape,
    keys: <CudaBackend as Backend>::Buffer,
    values: <CudaBackend as Backend>::Buffer,
    /// Page numbers of either.
    pages: [Vec<u32>; 2],
}

fn cached(backend: &CudaBackend, shape: AttentionShape, sequences: [&Packed; 2]) -> Cache {
    let counts = sequences.map(|sequence| (sequence.out.len() / shape.q_dim()).div_ceil(PAGE_TOKENS));
    let pages =
        [(0..counts[0] as u32).rev().collect(), (0..counts[1] as u32).map(|page| page + counts[0] as u32).collect()];
    let shape = KvPageShape { attention: shape, pages: counts[0] + counts[1] };
    let [mut keys, mut values] = [(); 2].map(|()| poisoned(backend, DType::BF16, shape.elements()));
    for (sequence, pages) in sequences.iter().zip(&pages) {
        let pages: &Vec<u32> = pages;
        let tokens = sequence.out.len() / shape.attention.q_dim();
        let page = PAGE_TOKENS as u32;
        let slots: Vec<u32> =
            (0..tokens as u32).map(|token| pages[(token / page) as usize] * page + token % page).collect();
        let qkv = halves(backend, &sequence.qkv);
        backend.kv_append(shape, &qkv, &buffer(backend, &slots), tokens, &mut keys, &mut values).unwrap();
    }
    Cache { shape, keys, values, pages }
}

impl Cache {
    /// Attention of the rows (sequence, position) in one step, with a page table of `pages_max` columns, against those of the packed passes.
    fn check(&self, backend: &CudaBackend, sequences: [&Packed; 2], rows: &[(usize, usize)], pages_max: usize) {
        let (q_dim, qkv_dim) = (self.shape.attention.q_dim(), self.shape.attention.qkv_dim());
        let qkv: Vec<f32> = rows
            .iter()
            .flat_map(|&(sequence, position)| sequences[sequence].qkv[position * qkv_dim..][..qkv_dim].iter().copied())
            .collect();
        let table: Vec<u32> = self
            .pages
            .iter()
            .flat_map(|pages| (0..pages_max).map(|page| pages.get(page).copied().unwrap_or(0)))
            .collect();
        let positions: Vec<u32> = rows.iter().map(|row| row.1 as u32).collect();
        let of_rows: Vec<u32> = rows.iter().map(|row| row.0 as u32).collect();
        let mut out = poisoned(backend, DType::BF16, rows.len() * q_dim);
        let (positions, of_rows, table) =
            (buffer(backend, &positions), buffer(backend, &of_rows), buffer(backend, &table));
        let (qkv, Cache { shape, keys, values, .. }) = (halves(backend, &qkv), self);
        backend
            .paged_attention(*shape, &qkv, rows.len(), &positions, &of_rows, &table, pages_max, keys, values, &mut out)
            .unwrap();
        for (found, &(sequence, position)) in read::<_, bf16>(backend, &out).chunks(q_dim).zip(rows) {
            let expected = &sequences[sequence].out[position * q_dim..][..q_dim];
            assert!(
                found == expected,
                "sequence {sequence}, position {position}, {pages_max} pages: {found:?}, {expected:?}"
            );
        }
    }
}

fn check_shape(seed: u64, shape: AttentionShape) {
    let backend = backend(seed);
    let sequences = [packed(&backend, shape, 1, LONGEST), packed(&backend, shape, 2, SHORTER)];
    let sequences = [&sequences[0], &sequences[1]];
    let cache = cached(&backend, shape, sequences);
    let all = LONGEST.div_ceil(PAGE_TOKENS);
    // A decode step of many lengths: sequences of 1, 2047, 2048, 2049, 4096, 4097 and 6161 keys, the other one among them.
    let lengths = [1, 2047, 2048, 2049, 4096, 4097, LONGEST];
    let rows: Vec<(usize, usize)> =
        lengths.iter().map(|length| (0, length - 1)).chain([(1, SHORTER - 1), (1, 0)]).collect();
    cache.check(&backend, sequences, &rows, all);
    // Each alone, with a table that has room for its own keys and no more: one split up to 2,048 keys, as many as needed after that.
    for &(sequence, position) in &rows {
        cache.check(&backend, sequences, &[(sequence, position)], position / PAGE_TOKENS + 1);
    }
    // A chunk of a prefill across the border of two splits.
    let chunk: Vec<(usize, usize)> = (KEY_SPLIT - 3..KEY_SPLIT + 3).map(|position| (0, position)).collect();
    cache.check(&backend, sequences, &chunk, all);
}

#[test]
fn splits_in_parallel_have_the_bits_of_splits_in_turn() {
    check_shape(3, AttentionShape { heads: 1, kv_heads: 1, head_dim: 8 });
}

/// More query heads to a key head than one block has rows, several key heads, and the kernel of long heads. A table with room for a second
/// split that no sequence reaches costs a merge and changes nothing.
#[test]
fn splits_of_many_heads() {
    for (seed, shape, longest) in [(4, (17, 1, 16), 40), (5, (6, 3, 72), 40), (6, (2, 1, 72), KEY_SPLIT + 2)] {
        let (heads, kv_heads, head_dim) = shape;
        let shape = AttentionShape { heads, kv_heads, head_dim };
        let backend = backend(seed);
        let sequences = [packed(&backend, shape, 1, longest), packed(&backend, shape, 2, 33)];
        let sequences = [&sequences[0], &sequences[1]];
        let cache = cached(&backend, shape, sequences);
        let rows = [(0, 0), (0, longest - 2), (0, longest - 1), (1, 32)];
        cache.check(&backend, sequences, &rows, KEY_SPLIT / PAGE_TOKENS + 1);
    }
}
