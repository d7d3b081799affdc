//! Ops that bandwidth bounds, over at least 256 MB of traffic: bytes are those that must be read and written once.

use crate::{Amount, Bench};
use gradus_ops::{AdamW, AttentionShape, Backend, Precision, RmsNormShape, RopeShape};
use gradus_tensor::DType;
use gradus_testing::integers;
use gradus_testing::on_backend::buffer;

pub fn run(bench: &Bench) {
    adamw(bench);
    norm(bench);
    rope(bench);
    swiglu(bench);
}

fn adamw(bench: &Bench) {
    let backend = &bench.backend;
    let (rows, cols) = (bench.size(16384, 9), bench.size(4096, 40));
    let gradient = bench.weight(rows, cols, Precision::F32);
    let mut weight = bench.weight(rows, cols, Precision::Bf16);
    let mut state = backend.alloc_optimizer(&weight).unwrap();
    let options = AdamW {
        learning_rate: 1e-6,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 3,
        gradient_scale: 0.5,
        seed: 1,
        stream: 2,
    };
    let elements = (rows * cols) as f64;
    let shape = format!("\"elements\":{}", rows * cols);
    // Weight, remainder and moments in and out, two bytes each, and the gradient in.
    bench.row("adamw", &shape, Amount::Bytes(20.0 * elements), || {
        backend.adamw(&mut weight, &mut state, &gradient, &options)
    });
    bench.row("sum_of_squares", &shape, Amount::Bytes(4.0 * elements), || {
        backend.sum_of_squares([&gradient].into_iter()).map(|_| ())
    });
}

fn norm(bench: &Bench) {
    let backend = &bench.backend;
    let (rows, dim) = (bench.size(32768, 9), bench.size(3584, 40));
    let shape = RmsNormShape { rows, dim, eps: 1e-6 };
    let len = rows * dim;
    let (residual, delta) = (bench.halves(len), bench.floats(len));
    let weight = bench.weight(dim, 1, Precision::Bf16);
    let [mut sum, mut out] = [(); 2].map(|()| backend.alloc(DType::BF16, len).unwrap());
    let mut rstd = backend.alloc(DType::F32, rows).unwrap();
    let words = format!("\"rows\":{rows},\"dim\":{dim}");
    // Residual, sum and output in bf16, the delta in f32.
    bench.row("rms_norm", &words, Amount::Bytes(10.0 * len as f64), || {
        backend.rms_norm(shape, &residual, Some(&delta), &weight, &mut sum, &mut rstd, &mut out)
    });
    let mut d_sum = backend.alloc(DType::F32, len).unwrap();
    let mut d_weight = backend.alloc_weight(dim, 1, Precision::F32).unwrap();
    bench.row("rms_norm_backward", &words, Amount::Bytes(14.0 * len as f64), || {
        backend.rms_norm_backward(shape, &sum, &rstd, &weight, &delta, &mut d_sum, &mut d_weight)
    });
}

fn rope(bench: &Bench) {
    let backend = &bench.backend;
    let attention = AttentionShape { heads: 28, kv_heads: 4, head_dim: bench.size(128, 16) };
    let rows = bench.size(32768, 9);
    let shape = RopeShape { attention, rows, positions_max: rows };
    let table = bench.floats(rows * attention.head_dim);
    let positions = buffer(backend, &integers(1, rows, rows as u32));
    let mut qkv = bench.halves(rows * attention.qkv_dim());
    let turned = rows * (attention.heads + attention.kv_heads) * attention.head_dim;
    let words = format!("\"rows\":{rows},\"heads\":28,\"kv_heads\":4,\"head_dim\":{}", attention.head_dim);
    bench.row("rope", &words, Amount::Bytes(4.0 * turned as f64), || backend.rope(shape, &table, &positions, &mut qkv));
}

fn swiglu(bench: &Bench) {
    let backend = &bench.backend;
    let (tokens, ffn) = (bench.size(8192, 9), bench.size(18944, 40));
    let gate_up = bench.halves(tokens * 2 * ffn);
    let mut out = backend.alloc(DType::BF16, tokens * ffn).unwrap();
    let words = format!("\"tokens\":{tokens},\"ffn\":{ffn}");
    let elements = (tokens * ffn) as f64;
    bench.row("swiglu", &words, Amount::Bytes(6.0 * elements), || backend.swiglu(&gate_up, tokens, ffn, &mut out));
    let d_out = bench.floats(tokens * ffn);
    let mut d_gate_up = backend.alloc(DType::F32, tokens * 2 * ffn).unwrap();
    // Gate, up and the gradient in, two gradients in f32 out.
    bench.row("swiglu_backward", &words, Amount::Bytes(16.0 * elements), || {
        backend.swiglu_backward(&gate_up, tokens, ffn, &d_out, &mut d_gate_up)
    });
}
