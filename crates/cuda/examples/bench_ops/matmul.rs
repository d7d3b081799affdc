//! Products in the three layouts: squares, the layers of Qwen2.5-7B at 8192 tokens, its head at 4096, and those of a decode step.

use crate::{Amount, Bench};
use gradus_ops::{Backend, Precision};
use gradus_tensor::DType;

pub fn run(bench: &Bench) {
    let squares = [4096, 8192].map(|side| (side, side, side));
    let layers = [(8192, 4608, 3584), (8192, 3584, 3584), (8192, 37888, 3584), (8192, 3584, 18944)];
    // What the loss of the head (loss.rs) is made of.
    let head = (4096, 152_064, 3584);
    let shapes: Vec<_> = squares.into_iter().chain(layers).chain([head]).collect();
    let shapes = if bench.small { vec![(33, 40, 72), (9, 260, 40)] } else { shapes };
    for (m, n, k) in shapes {
        layouts(bench, m, n, k);
    }
    for m in [1, 64, 256] {
        let (n, k) = (bench.size(37888, 72), bench.size(3584, 40));
        let x = bench.halves(m * k);
        let weight = bench.weight(n, k, Precision::Bf16);
        let mut y = bench.backend.alloc(DType::BF16, m * n).unwrap();
        let shape = format!("\"m\":{m},\"n\":{n},\"k\":{k}");
        let bytes = 2.0 * (n * k + m * k + m * n) as f64;
        bench.row("matmul_decode", &shape, Amount::Bytes(bytes), || bench.backend.matmul(&x, m, &weight, None, &mut y));
    }
}

fn layouts(bench: &Bench, m: usize, n: usize, k: usize) {
    let backend = &bench.backend;
    let shape = format!("\"m\":{m},\"n\":{n},\"k\":{k}");
    let flops = || Amount::Flops(2.0 * m as f64 * n as f64 * k as f64);
    let x = bench.halves(m * k);
    let weight = bench.weight(n, k, Precision::Bf16);
    let mut y = backend.alloc(DType::BF16, m * n).unwrap();
    bench.row("matmul_forward", &shape, flops(), || backend.matmul(&x, m, &weight, None, &mut y));
    // d_y is f32: the time includes its rounding to bf16.
    let d_y = bench.floats(m * n);
    let mut d_x = backend.alloc(DType::F32, m * k).unwrap();
    bench.row("matmul_backward_input", &shape, flops(), || backend.matmul_backward_input(&d_y, m, &weight, &mut d_x));
    let mut d_weight = backend.alloc_weight(n, k, Precision::F32).unwrap();
    bench.row("matmul_backward_weight", &shape, flops(), || {
        backend.matmul_backward_weight(&d_y, &x, m, &mut d_weight, None)
    });
}
