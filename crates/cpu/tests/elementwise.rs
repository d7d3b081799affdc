//! Rotary positions and the gated activation, against f64: forward, and backward by inversion or finite differences.

#![allow(clippy::unwrap_used)] // A test may panic.

mod device;

use device::{differences, doubles, floats, poisoned, read, same_everywhere, weighted_sum, words};
use gradus_ops::{AttentionShape, Backend, RopeShape};
use gradus_testing::{integers, relative_l2, uniform};

const ROPE_SHAPES: [(usize, AttentionShape); 4] = [
    (1, AttentionShape { heads: 1, kv_heads: 1, head_dim: 8 }),
    (35, AttentionShape { heads: 4, kv_heads: 2, head_dim: 24 }),
    (2, AttentionShape { heads: 14, kv_heads: 2, head_dim: 64 }),
    (3, AttentionShape { heads: 2, kv_heads: 1, head_dim: 128 }),
];
const POSITIONS_MAX: usize = 50;

/// [positions, head_dim]: cosines, then sines.
fn table_f64(head_dim: usize) -> Vec<f64> {
    (0..POSITIONS_MAX)
        .flat_map(|position| {
            let angle = move |i: usize| position as f64 / 10_000f64.powf(2.0 * i as f64 / head_dim as f64);
            let half = head_dim / 2;
            (0..half).map(move |i| angle(i).cos()).chain((0..half).map(move |i| angle(i).sin()))
        })
        .collect()
}

/// x·cos + rotate_half(x)·sin on query and key heads, as Hugging Face writes it.
fn rope_f64(shape: AttentionShape, positions: &[u32], qkv: &[f64]) -> Vec<f64> {
    let (table, head_dim) = (table_f64(shape.head_dim), shape.head_dim);
    let half = head_dim / 2;
    let mut out = qkv.to_vec();
    for ((row, out), position) in qkv.chunks(shape.qkv_dim()).zip(out.chunks_mut(shape.qkv_dim())).zip(positions) {
        for i in 0..(shape.heads + shape.kv_heads) * head_dim {
            let (head, i) = (i / head_dim * head_dim, i % head_dim);
            let rotated = if i < half { -row[head + i + half] } else { row[head + i - half] };
            let entry = *position as usize * head_dim + i % half;
            out[head + i] = row[head + i] * table[entry] + rotated * table[entry + half];
        }
    }
    out
}

#[test]
fn rope_rotates_and_its_backward_equals_differences() {
    for (rows, shape) in ROPE_SHAPES {
        let len = rows * shape.qkv_dim();
        let (qkv, d_out) = (uniform(1, len), uniform(2, len));
        let positions = integers(3, rows, POSITIONS_MAX as u32);
        let table: Vec<f32> = table_f64(shape.head_dim).iter().map(|value| *value as f32).collect();
        let rope = RopeShape { attention: shape, rows, positions_max: POSITIONS_MAX };
        let results = same_everywhere(|backend| {
            let (table, positions) = (floats(backend, &table), words(backend, &positions));
            let (mut qkv, mut d_qkv) = (floats(backend, &qkv), floats(backend, &d_out));
            backend.rope(rope, &table, &positions, &mut qkv).unwrap();
            backend.rope_backward(rope, &table, &positions, &mut d_qkv).unwrap();
            vec![read(backend, &qkv), read(backend, &d_qkv)]
        });
        assert!(relative_l2(&results[0], &rope_f64(shape, &positions, &doubles(&qkv))) < 2e-7);
        if len < 3000 {
            let expected = differences(&doubles(&qkv), |qkv| weighted_sum(&rope_f64(shape, &positions, qkv), &d_out));
            assert!(relative_l2(&results[1], &expected) < 1e-6, "{shape:?}");
        }
    }
}

fn swiglu_f64(ffn: usize, gate_up: &[f64]) -> Vec<f64> {
    gate_up
        .chunks(2 * ffn)
        .flat_map(|row| (0..ffn).map(|i| row[i] / (1.0 + (-row[i]).exp()) * row[ffn + i]).collect::<Vec<_>>())
        .collect()
}

#[test]
fn swiglu_and_its_backward() {
    for (tokens, ffn) in [(1, 1), (3, 17), (5, 64), (2, 99), (1, 989)] {
        let gate_up: Vec<f32> = uniform(1, tokens * 2 * ffn).iter().map(|x| x * 6.0).collect();
        let d_out = uniform(2, tokens * ffn);
        let results = same_everywhere(|backend| {
            let (gate_up, d_out) = (floats(backend, &gate_up), floats(backend, &d_out));
            let (mut out, mut d_gate_up) = (poisoned(backend, tokens * ffn), poisoned(backend, tokens * 2 * ffn));
            backend.swiglu(&gate_up, tokens, ffn, &mut out).unwrap();
            backend.swiglu_backward(&gate_up, tokens, ffn, &d_out, &mut d_gate_up).unwrap();
            vec![read(backend, &out), read(backend, &d_gate_up)]
        });
        let gate_up = doubles(&gate_up);
        assert!(relative_l2(&results[0], &swiglu_f64(ffn, &gate_up)) < 3e-7, "{tokens} x {ffn}");
        let expected = differences(&gate_up, |gate_up| weighted_sum(&swiglu_f64(ffn, gate_up), &d_out));
        assert!(relative_l2(&results[1], &expected) < 1e-6, "{tokens} x {ffn}: backward");
    }
}

#[test]
fn swiglu_saturates_without_nan() {
    let gates = [-1e30, -200.0, -88.0, 0.0, 88.0, 200.0, 1e30, 1.0];
    let row: Vec<f32> = gates.into_iter().chain([1.0; 8]).collect();
    let results = same_everywhere(|backend| {
        let (gate_up, d_out) = (floats(backend, &row), floats(backend, &[1.0; 8]));
        let (mut out, mut d_gate_up) = (poisoned(backend, 8), poisoned(backend, 16));
        backend.swiglu(&gate_up, 1, 8, &mut out).unwrap();
        backend.swiglu_backward(&gate_up, 1, 8, &d_out, &mut d_gate_up).unwrap();
        vec![read(backend, &out), read(backend, &d_gate_up)]
    });
    assert_eq!(results[0][..2], [0.0, 0.0]);
    assert_eq!(results[0][5..7], [200.0, 1e30]);
    assert!(results[1].iter().all(|value| value.is_finite()), "{:?}", results[1]);
}
