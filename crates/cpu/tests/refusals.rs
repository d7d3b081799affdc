//! Wrong lengths, dtypes, shapes and indices are errors that name the op, never a panic or a write out of bounds.

#![allow(clippy::unwrap_used)] // A test may panic.

mod device;

use device::{fastest, floats, weight, words};
use gradus_cpu::Buffer;
use gradus_ops::{
    AttentionShape, Backend, KvPageShape, LogitAdjustments, LossRows, Result, RmsNormShape, RopeShape, SampleRows,
};

const HEADS: AttentionShape = AttentionShape { heads: 2, kv_heads: 1, head_dim: 8 };

/// The error names the op and says what is wrong.
fn check(result: Result<()>, op: &str, expected: &str) {
    let message = result.expect_err(op).to_string();
    assert!(message.starts_with(&format!("{op}: ")), "{message}");
    assert!(message.contains(expected), "{message}");
}

#[test]
fn embedding_and_rows() {
    let backend = fastest();
    let mut table = weight(&backend, 3, 2, &[0.0; 6]);
    let (ids, floats4) = (words(&backend, &[0, 3]), floats(&backend, &[0.0; 4]));
    let mut out = floats(&backend, &[0.0; 4]);
    check(backend.embedding(&table, &ids, 2, &mut out), "embedding", "token 1 has id 3");
    check(backend.embedding(&table, &ids, 3, &mut out), "embedding", "ids has 2 elements");
    check(backend.embedding(&table, &floats4, 2, &mut out), "embedding", "dtype");
    check(backend.embedding_backward(&mut table, &ids, 2, &floats4), "embedding_backward", "id 3");
    check(backend.gather_rows(&floats4, &ids, 0, 2, 2, &mut out), "gather_rows", "row 3");
    check(backend.gather_rows(&floats4, &ids, 1, 2, 2, &mut out), "gather_rows", "indices");
    check(backend.scatter_add_rows(&floats4, &ids, 0, 2, 2, &mut out), "scatter_add_rows", "row 3");
}

#[test]
fn norms_and_elementwise() {
    let backend = fastest();
    let [mut a, mut b, mut c] = [(); 3].map(|()| floats(&backend, &[1.0; 64]));
    let (x, gain) = (floats(&backend, &[1.0; 64]), weight(&backend, 16, 1, &[1.0; 16]));
    let shape = RmsNormShape { rows: 5, dim: 16, eps: 1e-6 };
    check(backend.rms_norm(shape, &x, None, &gain, &mut a, &mut b, &mut c), "rms_norm", "residual");
    let shape = RmsNormShape { rows: 2, dim: 32, eps: 1e-6 };
    check(backend.rms_norm(shape, &x, None, &gain, &mut a, &mut b, &mut c), "rms_norm", "weight");
    let result = backend.qk_norm(HEADS, 2, 1e-6, &x, &gain, &gain, &mut a, &mut b);
    check(result, "qk_norm", "q_weight");
    let rope = RopeShape { attention: HEADS, rows: 2, positions_max: 4 };
    let positions = words(&backend, &[0, 4]);
    check(backend.rope(rope, &x, &positions, &mut a), "rope", "row 1 has position 4");
    check(backend.swiglu(&x, 4, 16, &mut a), "swiglu", "gate_up");
    check(backend.swiglu_backward(&x, 1, 16, &positions, &mut a), "swiglu_backward", "dtype");
}

#[test]
fn softmax_and_sampler() {
    let backend = fastest();
    let (logits, ones, zero) =
        (floats(&backend, &[1.0; 8]), floats(&backend, &[1.0; 2]), floats(&backend, &[1.0, 0.0]));
    let (targets, beyond) = (words(&backend, &[0, 3]), words(&backend, &[0, 4]));
    let [mut a, mut b, mut c] = [(); 3].map(|()| floats(&backend, &[0.0; 2]));
    let rows = LossRows { rows: 2, vocab: 4, targets: &beyond, inv_t: &ones };
    let result = backend.softmax_statistics(&logits, rows, &mut a, &mut b, &mut c);
    check(result, "softmax_statistics", "target 4");
    let rows = LossRows { rows: 2, vocab: 4, targets: &targets, inv_t: &zero };
    let result = backend.softmax_statistics(&logits, rows, &mut a, &mut b, &mut c);
    check(result, "softmax_statistics", "inverse temperature 0");
    let mut short = floats(&backend, &[0.0; 7]);
    let rows = LossRows { rows: 2, vocab: 4, targets: &targets, inv_t: &ones };
    check(backend.softmax_backward(&mut short, rows, &ones, &ones), "softmax_backward", "7 elements");
    let mut ids = words(&backend, &[0; 2]);
    let mut sample = |streams: &Buffer, top_p: &Buffer, min_p: &Buffer| {
        let (inv_t, greedy, positions, top_k) = (&ones, &targets, &targets, &targets);
        let rows = SampleRows { rows: 2, vocab: 4, inv_t, greedy, streams, positions, top_k, top_p, min_p };
        backend.sample(&logits, rows, &mut ids, &mut a, &mut b, &mut c)
    };
    check(sample(&targets, &ones, &zero), "sample", "streams");
    let streams = words(&backend, &[0; 8]);
    check(sample(&streams, &zero, &zero), "sample", "row 1 has top_p 0, expected a number above 0 and at most 1");
    let wrong = floats(&backend, &[0.5, f32::NAN]);
    check(sample(&streams, &wrong, &zero), "sample", "row 1 has top_p NaN");
    check(sample(&streams, &ones, &wrong), "sample", "row 1 has min_p NaN, expected a number from 0 to 1");
}

#[test]
fn adjusted_logits() {
    let backend = fastest();
    let (mut logits, mut saved) = (floats(&backend, &[1.0; 8]), floats(&backend, &[0.0; 3]));
    let ones = floats(&backend, &[1.0; 3]);
    let mut adjust = |offsets: [u32; 3], ids: [u32; 3], entries: usize| {
        let (offsets, ids) = (&words(&backend, &offsets), &words(&backend, &ids));
        let (biases, repetition_penalties, reductions) = (&ones, &ones, &ones);
        let changes =
            LogitAdjustments { rows: 2, vocab: 4, entries, offsets, ids, biases, repetition_penalties, reductions };
        backend.adjust_logits(&mut logits, changes, &mut saved)
    };
    check(adjust([0, 2, 3], [0, 1, 2], 4), "adjust_logits", "ascend from 0 to 4");
    check(adjust([0, 4, 3], [0, 1, 2], 3), "adjust_logits", "ascend from 0 to 3");
    check(adjust([0, 1, 3], [0, 4, 2], 3), "adjust_logits", "entry 1 has id 4, the vocabulary has 4 ids");
    adjust([0, 0, 3], [0, 1, 2], 3).unwrap();
}

#[test]
fn attention() {
    let backend = fastest();
    let qkv = floats(&backend, &[1.0; 4 * 32]);
    let mut d_qkv = floats(&backend, &[1.0; 4 * 32]);
    let (mut out, mut lse) = (floats(&backend, &[0.0; 64]), floats(&backend, &[0.0; 8]));
    let cases = [
        (HEADS, vec![1, 4], "start at 0"),
        (HEADS, vec![0, 3, 2], "never fall"),
        (HEADS, vec![0, 5], "qkv has 128"),
        (AttentionShape { heads: 3, kv_heads: 2, head_dim: 8 }, vec![0, 1], "groups"),
        (AttentionShape { heads: 2, kv_heads: 0, head_dim: 8 }, vec![0, 1], "groups"),
        (AttentionShape { heads: 2, kv_heads: 1, head_dim: 12 }, vec![0, 1], "head_dim is 12"),
        (AttentionShape { heads: 2, kv_heads: 1, head_dim: 264 }, vec![0, 1], "head_dim is 264"),
    ];
    for (shape, cu_seqlens, expected) in cases {
        let (sequences, cu_seqlens) = (cu_seqlens.len() - 1, words(&backend, &cu_seqlens));
        let result = backend.attention(shape, &qkv, &cu_seqlens, sequences, &mut out, &mut lse);
        check(result, "attention", expected);
        let result = backend.attention_backward(shape, &qkv, &cu_seqlens, sequences, &out, &lse, &out, &mut d_qkv);
        check(result, "attention_backward", expected);
    }
}

#[test]
fn pages() {
    let backend = fastest();
    let shape = KvPageShape { attention: HEADS, pages: 2 };
    let [mut k, mut v] = [(); 2].map(|()| floats(&backend, &vec![0.0; shape.elements()]));
    let (qkv, mut out) = (floats(&backend, &[1.0; 2 * 32]), floats(&backend, &[0.0; 32]));
    let slots = words(&backend, &[31, 32]);
    check(backend.kv_append(shape, &qkv, &slots, 2, &mut k, &mut v), "kv_append", "token 1 has slot 32");
    let slots = words(&backend, &[7, 7]);
    check(backend.kv_append(shape, &qkv, &slots, 2, &mut k, &mut v), "kv_append", "two tokens have slot 7");
    check(backend.kv_copy_page(shape, 0, 2, &mut k, &mut v), "kv_copy_page", "page 2");
    let cases = [
        (vec![0, 15], vec![0, 0], vec![2, 0], "page 2"),
        (vec![0, 16], vec![0, 0], vec![1, 2], "page 2"),
        (vec![0, 32], vec![0, 0], vec![1, 0], "needs 3 pages"),
        (vec![0, 0], vec![0, 1], vec![1, 0], "page_table has 2"),
    ];
    for (positions, sequences, table, expected) in cases {
        let [positions, sequences, table] = [positions, sequences, table].map(|values| words(&backend, &values));
        let result = backend.paged_attention(shape, &qkv, 2, &positions, &sequences, &table, 2, &k, &v, &mut out);
        check(result, "paged_attention", expected);
    }
}
