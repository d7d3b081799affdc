//! Every other op on the simulator against the CPU backend in bf16, at odd sizes: what both store is rounded once, so they differ by one
//! rounding at most where sums have other orders.
#![allow(clippy::unwrap_used)]

mod device;

use device::backend;
use gradus_cpu::CpuBackend;
use gradus_ops::{
    AttentionShape, Backend, KvPageShape, LogitAdjustments, LossRows, PAGE_TOKENS, Precision, RmsNormShape, RopeShape,
    SampleRows,
};
use gradus_tensor::DType;
use gradus_testing::on_backend::{buffer, halves, poisoned, read, read_floats, row_major, weight};
use gradus_testing::{integers, relative_l2, uniform};

/// Of what is stored in bf16: a rounding differs here and there.
const ROUNDED: f64 = 4e-3;
/// Of f32 results of bf16 inputs.
const SUMS: f64 = 1e-4;

/// Orders of a launch's threads and blocks; the first one is compared with the CPU, the others must give its bits.
const SEEDS: [u64; 3] = [7, 8, 9];

fn bits(results: &[Vec<f32>]) -> Vec<Vec<u32>> {
    results.iter().map(|values| values.iter().map(|value| value.to_bits()).collect()).collect()
}

/// Runs `op` on both backends, and compares each of its results within its tolerance.
macro_rules! agree {
    ($what:expr, $op:expr, $tolerances:expr) => {{
        let [found, others @ ..] = SEEDS.map(|seed| {
            let backend = &backend(seed);
            $op(backend)
        });
        for other in others {
            assert!(bits(&other) == bits(&found), "{:?}: other bits in another order of the threads", $what);
        }
        let expected = {
            let backend = &CpuBackend::new(Some(1)).unwrap();
            $op(backend)
        };
        for (index, ((found, expected), tolerance)) in found.iter().zip(&expected).zip($tolerances).enumerate() {
            let expected: Vec<f64> = expected.iter().copied().map(f64::from).collect();
            let distance = relative_l2(found, &expected);
            assert!(distance <= tolerance, "{:?}, result {index}: {distance:e} from the CPU's", $what);
        }
    }};
}

fn bf16_vector<B: Backend>(backend: &B, seed: u64, len: usize) -> B::Weight {
    weight(backend, Precision::Bf16, (len, 1), &uniform(seed, len))
}

#[test]
fn norms_and_their_gradients() {
    fn run<B: Backend>(backend: &B, rows: usize, dim: usize) -> Vec<Vec<f32>> {
        let shape = RmsNormShape { rows, dim, eps: 1e-6 };
        let len = rows * dim;
        let (residual, delta) = (halves(backend, &uniform(1, len)), buffer(backend, &uniform(2, len)));
        let w = bf16_vector(backend, 3, dim);
        let [mut sum, mut out] = [(); 2].map(|()| poisoned(backend, DType::BF16, len));
        let mut rstd = poisoned(backend, DType::F32, rows);
        backend.rms_norm(shape, &residual, Some(&delta), &w, &mut sum, &mut rstd, &mut out).unwrap();
        let d_out = buffer(backend, &uniform(4, len));
        let mut d_sum = buffer(backend, &uniform(5, len));
        let mut d_weight = weight(backend, Precision::F32, (dim, 1), &uniform(6, dim));
        backend.rms_norm_backward(shape, &sum, &rstd, &w, &d_out, &mut d_sum, &mut d_weight).unwrap();
        let results = [read_floats(backend, DType::BF16, &sum), read_floats(backend, DType::BF16, &out)];
        let gradients = [read(backend, &rstd), read(backend, &d_sum), row_major(backend, &d_weight)];
        // Without a delta, from a residual in F32.
        let residual = buffer(backend, &uniform(1, len));
        backend.rms_norm(shape, &residual, None, &w, &mut sum, &mut rstd, &mut out).unwrap();
        results.into_iter().chain(gradients).chain([read_floats(backend, DType::BF16, &out)]).collect()
    }
    for (rows, dim) in [(1, 8), (3, 99), (70, 16), (2, 989)] {
        agree!((rows, dim), |backend: &_| run(backend, rows, dim), [0.0, ROUNDED, SUMS, SUMS, SUMS, ROUNDED]);
    }
}

const SHAPES: [AttentionShape; 3] = [
    AttentionShape { heads: 4, kv_heads: 2, head_dim: 16 },
    AttentionShape { heads: 3, kv_heads: 1, head_dim: 72 },
    AttentionShape { heads: 2, kv_heads: 2, head_dim: 64 },
];

#[test]
fn norms_of_heads_and_rope() {
    fn run<B: Backend>(backend: &B, shape: AttentionShape, tokens: usize) -> Vec<Vec<f32>> {
        let (len, head_dim) = (tokens * shape.qkv_dim(), shape.head_dim);
        let qkv = halves(backend, &uniform(1, len));
        let (q, k) = (bf16_vector(backend, 2, head_dim), bf16_vector(backend, 3, head_dim));
        let mut rstd = poisoned(backend, DType::F32, tokens * (shape.heads + shape.kv_heads));
        let mut out = poisoned(backend, DType::BF16, len);
        backend.qk_norm(shape, tokens, 1e-6, &qkv, &q, &k, &mut rstd, &mut out).unwrap();
        let normed = read_floats(backend, DType::BF16, &out);
        let mut d_qkv = buffer(backend, &uniform(4, len));
        let [mut d_q, mut d_k] =
            [5, 6].map(|seed| weight(backend, Precision::F32, (head_dim, 1), &uniform(seed, head_dim)));
        backend.qk_norm_backward(shape, tokens, &qkv, &rstd, &q, &k, &mut d_qkv, &mut d_q, &mut d_k).unwrap();
        let gradients = [read(backend, &d_qkv), row_major(backend, &d_q), row_major(backend, &d_k)];
        let rope = RopeShape { attention: shape, rows: tokens, positions_max: 32 };
        let table = buffer(backend, &uniform(7, 32 * head_dim));
        let positions = buffer(backend, &integers(8, tokens, 32));
        let mut rotated = halves(backend, &uniform(9, len));
        backend.rope(rope, &table, &positions, &mut rotated).unwrap();
        let mut d_rotated = buffer(backend, &uniform(9, len));
        backend.rope_backward(rope, &table, &positions, &mut d_rotated).unwrap();
        let rotations = [read_floats(backend, DType::BF16, &rotated), read(backend, &d_rotated)];
        [normed].into_iter().chain(gradients).chain(rotations).collect()
    }
    for (shape, tokens) in SHAPES.into_iter().zip([5, 70, 1]) {
        let tolerances = [ROUNDED, SUMS, SUMS, SUMS, ROUNDED, SUMS];
        agree!((shape, tokens), |backend: &_| run(backend, shape, tokens), tolerances);
    }
}

#[test]
fn activations_and_embeddings() {
    fn run<B: Backend>(backend: &B, tokens: usize, dim: usize) -> Vec<Vec<f32>> {
        let gate_up = halves(backend, &uniform(1, tokens * 2 * dim));
        let mut out = poisoned(backend, DType::BF16, tokens * dim);
        backend.swiglu(&gate_up, tokens, dim, &mut out).unwrap();
        let d_out = buffer(backend, &uniform(2, tokens * dim));
        let mut d_gate_up = poisoned(backend, DType::F32, tokens * 2 * dim);
        backend.swiglu_backward(&gate_up, tokens, dim, &d_out, &mut d_gate_up).unwrap();
        let vocab = 11;
        let table = weight(backend, Precision::Bf16, (vocab, dim), &uniform(3, vocab * dim));
        let ids = buffer(backend, &integers(4, tokens, vocab as u32));
        let mut embedded = poisoned(backend, DType::BF16, tokens * dim);
        backend.embedding(&table, &ids, tokens, &mut embedded).unwrap();
        // A paged step has its embedding in f32: the residual that the first norm reads.
        let mut wide = poisoned(backend, DType::F32, tokens * dim);
        backend.embedding(&table, &ids, tokens, &mut wide).unwrap();
        let mut d_table = weight(backend, Precision::F32, (vocab, dim), &uniform(5, vocab * dim));
        backend.embedding_backward(&mut d_table, &ids, tokens, &d_out).unwrap();
        vec![
            read_floats(backend, DType::BF16, &out),
            read(backend, &d_gate_up),
            read_floats(backend, DType::BF16, &embedded),
            read(backend, &wide),
            row_major(backend, &d_table),
        ]
    }
    for (tokens, dim) in [(1, 8), (33, 99), (300, 5)] {
        agree!((tokens, dim), |backend: &_| run(backend, tokens, dim), [ROUNDED, SUMS, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn losses() {
    fn run<B: Backend>(backend: &B, count: usize, vocab: usize) -> Vec<Vec<f32>> {
        let values: Vec<f32> = uniform(1, count * vocab).iter().map(|value| 8.0 * value).collect();
        let mut logits = buffer(backend, &values);
        let targets = buffer(backend, &integers(2, count, vocab as u32));
        let inv_t = buffer(backend, &vec![1.25_f32; count]);
        let rows = || LossRows { rows: count, vocab, targets: &targets, inv_t: &inv_t };
        let [mut lse, mut logprob, mut entropy] = [(); 3].map(|()| poisoned(backend, DType::F32, count));
        backend.softmax_statistics(&logits, rows(), &mut lse, &mut logprob, &mut entropy).unwrap();
        let coefficient = buffer(backend, &uniform(3, count));
        backend.softmax_backward(&mut logits, rows(), &lse, &coefficient).unwrap();
        vec![read(backend, &lse), read(backend, &logprob), read(backend, &entropy), read(backend, &logits)]
    }
    for (count, vocab) in [(1, 3), (5, 260), (3, 5003)] {
        agree!((count, vocab), |backend: &_| run(backend, count, vocab), [1e-6, 1e-5, 1e-5, 1e-5]);
    }
}

#[test]
fn attention_forward_and_backward() {
    fn run<B: Backend>(backend: &B, shape: AttentionShape, lengths: &[usize]) -> Vec<Vec<f32>> {
        let ends = lengths.iter().scan(0, |end, length| {
            *end += *length as u32;
            Some(*end)
        });
        let cu_seqlens: Vec<u32> = [0].into_iter().chain(ends).collect();
        let tokens: usize = lengths.iter().sum();
        let qkv = halves(backend, &uniform(1, tokens * shape.qkv_dim()));
        let cu_seqlens = buffer(backend, &cu_seqlens);
        let mut out = poisoned(backend, DType::BF16, tokens * shape.q_dim());
        let mut lse = poisoned(backend, DType::F32, tokens * shape.heads);
        backend.attention(shape, &qkv, &cu_seqlens, lengths.len(), &mut out, &mut lse).unwrap();
        let d_out = buffer(backend, &uniform(2, tokens * shape.q_dim()));
        let mut d_qkv = poisoned(backend, DType::F32, tokens * shape.qkv_dim());
        backend.attention_backward(shape, &qkv, &cu_seqlens, lengths.len(), &out, &lse, &d_out, &mut d_qkv).unwrap();
        vec![read_floats(backend, DType::BF16, &out), read(backend, &lse), read(backend, &d_qkv)]
    }
    for shape in SHAPES {
        // P and d_out are bf16 operands on a GPU, f32 on the CPU.
        agree!(shape, |backend: &_| run(backend, shape, &[1, 70, 33]), [1e-2, 1e-5, 1e-2]);
    }
}

/// Rows in a batch of pages have the bits of packed attention.
#[test]
fn paged_attention_has_the_bits_of_the_packed_one() {
    let backend = backend(3);
    for shape in SHAPES {
        let tokens = 37;
        let qkv = halves(&backend, &uniform(1, tokens * shape.qkv_dim()));
        let mut out = poisoned(&backend, DType::BF16, tokens * shape.q_dim());
        let mut lse = poisoned(&backend, DType::F32, tokens * shape.heads);
        let cu_seqlens = buffer(&backend, &[0, tokens as u32]);
        backend.attention(shape, &qkv, &cu_seqlens, 1, &mut out, &mut lse).unwrap();
        let pages = KvPageShape { attention: shape, pages: 5 };
        let table = [4_u32, 1, 2];
        let slots: Vec<u32> = (0..tokens)
            .map(|token| table[token / PAGE_TOKENS] * PAGE_TOKENS as u32 + (token % PAGE_TOKENS) as u32)
            .collect();
        let [mut keys, mut values] = [(); 2].map(|()| backend.alloc(DType::BF16, pages.elements()).unwrap());
        backend.kv_append(pages, &qkv, &buffer(&backend, &slots), tokens, &mut keys, &mut values).unwrap();
        let positions: Vec<u32> = (0..tokens as u32).collect();
        let (positions, sequences) = (buffer(&backend, &positions), buffer(&backend, &vec![0_u32; tokens]));
        let mut paged = poisoned(&backend, DType::BF16, tokens * shape.q_dim());
        let table = buffer(&backend, &table);
        backend
            .paged_attention(pages, &qkv, tokens, &positions, &sequences, &table, 3, &keys, &values, &mut paged)
            .unwrap();
        assert!(read::<_, half::bf16>(&backend, &paged) == read::<_, half::bf16>(&backend, &out), "{shape:?}");
    }
    let shape = AttentionShape { heads: 2, kv_heads: 2, head_dim: 136 };
    let (qkv, ends) = (halves(&backend, &[0.0; 816]), buffer(&backend, &[0_u32, 1]));
    let (mut out, mut lse) = (poisoned(&backend, DType::BF16, 272), poisoned(&backend, DType::F32, 2));
    let message = backend.attention(shape, &qkv, &ends, 1, &mut out, &mut lse).unwrap_err().to_string();
    assert_eq!(message, "attention: head_dim is 136, expected a multiple of 8 up to 128; take device \"cpu\"");
}

#[test]
fn draws() {
    /// Rows that are greedy, free, and limited in each way; the uniform numbers are those of Philox, so that both backends draw alike.
    fn run<B: Backend>(backend: &B, vocab: usize) -> Vec<Vec<f32>> {
        let count = 6;
        let values: Vec<f32> = uniform(1, count * vocab).iter().map(|value| 6.0 * value).collect();
        let mut logits = buffer(backend, &values);
        let inv_t = buffer(backend, &[1.0_f32, 1.0, 1.25, 0.8, 1.0, 2.0]);
        let greedy = buffer(backend, &[1_u32, 0, 0, 0, 0, 0]);
        let streams = buffer(backend, &integers(2, 4 * count, u32::MAX));
        let positions = buffer(backend, &[0_u32, 1, 2, 3, 40, 500]);
        let top_k = buffer(backend, &[0_u32, 0, 3, 0, 0, 7]);
        let top_p = buffer(backend, &[1.0_f32, 1.0, 1.0, 0.7, 1.0, 0.9]);
        let min_p = buffer(backend, &[0.0_f32, 0.0, 0.0, 0.0, 0.2, 0.1]);
        let rows = SampleRows {
            rows: count,
            vocab,
            inv_t: &inv_t,
            greedy: &greedy,
            streams: &streams,
            positions: &positions,
            top_k: &top_k,
            top_p: &top_p,
            min_p: &min_p,
        };
        let mut ids = buffer(backend, &vec![u32::MAX; count]);
        let [mut lse, mut logprob, mut entropy] = [(); 3].map(|()| poisoned(backend, DType::F32, count));
        backend.sample(&logits, rows, &mut ids, &mut lse, &mut logprob, &mut entropy).unwrap();
        let drawn: Vec<f32> = read::<_, u32>(backend, &ids).into_iter().map(|id| id as f32).collect();
        let of_draws = [drawn, read(backend, &lse), read(backend, &logprob), read(backend, &entropy)];
        // The sampler's numbers are those of the one softmax kernel, bit for bit.
        let [mut again_lse, mut again, mut again_entropy] = [(); 3].map(|()| poisoned(backend, DType::F32, count));
        let targets = LossRows { rows: count, vocab, targets: &ids, inv_t: &inv_t };
        backend.softmax_statistics(&logits, targets, &mut again_lse, &mut again, &mut again_entropy).unwrap();
        for (first, second) in [(&lse, &again_lse), (&logprob, &again), (&entropy, &again_entropy)] {
            assert_eq!(read::<_, f32>(backend, first), read::<_, f32>(backend, second));
        }
        let offsets = buffer(backend, &[0_u32, 2, 2, 3, 3, 3, 3]);
        let changed = buffer(backend, &[1_u32, 0, 2]);
        let biases = buffer(backend, &[0.5_f32, f32::NEG_INFINITY, -1.0]);
        let penalties = buffer(backend, &[1.5_f32, 1.0, 2.0]);
        let reductions = buffer(backend, &[0.25_f32, 0.0, 3.0]);
        let adjustments = || LogitAdjustments {
            rows: count,
            vocab,
            entries: 3,
            offsets: &offsets,
            ids: &changed,
            biases: &biases,
            repetition_penalties: &penalties,
            reductions: &reductions,
        };
        let mut saved = poisoned(backend, DType::F32, 3);
        backend.adjust_logits(&mut logits, adjustments(), &mut saved).unwrap();
        let mut adjusted: Vec<f32> = read(backend, &logits);
        assert_eq!(adjusted[0], f32::NEG_INFINITY);
        adjusted[0] = 0.0;
        backend.restore_logits(&mut logits, adjustments(), &saved).unwrap();
        assert_eq!(read::<_, f32>(backend, &logits), values);
        of_draws.into_iter().chain([adjusted]).collect()
    }
    for vocab in [5, 260, 3001] {
        agree!(vocab, |backend: &_| run(backend, vocab), [0.0, 1e-6, 1e-5, 1e-5, 0.0]);
    }
}

#[test]
fn a_row_without_a_distribution_has_no_id() {
    let backend = backend(1);
    let logits = buffer(&backend, &[f32::NEG_INFINITY; 10]);
    let (floats, zeros) = (buffer(&backend, &[1.0_f32; 2]), buffer(&backend, &[0_u32; 8]));
    let rows = SampleRows {
        rows: 2,
        vocab: 5,
        inv_t: &floats,
        greedy: &zeros,
        streams: &zeros,
        positions: &zeros,
        top_k: &zeros,
        top_p: &floats,
        min_p: &buffer(&backend, &[0.0_f32; 2]),
    };
    let mut ids = buffer(&backend, &[0_u32; 2]);
    let [mut lse, mut logprob, mut entropy] = [(); 3].map(|()| poisoned(&backend, DType::F32, 2));
    backend.sample(&logits, rows, &mut ids, &mut lse, &mut logprob, &mut entropy).unwrap();
    assert_eq!(read::<_, u32>(&backend, &ids), [u32::MAX; 2]);
    let targets = LossRows { rows: 2, vocab: 5, targets: &ids, inv_t: &floats };
    backend.softmax_statistics(&logits, targets, &mut lse, &mut logprob, &mut entropy).unwrap();
    assert!(read::<_, f32>(&backend, &logprob).iter().all(|logprob| logprob.is_nan()));
}
