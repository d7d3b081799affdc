//! One test body for every backend with bf16 weights: the three products of a linear layer against f64, at odd sizes and tails.

use crate::on_backend::{buffer, expect, halves, poisoned, read, read_floats, rounded, row_major, weight};
use crate::{relative_l2, uniform};
use gradus_ops::{Backend, Precision};
use gradus_tensor::DType;

/// f32 sums in any order: far above their error, far below that of a wrong element.
const SUM_TOLERANCE: f64 = 1e-5;
/// One rounding to bf16.
const ROUNDED_TOLERANCE: f64 = 4e-3;

/// What the products of one shape gave: y in F32 and BF16, d_x, d_weight and d_bias.
pub struct MatmulResults {
    pub y: Vec<f32>,
    pub y_rounded: Vec<f32>,
    pub d_x: Vec<f32>,
    pub d_weight: Vec<f32>,
    pub d_bias: Vec<f32>,
}

/// Runs the products of shape (m, n, k), and fails where one is far from f64's.
pub fn check_bf16_matmul<B: Backend>(backend: &B, (m, n, k): (usize, usize, usize)) -> MatmulResults {
    let (x, w, d_y) = (uniform(1, m * k), uniform(2, n * k), uniform(3, m * n));
    let (bias, before) = (uniform(4, n), uniform(5, n * k));
    let results = run(backend, (m, n, k), [&x, &w, &d_y, &bias, &before]);
    let (xr, wr, dr, br) = (rounded(&x), rounded(&w), rounded(&d_y), rounded(&bias));
    let check = |what: &str, found: &[f32], expected: &[f64], tolerance: f64| {
        let distance = relative_l2(found, expected);
        assert!(distance <= tolerance, "{what} at (m {m}, n {n}, k {k}) on {}: {distance:e}", backend.kind());
    };
    let dot = |steps: usize, a: &dyn Fn(usize) -> f32, b: &dyn Fn(usize) -> f32| -> f64 {
        (0..steps).map(|step| f64::from(a(step)) * f64::from(b(step))).sum()
    };
    let y: Vec<f64> = (0..m * n)
        .map(|i| dot(k, &|step| xr[i / n * k + step], &|step| wr[i % n * k + step]) + f64::from(br[i % n]))
        .collect();
    check("y", &results.y, &y, SUM_TOLERANCE);
    check("y in bf16", &results.y_rounded, &y, ROUNDED_TOLERANCE);
    let d_x: Vec<f64> =
        (0..m * k).map(|i| dot(n, &|step| dr[i / k * n + step], &|step| wr[step * k + i % k])).collect();
    check("d_x", &results.d_x, &d_x, SUM_TOLERANCE);
    let d_weight: Vec<f64> = (0..n * k)
        .map(|i| f64::from(before[i]) + dot(m, &|row| dr[row * n + i / k], &|row| xr[row * k + i % k]))
        .collect();
    check("d_weight", &results.d_weight, &d_weight, SUM_TOLERANCE);
    let d_bias: Vec<f64> = (0..n).map(|i| f64::from(before[i]) + dot(m, &|row| d_y[row * n + i], &|_| 1.0)).collect();
    check("d_bias", &results.d_bias, &d_bias, SUM_TOLERANCE);
    results
}

fn run<B: Backend>(
    backend: &B,
    (m, n, k): (usize, usize, usize),
    [x, w, d_y, bias, before]: [&[f32]; 5],
) -> MatmulResults {
    let matrix = weight(backend, Precision::Bf16, (n, k), w);
    let bias = weight(backend, Precision::Bf16, (n, 1), bias);
    let x = halves(backend, x);
    let d_y = buffer(backend, d_y);
    let [y, y_rounded] = [DType::F32, DType::BF16].map(|dtype| {
        let mut y = poisoned(backend, dtype, m * n);
        expect(backend.matmul(&x, m, &matrix, Some(&bias), &mut y));
        read_floats(backend, dtype, &y)
    });
    let mut d_x = poisoned(backend, DType::F32, m * k);
    expect(backend.matmul_backward_input(&d_y, m, &matrix, &mut d_x));
    let mut d_weight = weight(backend, Precision::F32, (n, k), before);
    let mut d_bias = weight(backend, Precision::F32, (n, 1), &before[..n]);
    expect(backend.matmul_backward_weight(&d_y, &x, m, &mut d_weight, Some(&mut d_bias)));
    MatmulResults {
        y,
        y_rounded,
        d_x: read(backend, &d_x),
        d_weight: row_major(backend, &d_weight),
        d_bias: row_major(backend, &d_bias),
    }
}
