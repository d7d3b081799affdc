//! RMS norm and the norm of query and key heads, against f64: forward, and backward by finite differences.

#![allow(clippy::unwrap_used)] // A test may panic.

mod device;

use device::{differences, doubles, floats, poisoned, read, read_weight, same_everywhere, weight, weighted_sum};
use gradus_ops::{AttentionShape, Backend, Precision, RmsNormShape};
use gradus_testing::{relative_l2, uniform};

const EPS: f32 = 1e-6;

fn norm_f64(x: &[f64], weight: &[f64]) -> Vec<f64> {
    let dim = weight.len();
    x.chunks(dim)
        .flat_map(|row| {
            let rstd = 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / dim as f64 + f64::from(EPS)).sqrt();
            row.iter().zip(weight).map(move |(x, weight)| x * rstd * weight).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn rms_norm_adds_and_normalises() {
    for (rows, dim) in [(1, 1), (2, 15), (3, 16), (5, 99), (70, 64), (4, 896), (2, 989)] {
        let shape = RmsNormShape { rows, dim, eps: EPS };
        let (residual, delta) = (uniform(1, rows * dim), uniform(2, rows * dim));
        let gain = uniform(3, dim);
        for with_delta in [true, false] {
            let results = same_everywhere(|backend| {
                let delta = with_delta.then(|| floats(backend, &delta));
                let (mut sum, mut out) = (poisoned(backend, rows * dim), poisoned(backend, rows * dim));
                let mut rstd = poisoned(backend, rows);
                let residual = floats(backend, &residual);
                let gain = weight(backend, dim, 1, &gain);
                backend.rms_norm(shape, &residual, delta.as_ref(), &gain, &mut sum, &mut rstd, &mut out).unwrap();
                vec![read(backend, &sum), read(backend, &rstd), read(backend, &out)]
            });
            let added: Vec<f32> = residual.iter().zip(&delta).map(|(a, b)| a + b).collect();
            let sum = if with_delta { &added } else { &residual };
            assert_eq!(&results[0], sum);
            let distance = relative_l2(&results[2], &norm_f64(&doubles(sum), &doubles(&gain)));
            assert!(distance < 3e-7, "{rows} x {dim}: {distance}");
        }
    }
}

#[test]
fn rms_norm_backward_equals_differences() {
    for (rows, dim) in [(1, 7), (3, 16), (65, 9), (130, 20), (2, 99)] {
        let shape = RmsNormShape { rows, dim, eps: EPS };
        let (x, gain, d_out) = (uniform(1, rows * dim), uniform(2, dim), uniform(3, rows * dim));
        let (before_sum, before_weight) = (uniform(4, rows * dim), uniform(5, dim));
        let results = same_everywhere(|backend| {
            let (mut sum, mut out) = (poisoned(backend, rows * dim), poisoned(backend, rows * dim));
            let mut rstd = poisoned(backend, rows);
            let residual = floats(backend, &x);
            let gain = weight(backend, dim, 1, &gain);
            backend.rms_norm(shape, &residual, None, &gain, &mut sum, &mut rstd, &mut out).unwrap();
            let mut d_sum = floats(backend, &before_sum);
            let mut d_weight = weight(backend, dim, 1, &before_weight);
            let d_out = floats(backend, &d_out);
            backend.rms_norm_backward(shape, &sum, &rstd, &gain, &d_out, &mut d_sum, &mut d_weight).unwrap();
            vec![read(backend, &d_sum), read_weight(backend, &d_weight)]
        });
        let (x, gain) = (doubles(&x), doubles(&gain));
        let add = |before: &[f32], gradient: Vec<f64>| -> Vec<f64> {
            before.iter().zip(gradient).map(|(before, gradient)| f64::from(*before) + gradient).collect()
        };
        let d_x = differences(&x, |x| weighted_sum(&norm_f64(x, &gain), &d_out));
        let d_gain = differences(&gain, |gain| weighted_sum(&norm_f64(&x, gain), &d_out));
        assert!(relative_l2(&results[0], &add(&before_sum, d_x)) < 1e-6, "{rows} x {dim}: d_sum");
        assert!(relative_l2(&results[1], &add(&before_weight, d_gain)) < 1e-6, "{rows} x {dim}: d_weight");
    }
}

const HEAD_SHAPES: [(usize, AttentionShape); 3] = [
    (3, AttentionShape { heads: 4, kv_heads: 2, head_dim: 8 }),
    (66, AttentionShape { heads: 3, kv_heads: 1, head_dim: 8 }),
    (2, AttentionShape { heads: 2, kv_heads: 2, head_dim: 40 }),
];

/// qkv with normalised query and key heads.
fn qk_norm_f64(shape: AttentionShape, qkv: &[f64], q_weight: &[f64], k_weight: &[f64]) -> Vec<f64> {
    let mut out = qkv.to_vec();
    for row in out.chunks_mut(shape.qkv_dim()) {
        for (head, values) in row.chunks_mut(shape.head_dim).enumerate().take(shape.heads + shape.kv_heads) {
            let normed = norm_f64(values, if head < shape.heads { q_weight } else { k_weight });
            values.copy_from_slice(&normed);
        }
    }
    out
}

#[test]
fn qk_norm_and_its_backward() {
    for (tokens, shape) in HEAD_SHAPES {
        let (len, normed) = (tokens * shape.qkv_dim(), shape.heads + shape.kv_heads);
        let (qkv, d_out) = (uniform(1, len), uniform(2, len));
        let (q_gain, k_gain) = (uniform(3, shape.head_dim), uniform(4, shape.head_dim));
        let results = same_everywhere(|backend| {
            let qkv = floats(backend, &qkv);
            let (q, k) = (weight(backend, shape.head_dim, 1, &q_gain), weight(backend, shape.head_dim, 1, &k_gain));
            let (mut rstd, mut out) = (poisoned(backend, tokens * normed), poisoned(backend, len));
            backend.qk_norm(shape, tokens, EPS, &qkv, &q, &k, &mut rstd, &mut out).unwrap();
            let mut d_qkv = floats(backend, &d_out);
            let mut d_q = backend.alloc_weight(shape.head_dim, 1, Precision::F32).unwrap();
            let mut d_k = backend.alloc_weight(shape.head_dim, 1, Precision::F32).unwrap();
            backend.qk_norm_backward(shape, tokens, &qkv, &rstd, &q, &k, &mut d_qkv, &mut d_q, &mut d_k).unwrap();
            vec![read(backend, &out), read(backend, &d_qkv), read_weight(backend, &d_q), read_weight(backend, &d_k)]
        });
        let (qkv, q_gain, k_gain) = (doubles(&qkv), doubles(&q_gain), doubles(&k_gain));
        let loss = |qkv: &[f64], q: &[f64], k: &[f64]| weighted_sum(&qk_norm_f64(shape, qkv, q, k), &d_out);
        let expected = [
            qk_norm_f64(shape, &qkv, &q_gain, &k_gain),
            differences(&qkv, |qkv| loss(qkv, &q_gain, &k_gain)),
            differences(&q_gain, |q| loss(&qkv, q, &k_gain)),
            differences(&k_gain, |k| loss(&qkv, &q_gain, k)),
        ];
        for (index, (found, expected)) in results.iter().zip(&expected).enumerate() {
            let distance = relative_l2(found, expected);
            assert!(distance < 1e-6, "{tokens} tokens, {shape:?}, result {index}: {distance}");
        }
    }
}
