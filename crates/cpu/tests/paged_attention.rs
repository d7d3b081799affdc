//! Paged attention equals packed attention bit for bit, however the sequences are cut into prefill chunks and decode steps.

#![allow(clippy::unwrap_used)] // A test may panic.

mod device;

use device::{
    assert_same_bits, fastest, floats, halves, poisoned, poisoned_halves, read, read_halves, rounded, same_everywhere,
    words,
};
use gradus_cpu::{Buffer, CpuBackend};
use gradus_ops::{AttentionShape, Backend, KvPageShape, PAGE_TOKENS};
use gradus_testing::uniform;
use std::ops::Range;

const fn heads(heads: usize, kv_heads: usize, head_dim: usize) -> AttentionShape {
    AttentionShape { heads, kv_heads, head_dim }
}

/// A cache of NaN, so that whatever is read without having been written shows.
struct Cache {
    shape: KvPageShape,
    pages_max: usize,
    table: Vec<u32>,
    k_pages: Buffer,
    v_pages: Buffer,
}

impl Cache {
    fn new(backend: &CpuBackend, packed: &Packed) -> Cache {
        let (attention, lengths) = (packed.shape, &packed.lengths);
        let pages_max = lengths.iter().max().unwrap().div_ceil(PAGE_TOKENS) + 1;
        let used: usize = lengths.iter().map(|length| length.div_ceil(PAGE_TOKENS)).sum();
        let shape = KvPageShape { attention, pages: used + 3 };
        // Entries past a sequence's end name no page at all.
        let mut table = vec![u32::MAX; lengths.len() * pages_max];
        let mut next = used as u32;
        for (sequence, length) in lengths.iter().enumerate() {
            for index in 0..length.div_ceil(PAGE_TOKENS) {
                // Pages handed out from the end, so that a sequence's pages never lie in order.
                table[sequence * pages_max + index] = next;
                next -= 1;
            }
        }
        let pages = || packed.output(backend, shape.elements());
        Cache { shape, pages_max, table, k_pages: pages(), v_pages: pages() }
    }

    fn slot(&self, sequence: usize, position: usize) -> u32 {
        let page = self.table[sequence * self.pages_max + position / PAGE_TOKENS] as usize;
        (page * PAGE_TOKENS + position % PAGE_TOKENS) as u32
    }

    /// Appends and attends one inference step of the given (sequence, positions) pieces; out rows in their order.
    fn step(&mut self, backend: &CpuBackend, packed: &Packed, pieces: &[(usize, Range<usize>)]) -> Vec<f32> {
        let rows: Vec<(usize, usize)> =
            pieces.iter().flat_map(|(sequence, range)| range.clone().map(|position| (*sequence, position))).collect();
        let column = |value: &dyn Fn(&(usize, usize)) -> u32| rows.iter().map(value).collect::<Vec<_>>();
        let slots = words(backend, &column(&|row| self.slot(row.0, row.1)));
        let positions = words(backend, &column(&|row| row.1 as u32));
        let sequences = words(backend, &column(&|row| row.0 as u32));
        let values: Vec<f32> = rows.iter().flat_map(|row| packed.row(row.0, row.1).to_vec()).collect();
        let qkv = packed.activations(backend, &values);
        let count = rows.len();
        backend.kv_append(self.shape, &qkv, &slots, count, &mut self.k_pages, &mut self.v_pages).unwrap();
        let mut out = packed.output(backend, count * self.shape.attention.q_dim());
        let table = words(backend, &self.table);
        backend
            .paged_attention(
                self.shape,
                &qkv,
                count,
                &positions,
                &sequences,
                &table,
                self.pages_max,
                &self.k_pages,
                &self.v_pages,
                &mut out,
            )
            .unwrap();
        packed.read(backend, &out)
    }
}

struct Packed {
    shape: AttentionShape,
    lengths: Vec<usize>,
    qkv: Vec<f32>,
    /// Whether qkv, out, keys and values are bf16.
    half: bool,
}

impl Packed {
    fn new(shape: AttentionShape, lengths: &[usize]) -> Packed {
        let qkv = uniform(1, lengths.iter().sum::<usize>() * shape.qkv_dim());
        Packed { shape, lengths: lengths.to_vec(), qkv: qkv.iter().map(|x| x * 3.0).collect(), half: false }
    }

    fn halves(shape: AttentionShape, lengths: &[usize]) -> Packed {
        let packed = Packed::new(shape, lengths);
        Packed { qkv: rounded(&packed.qkv), half: true, ..packed }
    }

    fn activations(&self, backend: &CpuBackend, values: &[f32]) -> Buffer {
        if self.half { halves(backend, values) } else { floats(backend, values) }
    }

    /// Memory of NaN.
    fn output(&self, backend: &CpuBackend, len: usize) -> Buffer {
        if self.half { poisoned_halves(backend, len) } else { poisoned(backend, len) }
    }

    fn read(&self, backend: &CpuBackend, buffer: &Buffer) -> Vec<f32> {
        if self.half { read_halves(backend, buffer) } else { read(backend, buffer) }
    }

    fn first(&self, sequence: usize) -> usize {
        self.lengths[..sequence].iter().sum()
    }

    fn row(&self, sequence: usize, position: usize) -> &[f32] {
        let dim = self.shape.qkv_dim();
        &self.qkv[(self.first(sequence) + position) * dim..][..dim]
    }

    fn attention(&self, backend: &CpuBackend) -> Vec<f32> {
        let cu_seqlens: Vec<u32> = (0..=self.lengths.len()).map(|sequence| self.first(sequence) as u32).collect();
        let tokens = self.first(self.lengths.len());
        let mut out = self.output(backend, tokens * self.shape.q_dim());
        let mut lse = poisoned(backend, tokens * self.shape.heads);
        let (qkv, cu_seqlens) = (self.activations(backend, &self.qkv), words(backend, &cu_seqlens));
        backend.attention(self.shape, &qkv, &cu_seqlens, self.lengths.len(), &mut out, &mut lse).unwrap();
        self.read(backend, &out)
    }

    /// Runs the steps on a fresh cache and compares each row with packed attention.
    fn check(&self, backend: &CpuBackend, expected: &[f32], steps: &[Vec<(usize, Range<usize>)>]) {
        let mut cache = Cache::new(backend, self);
        let width = self.shape.q_dim();
        for pieces in steps {
            let found = cache.step(backend, self, pieces);
            let mut row = 0;
            for (sequence, range) in pieces {
                let first = (self.first(*sequence) + range.start) * width;
                let len = range.len() * width;
                let what = format!("{:?}: sequence {sequence}, positions {range:?}", self.shape);
                assert_same_bits(&found[row..row + len], &expected[first..first + len], &what);
                row += len;
            }
        }
    }
}

/// All sequences side by side, each in chunks of `chunk` tokens.
fn chunks(lengths: &[usize], chunk: usize) -> Vec<Vec<(usize, Range<usize>)>> {
    let longest = *lengths.iter().max().unwrap();
    (0..longest)
        .step_by(chunk)
        .map(|start| {
            let piece = |(sequence, length): (usize, &usize)| (sequence, start..(start + chunk).min(*length));
            lengths.iter().enumerate().filter(|(_, length)| start < **length).map(piece).collect()
        })
        .collect()
}

const SHAPES: [AttentionShape; 8] = [
    heads(4, 2, 8),
    heads(7, 1, 24),
    heads(3, 3, 40),
    heads(2, 2, 64),
    heads(6, 2, 80),
    heads(14, 2, 16),
    heads(1, 1, 128),
    heads(70, 1, 8),
];

#[test]
fn every_chunking_equals_packed_attention() {
    let lengths = [1, 17, 63, 64, 65, 130];
    let backend = fastest();
    for shape in SHAPES {
        for packed in [Packed::new(shape, &lengths), Packed::halves(shape, &lengths)] {
            let expected = packed.attention(&backend);
            for chunk in [1, 2, 7, 16, 50, 64, 200] {
                packed.check(&backend, &expected, &chunks(&lengths, chunk));
            }
        }
    }
}

#[test]
fn decode_and_prefill_mix_in_one_step() {
    let lengths = [100, 40, 70];
    let packed = Packed::new(heads(6, 2, 16), &lengths);
    let backend = fastest();
    let steps = vec![
        vec![(1, 0..39)],
        vec![(0, 0..64), (1, 39..40)],
        vec![(2, 0..1), (0, 64..65)],
        vec![(2, 1..33), (0, 65..66)],
        vec![(0, 66..100), (2, 33..70)],
    ];
    packed.check(&backend, &packed.attention(&backend), &steps);
}

#[test]
fn splits_are_the_same_in_decode() {
    let lengths = [2120, 30];
    let mut steps = vec![vec![(0, 0..2040)], vec![(0, 2040..2043), (1, 0..20)]];
    steps.extend((2043..2070).map(|position| vec![(0, position..position + 1)]));
    steps.push(vec![(1, 20..30), (0, 2070..2120)]);
    for packed in [Packed::new(heads(2, 1, 8), &lengths), Packed::halves(heads(2, 1, 8), &lengths)] {
        let expected = packed.attention(&fastest());
        // The more threads, the more often the splits of one token are tasks of their own.
        for threads in 1..=4 {
            let backend = CpuBackend::new(Some(threads)).unwrap();
            packed.check(&backend, &expected, &steps);
        }
    }
}

#[test]
fn splits_merge_in_order() {
    let lengths = [6300, 2049, 4096];
    let packed = Packed::new(heads(3, 1, 8), &lengths);
    let expected = packed.attention(&fastest());
    let prefill: Vec<_> = (0..3).map(|sequence| (sequence, 0..lengths[sequence] - 2)).collect();
    let decode =
        |back: usize| (0..3).map(move |sequence| (sequence, lengths[sequence] - back..lengths[sequence] - back + 1));
    for threads in [1, 4] {
        let backend = CpuBackend::new(Some(threads)).unwrap();
        packed.check(&backend, &expected, &[prefill.clone(), decode(2).collect(), decode(1).collect()]);
    }
}

#[test]
fn levels_and_threads_agree() {
    let lengths = [65, 3, 20];
    for shape in SHAPES {
        for packed in [Packed::new(shape, &lengths), Packed::halves(shape, &lengths)] {
            same_everywhere(|backend| {
                let mut cache = Cache::new(backend, &packed);
                chunks(&lengths, 13).iter().map(|pieces| cache.step(backend, &packed, pieces)).collect()
            });
        }
    }
}

#[test]
fn a_copied_page_serves_a_second_sequence() {
    // Two sequences with the same first 20 positions: the second one takes page 0 and a copy of page 1.
    let shape = heads(4, 2, 8);
    let backend = fastest();
    for packed in [Packed::new(shape, &[30, 30]), Packed::halves(shape, &[30, 30])] {
        share_a_page(&backend, packed);
    }
}

fn share_a_page(backend: &CpuBackend, mut packed: Packed) {
    let shape = packed.shape;
    let dim = shape.qkv_dim();
    packed.qkv.copy_within(0..20 * dim, 30 * dim);
    let expected = packed.attention(backend);
    let mut cache = Cache::new(backend, &packed);
    cache.step(backend, &packed, &[(0, 0..20)]);
    let (from, to) = (cache.table[1] as usize, cache.table[cache.pages_max + 1] as usize);
    cache.table[cache.pages_max] = cache.table[0];
    backend.kv_copy_page(cache.shape, from, to, &mut cache.k_pages, &mut cache.v_pages).unwrap();
    let found = cache.step(backend, &packed, &[(0, 20..30), (1, 20..30)]);
    let width = shape.q_dim();
    assert_same_bits(&found[..10 * width], &expected[20 * width..30 * width], "first sequence");
    assert_same_bits(&found[10 * width..], &expected[50 * width..], "second sequence");
}
