//! Ops on bf16 activations: the f32 op on the same numbers, rounded once where it is stored, bit for bit; and close to f64.

#![allow(clippy::unwrap_used)] // A test may panic.

mod device;

use device::{
    assert_same_bits, fastest, floats, halves, poisoned, poisoned_halves, read, read_halves, read_weight, rounded,
    same_everywhere, weight, weight_of, words,
};
use gradus_cpu::{Buffer, CpuBackend};
use gradus_ops::{AttentionShape, Backend, Precision, RmsNormShape, RopeShape};
use gradus_testing::{integers, relative_l2, uniform};

const EPS: f32 = 1e-6;
const HEADS: [(usize, AttentionShape); 3] = [
    (1, AttentionShape { heads: 1, kv_heads: 1, head_dim: 8 }),
    (66, AttentionShape { heads: 3, kv_heads: 1, head_dim: 24 }),
    (5, AttentionShape { heads: 4, kv_heads: 2, head_dim: 64 }),
];

/// An activation buffer of either dtype.
fn activations(backend: &CpuBackend, half: bool, values: &[f32]) -> Buffer {
    if half { halves(backend, values) } else { floats(backend, values) }
}

fn unwritten(backend: &CpuBackend, half: bool, len: usize) -> Buffer {
    activations(backend, half, &vec![f32::NAN; len])
}

fn read_activations(backend: &CpuBackend, half: bool, buffer: &Buffer) -> Vec<f32> {
    if half { read_halves(backend, buffer) } else { read(backend, buffer) }
}

fn norm_f64(x: &[f64], weight: &[f32]) -> Vec<f64> {
    let dim = weight.len();
    let row = |row: &[f64]| {
        let rstd = 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / dim as f64 + f64::from(EPS)).sqrt();
        row.iter().zip(weight).map(|(x, weight)| x * rstd * f64::from(*weight)).collect::<Vec<_>>()
    };
    x.chunks(dim).flat_map(row).collect()
}

/// [sum, rstd, out]
fn norm(
    backend: &CpuBackend,
    half: bool,
    residual: &Buffer,
    delta: Option<&[f32]>,
    gain: &[f32],
    rows: usize,
) -> Vec<Vec<f32>> {
    let (shape, len) = (RmsNormShape { rows, dim: gain.len(), eps: EPS }, rows * gain.len());
    let delta = delta.map(|delta| floats(backend, delta));
    let gain = weight(backend, gain.len(), 1, gain);
    let (mut sum, mut out) = (unwritten(backend, half, len), unwritten(backend, half, len));
    let mut rstd = poisoned(backend, rows);
    backend.rms_norm(shape, residual, delta.as_ref(), &gain, &mut sum, &mut rstd, &mut out).unwrap();
    let (sum, out) = (read_activations(backend, half, &sum), read_activations(backend, half, &out));
    vec![sum, read(backend, &rstd), out]
}

#[test]
fn rms_norm_rounds_the_sum_and_normalises_what_it_stored() {
    for (rows, dim) in [(1, 1), (2, 15), (70, 64), (3, 99), (2, 989)] {
        let (residual, delta, gain) = (uniform(1, rows * dim), uniform(2, rows * dim), uniform(3, dim));
        for (half_residual, with_delta) in [(false, false), (false, true), (true, false), (true, true)] {
            let delta = with_delta.then_some(&delta[..]);
            let found = same_everywhere(|backend| {
                norm(backend, true, &activations(backend, half_residual, &residual), delta, &gain, rows)
            });
            let stored = if half_residual { rounded(&residual) } else { residual.clone() };
            let sum: Vec<f32> =
                (0..rows * dim).map(|i| delta.map_or(stored[i], |delta| stored[i] + delta[i])).collect();
            assert_same_bits(&found[0], &rounded(&sum), "sum");
            let backend = fastest();
            let expected = norm(&backend, false, &floats(&backend, &found[0]), None, &gain, rows);
            assert_same_bits(&found[1], &expected[1], "rstd");
            assert_same_bits(&found[2], &rounded(&expected[2]), "out");
            let exact = |i: usize| f64::from(residual[i]) + delta.map_or(0.0, |delta| f64::from(delta[i]));
            let exact: Vec<f64> = (0..rows * dim).map(exact).collect();
            assert!(relative_l2(&found[2], &norm_f64(&exact, &gain)) < 1e-2, "{rows} x {dim}");
        }
    }
}

#[test]
fn rms_norm_backward_equals_that_of_f32() {
    for (rows, dim) in [(1, 7), (65, 99), (130, 32)] {
        let shape = RmsNormShape { rows, dim, eps: EPS };
        let (x, d_out, before) = (rounded(&uniform(1, rows * dim)), uniform(2, rows * dim), uniform(3, rows * dim));
        let (gain, rstd) = (uniform(4, dim), uniform(5, rows));
        let run = |half: bool| {
            same_everywhere(|backend| {
                let (x, rstd) = (activations(backend, half, &x), floats(backend, &rstd));
                let (d_out, mut d_sum) = (floats(backend, &d_out), floats(backend, &before));
                let (gain, mut d_gain) = (weight(backend, dim, 1, &gain), weight(backend, dim, 1, &gain));
                backend.rms_norm_backward(shape, &x, &rstd, &gain, &d_out, &mut d_sum, &mut d_gain).unwrap();
                vec![read(backend, &d_sum), read_weight(backend, &d_gain)]
            })
        };
        assert_eq!(run(true), run(false), "{rows} x {dim}");
    }
}

#[test]
fn qk_norm_and_its_backward() {
    for (tokens, shape) in HEADS {
        let (len, normed, head_dim) = (tokens * shape.qkv_dim(), shape.heads + shape.kv_heads, shape.head_dim);
        let (qkv, d_out) = (rounded(&uniform(1, len)), uniform(2, len));
        let gains = [uniform(3, head_dim), uniform(4, head_dim)];
        let run = |half: bool| {
            same_everywhere(|backend| {
                let [q, k] = [0, 1].map(|i| weight(backend, head_dim, 1, &gains[i]));
                let [mut d_q, mut d_k] = [0, 1].map(|i| weight(backend, head_dim, 1, &gains[i]));
                let (qkv, mut out) = (activations(backend, half, &qkv), unwritten(backend, half, len));
                let mut rstd = poisoned(backend, tokens * normed);
                backend.qk_norm(shape, tokens, EPS, &qkv, &q, &k, &mut rstd, &mut out).unwrap();
                let mut d_qkv = floats(backend, &d_out);
                backend.qk_norm_backward(shape, tokens, &qkv, &rstd, &q, &k, &mut d_qkv, &mut d_q, &mut d_k).unwrap();
                let gradients = [read_weight(backend, &d_q), read_weight(backend, &d_k), read(backend, &d_qkv)];
                let forward = [read_activations(backend, half, &out), read(backend, &rstd)];
                forward.into_iter().chain(gradients).collect()
            })
        };
        let mut expected = run(false);
        expected[0] = rounded(&expected[0]);
        assert_eq!(run(true), expected, "{shape:?}");
    }
}

#[test]
fn rope_turns_in_place() {
    for (rows, shape) in HEADS {
        let (qkv, table) = (rounded(&uniform(1, rows * shape.qkv_dim())), uniform(2, 50 * shape.head_dim));
        let positions = integers(3, rows, 50);
        let rope = RopeShape { attention: shape, rows, positions_max: 50 };
        let run = |half: bool| {
            same_everywhere(|backend| {
                let (table, positions) = (floats(backend, &table), words(backend, &positions));
                let mut qkv = activations(backend, half, &qkv);
                backend.rope(rope, &table, &positions, &mut qkv).unwrap();
                vec![read_activations(backend, half, &qkv)]
            })
        };
        assert_same_bits(&run(true)[0], &rounded(&run(false)[0]), "rope");
    }
}

#[test]
fn swiglu_and_its_backward() {
    for (tokens, ffn) in [(1, 1), (3, 64), (2, 99), (17, 989)] {
        let gate_up: Vec<f32> = uniform(1, tokens * 2 * ffn).iter().map(|x| x * 6.0).collect();
        let (stored, d_out) = (rounded(&gate_up), uniform(2, tokens * ffn));
        let run = |half: bool| {
            same_everywhere(|backend| {
                let (gate_up, mut out) = (activations(backend, half, &stored), unwritten(backend, half, tokens * ffn));
                let (d_out, mut d_gate_up) = (floats(backend, &d_out), poisoned(backend, tokens * 2 * ffn));
                backend.swiglu(&gate_up, tokens, ffn, &mut out).unwrap();
                backend.swiglu_backward(&gate_up, tokens, ffn, &d_out, &mut d_gate_up).unwrap();
                vec![read_activations(backend, half, &out), read(backend, &d_gate_up)]
            })
        };
        let (found, expected) = (run(true), run(false));
        assert_same_bits(&found[0], &rounded(&expected[0]), "swiglu");
        assert_same_bits(&found[1], &expected[1], "swiglu backward");
        let exact = |i: usize| {
            let row = &gate_up[i / ffn * 2 * ffn..][..2 * ffn];
            let (gate, up) = (f64::from(row[i % ffn]), f64::from(row[ffn + i % ffn]));
            gate / (1.0 + (-gate).exp()) * up
        };
        let exact: Vec<f64> = (0..tokens * ffn).map(exact).collect();
        assert!(relative_l2(&found[0], &exact) < 1e-2, "{tokens} x {ffn}");
    }
}

#[test]
fn embedding_reads_every_precision_and_gather_copies() {
    for (vocab, cols, tokens) in [(1, 1, 1), (17, 99, 40), (300, 64, 65), (20, 989, 9)] {
        let (values, ids) = (uniform(1, vocab * cols), integers(2, tokens, vocab as u32));
        for precision in [Precision::F32, Precision::Bf16, Precision::Q8] {
            let found = same_everywhere(|backend| {
                let (table, ids) = (weight_of(backend, precision, vocab, cols, &values), words(backend, &ids));
                let (mut out, mut short) = (poisoned(backend, tokens * cols), poisoned_halves(backend, tokens * cols));
                backend.embedding(&table, &ids, tokens, &mut out).unwrap();
                backend.embedding(&table, &ids, tokens, &mut short).unwrap();
                let (mut gathered, last) = (poisoned_halves(backend, cols), words(backend, &[0, tokens as u32 - 1]));
                backend.gather_rows(&short, &last, 1, 1, cols, &mut gathered).unwrap();
                let halves = [read_halves(backend, &short), read_halves(backend, &gathered)];
                [read_weight(backend, &table), read(backend, &out)].into_iter().chain(halves).collect()
            });
            let rows: Vec<f32> = ids.iter().flat_map(|id| found[0][*id as usize * cols..][..cols].to_vec()).collect();
            assert_same_bits(&found[1], &rows, "f32 rows");
            assert_same_bits(&found[2], &rounded(&rows), "bf16 rows");
            assert_same_bits(&found[3], &rounded(&rows)[(tokens - 1) * cols..], "gathered");
        }
    }
}

/// Every exponent and sign with mantissas around a tie, through an op that only rounds.
#[test]
fn every_level_rounds_to_the_nearest_even_and_flushes_denormals() {
    let mantissas = [0, 1, 0x7fff, 0x8000, 0x8001, 0x1_7fff, 0x1_8000, 0x1_8001, 0x7f_7fff, 0x7f_8000, 0x7f_ffff];
    let values: Vec<f32> = (0..512_u32)
        .flat_map(|sign_and_exponent| mantissas.map(|mantissa| f32::from_bits(sign_and_exponent << 23 | mantissa)))
        .collect();
    let found = same_everywhere(|backend| {
        let table = weight(backend, 1, values.len(), &values);
        let mut out = poisoned_halves(backend, values.len());
        backend.embedding(&table, &words(backend, &[0]), 1, &mut out).unwrap();
        vec![read_halves(backend, &out)]
    });
    let flushed: Vec<f32> = values.iter().map(|x| if x.is_subnormal() { 0.0 * x.signum() } else { *x }).collect();
    assert_same_bits(&found[0], &rounded(&flushed), "rounded");
}

#[test]
fn mixed_dtypes_are_refused() {
    let backend = fastest();
    let (shape, heads) = (RmsNormShape { rows: 1, dim: 8, eps: EPS }, HEADS[0].1);
    let (long, short) = (floats(&backend, &[1.0; 64]), halves(&backend, &[1.0; 64]));
    let [mut a, mut b, mut rstd] = [(); 3].map(|()| floats(&backend, &[1.0; 64]));
    let [mut c, mut d] = [(); 2].map(|()| halves(&backend, &[1.0; 64]));
    let [gain, mut d_q, mut d_k] = [(); 3].map(|()| weight(&backend, 8, 1, &[1.0; 8]));
    let (position, mut numbers) = (words(&backend, &[0]), words(&backend, &[0; 64]));
    let rope = RopeShape { attention: heads, rows: 1, positions_max: 1 };
    let mut d_embedding = backend.alloc_weight(1, 8, Precision::Bf16).unwrap();
    let refused = [
        backend.rms_norm(shape, &short, None, &gain, &mut a, &mut rstd, &mut b),
        backend.rms_norm(shape, &short, None, &gain, &mut c, &mut rstd, &mut b),
        backend.rms_norm(shape, &short, Some(&short), &gain, &mut c, &mut rstd, &mut d),
        backend.rms_norm(shape, &numbers, None, &gain, &mut a, &mut rstd, &mut b),
        backend.rms_norm_backward(shape, &short, &rstd, &gain, &short, &mut a, &mut d_q),
        backend.qk_norm(heads, 1, EPS, &short, &gain, &gain, &mut rstd, &mut a),
        backend.qk_norm_backward(heads, 1, &short, &rstd, &gain, &gain, &mut c, &mut d_q, &mut d_k),
        backend.rope(rope, &long, &position, &mut numbers),
        backend.rope_backward(rope, &long, &position, &mut c),
        backend.swiglu(&short, 1, 8, &mut a),
        backend.swiglu_backward(&short, 1, 8, &long, &mut c),
        backend.gather_rows(&short, &position, 0, 1, 8, &mut a),
        backend.scatter_add_rows(&short, &position, 0, 1, 8, &mut a),
        backend.embedding(&gain, &position, 1, &mut numbers),
        backend.embedding_backward(&mut d_embedding, &position, 1, &long),
    ];
    for (index, result) in refused.into_iter().enumerate() {
        let message = result.expect_err(&format!("call {index}")).to_string().to_lowercase();
        assert!(message.contains("expected f32") || message.contains("expected bf16"), "call {index}: {message}");
    }
}
