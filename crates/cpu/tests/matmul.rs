//! Matrix products against f64 references at odd sizes, and exactly equal between levels, thread counts and batch sizes.
// What tests share may fail them.
#![allow(clippy::unwrap_used)]

use gradus_cpu::{Buffer, CpuBackend, Level, Weight};
use gradus_ops::{Backend, Error, GRADIENT_BLOCK, Precision};
use gradus_tensor::DType;
use gradus_testing::{relative_l2, uniform};

const TOLERANCE: f64 = 1e-6;
/// (m, n, k): odd sizes, whole panels, several blocks of steps, more rows than one task takes.
const SHAPES: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (1, 7, 17),
    (1, 989, 99),
    (2, 48, 300),
    (3, 99, 257),
    (7, 17, 1),
    (6, 130, 64),
    (17, 16, 99),
    (99, 65, 989),
    (129, 99, 513),
    (450, 33, 70),
    (64, 256, 256),
];

fn backend(level: Level, threads: usize) -> CpuBackend {
    CpuBackend::with_level(level, Some(threads)).unwrap()
}

fn fastest() -> Level {
    Level::ALL.into_iter().rfind(|level| level.is_available()).unwrap()
}

fn buffer(backend: &CpuBackend, values: &[f32]) -> Buffer {
    let mut buffer = backend.alloc(DType::F32, values.len()).unwrap();
    backend.write(&mut buffer, 0, values).unwrap();
    buffer
}

/// A buffer filled with values that an op must overwrite.
fn poisoned(backend: &CpuBackend, len: usize) -> Buffer {
    buffer(backend, &vec![f32::NAN; len])
}

fn values(backend: &CpuBackend, buffer: &Buffer) -> Vec<f32> {
    let mut values = vec![0.0; backend.len(buffer)];
    backend.read(buffer, 0, &mut values).unwrap();
    values
}

fn weight(backend: &CpuBackend, rows: usize, cols: usize, values: &[f32]) -> Weight {
    let mut weight = backend.alloc_weight(rows, cols, Precision::F32).unwrap();
    backend.load_row_major(&mut weight, 0, values).unwrap();
    weight
}

fn row_major(backend: &CpuBackend, weight: &Weight) -> Vec<f32> {
    let (rows, cols) = backend.weight_shape(weight);
    let mut values = vec![0.0; rows * cols];
    backend.store_row_major(weight, 0, &mut values).unwrap();
    values
}

fn forward(
    backend: &CpuBackend,
    (m, n, k): (usize, usize, usize),
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let mut y = poisoned(backend, m * n);
    let bias = bias.map(|bias| weight(backend, n, 1, bias));
    backend.matmul(&buffer(backend, x), m, &weight(backend, n, k, w), bias.as_ref(), &mut y).unwrap();
    values(backend, &y)
}

fn backward_input(backend: &CpuBackend, (m, n, k): (usize, usize, usize), d_y: &[f32], w: &[f32]) -> Vec<f32> {
    let mut d_x = poisoned(backend, m * k);
    backend.matmul_backward_input(&buffer(backend, d_y), m, &weight(backend, n, k, w), &mut d_x).unwrap();
    values(backend, &d_x)
}

/// Gradients of weight and bias, added to `before` and to its first column.
fn backward_weight(
    backend: &CpuBackend,
    (m, n, k): (usize, usize, usize),
    d_y: &[f32],
    x: &[f32],
    before: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let mut d_weight = weight(backend, n, k, before);
    let mut d_bias = weight(backend, n, 1, &before[..n]);
    let (d_y, x) = (buffer(backend, d_y), buffer(backend, x));
    backend.matmul_backward_weight(&d_y, &x, m, &mut d_weight, Some(&mut d_bias)).unwrap();
    (row_major(backend, &d_weight), row_major(backend, &d_bias))
}

/// The inner products of row r of `a` and row c of `b`, both functions of (row, step), in f64.
fn reference(
    rows: usize,
    columns: usize,
    steps: usize,
    a: impl Fn(usize, usize) -> f32,
    b: impl Fn(usize, usize) -> f32,
) -> Vec<f64> {
    let cell =
        |row: usize, column: usize| (0..steps).map(|step| f64::from(a(row, step)) * f64::from(b(column, step))).sum();
    (0..rows * columns).map(|index| cell(index / columns, index % columns)).collect()
}

#[test]
fn agrees_with_f64_at_every_shape() {
    let backend = backend(fastest(), 2);
    for shape @ (m, n, k) in SHAPES {
        let (x, w, d_y) = (uniform(1, m * k), uniform(2, n * k), uniform(3, m * n));
        let (bias, before) = (uniform(4, n), uniform(5, n * k));
        let check = |what: &str, found: &[f32], expected: &[f64]| {
            let distance = relative_l2(found, expected);
            assert!(distance <= TOLERANCE, "{what} {shape:?}: {distance:e}");
        };

        let mut expected = reference(m, n, k, |m, step| x[m * k + step], |n, step| w[n * k + step]);
        check("forward", &forward(&backend, shape, &x, &w, None), &expected);
        expected.iter_mut().enumerate().for_each(|(index, value)| *value += f64::from(bias[index % n]));
        check("forward with bias", &forward(&backend, shape, &x, &w, Some(&bias)), &expected);

        let expected = reference(m, k, n, |m, step| d_y[m * n + step], |k_index, step| w[step * k + k_index]);
        check("backward_input", &backward_input(&backend, shape, &d_y, &w), &expected);

        let (d_weight, d_bias) = backward_weight(&backend, shape, &d_y, &x, &before);
        let mut expected =
            reference(n, k, m, |n_index, step| d_y[step * n + n_index], |k_index, step| x[step * k + k_index]);
        expected.iter_mut().zip(&before).for_each(|(value, before)| *value += f64::from(*before));
        check("backward_weight", &d_weight, &expected);
        let mut expected = reference(n, 1, m, |n_index, step| d_y[step * n + n_index], |_, _| 1.0);
        expected.iter_mut().zip(&before).for_each(|(value, before)| *value += f64::from(*before));
        check("bias gradient", &d_bias, &expected);
    }
}

#[test]
fn levels_and_thread_counts_give_equal_bits() {
    // So many rows that each task packs its own inputs: whole panels, transposed ones, an edge.
    let many = [(5500, 16, 49), (5500, 49, 16), (5500, 17, 49)];
    for shape @ (m, n, k) in SHAPES.into_iter().filter(|(m, n, k)| m * n * k < 6_000_000).chain(many) {
        let (x, w, d_y) = (uniform(1, m * k), uniform(2, n * k), uniform(3, m * n));
        let (bias, before) = (uniform(4, n), uniform(5, n * k));
        let all = |level: Level, threads: usize| {
            let backend = backend(level, threads);
            let (d_weight, d_bias) = backward_weight(&backend, shape, &d_y, &x, &before);
            let y = forward(&backend, shape, &x, &w, Some(&bias));
            [y, backward_input(&backend, shape, &d_y, &w), d_weight, d_bias].map(bits)
        };
        let expected = all(Level::Portable, 1);
        for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
            for threads in 1..=4 {
                assert!(all(level, threads) == expected, "{shape:?} on {threads} threads at level {}", level.name());
            }
        }
    }
}

#[test]
fn forward_is_one_chain_over_k_then_bias() {
    let shape @ (m, n, k) = (5, 33, 600);
    let (x, w, bias) = (uniform(1, m * k), uniform(2, n * k), uniform(3, n));
    let chain =
        |m: usize, n: usize| (0..k).fold(0.0_f32, |sum, step| x[m * k + step].mul_add(w[n * k + step], sum)) + bias[n];
    let expected: Vec<f32> = (0..m * n).map(|index| chain(index / n, index % n)).collect();
    for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
        assert_eq!(bits(forward(&backend(level, 2), shape, &x, &w, Some(&bias))), bits(expected.clone()));
    }
}

/// Many panels of few steps for a thread's own rows: more than a task makes at once.
#[test]
fn wide_products_of_few_rows_are_the_same_on_many_threads() {
    let (few, many) = (256, 4096);
    for level in Level::ALL.into_iter().filter(|level| level.is_available() && *level != Level::Portable) {
        let run = |threads: usize| {
            let backend = backend(level, threads);
            let (x, w) = (uniform(1, 64 * few), uniform(2, many * few));
            let y = forward(&backend, (64, many, few), &x, &w, None);
            let (d_y, w) = (uniform(3, 64 * few), uniform(4, few * many));
            [y, backward_input(&backend, (64, few, many), &d_y, &w)].map(bits)
        };
        assert!(run(4) == run(1), "level {}", level.name());
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let (n, k, rows_max) = (100, 700, 70);
    let (x, w, bias) = (uniform(1, rows_max * k), uniform(2, n * k), uniform(3, n));
    let backend = backend(fastest(), 2);
    let row = |m: usize| forward(&backend, (1, n, k), &x[m * k..(m + 1) * k], &w, Some(&bias));
    let single: Vec<u32> = bits((0..rows_max).flat_map(row).collect());
    for m in 1..=rows_max {
        let together = bits(forward(&backend, (m, n, k), &x[..m * k], &w, Some(&bias)));
        assert!(together == single[..m * n], "{m} rows at once differ from row by row");
    }
}

#[test]
fn weight_gradient_adds_partial_sums_of_blocks_in_order() {
    let shape @ (m, n, k) = (2 * GRADIENT_BLOCK + 13, 18, 9);
    let (d_y, x, before) = (uniform(1, m * n), uniform(2, m * k), uniform(3, n * k));
    let sum = |before: f32, term: &dyn Fn(usize, f32) -> f32| {
        let rows: Vec<usize> = (0..m).collect();
        rows.chunks(GRADIENT_BLOCK)
            .fold(before, |sum, block| sum + block.iter().fold(0.0, |partial, row| term(*row, partial)))
    };
    let weight_cell = |index: usize| {
        sum(before[index], &|row, partial| x[row * k + index % k].mul_add(d_y[row * n + index / k], partial))
    };
    let bias_cell = |column: usize| sum(before[column], &|row, partial| partial + d_y[row * n + column]);
    for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
        let (d_weight, d_bias) = backward_weight(&backend(level, 2), shape, &d_y, &x, &before);
        assert_eq!(bits(d_weight), bits((0..n * k).map(weight_cell).collect()));
        assert_eq!(bits(d_bias), bits((0..n).map(bias_cell).collect()));
    }
}

#[test]
fn inputs_too_long_for_one_pass_give_the_same_chains() {
    let (m, short, long) = (300, 20, 9000);
    let backend = backend(fastest(), 2);
    let chain = |steps: usize, a: &dyn Fn(usize) -> f32, b: &dyn Fn(usize) -> f32, from: f32| {
        (0..steps).fold(from, |sum, step| a(step).mul_add(b(step), sum)).to_bits()
    };
    let (x, w) = (uniform(1, m * long), uniform(2, short * long));
    let expected: Vec<u32> = (0..m * short)
        .map(|i| chain(long, &|step| x[i / short * long + step], &|step| w[i % short * long + step], 0.0))
        .collect();
    assert!(bits(forward(&backend, (m, short, long), &x, &w, None)) == expected);

    let (d_y, w) = (uniform(3, m * long), uniform(4, long * short));
    let expected: Vec<u32> = (0..m * short)
        .map(|i| chain(long, &|step| d_y[i / short * long + step], &|step| w[step * short + i % short], 0.0))
        .collect();
    assert!(bits(backward_input(&backend, (m, long, short), &d_y, &w)) == expected);

    let (d_y, before) = (uniform(5, m * short), uniform(6, short * long));
    let cell = |i: usize| {
        (0..m).step_by(GRADIENT_BLOCK).fold(before[i], |sum, first| {
            let rows = GRADIENT_BLOCK.min(m - first);
            let (x, d_y) = (|row| x[(first + row) * long + i % long], |row| d_y[(first + row) * short + i / long]);
            sum + f32::from_bits(chain(rows, &x, &d_y, 0.0))
        })
    };
    let (d_weight, _) = backward_weight(&backend, (m, short, long), &d_y, &x, &before);
    assert!(bits(d_weight) == bits((0..short * long).map(cell).collect()));
}

#[test]
fn wrong_sizes_are_refused_by_name() {
    let backend = backend(Level::Portable, 1);
    let w = weight(&backend, 4, 3, &uniform(1, 12));
    let (short, long) = (buffer(&backend, &[0.0; 5]), buffer(&backend, &[0.0; 8]));
    let mut y = poisoned(&backend, 8);
    let error = backend.matmul(&short, 2, &w, None, &mut y).unwrap_err();
    assert!(matches!(error, Error::Length { what: "x", found: 5, expected: 6, .. }), "{error}");
    let error = backend.matmul(&long, 2, &w, Some(&w), &mut y).unwrap_err();
    assert!(error.to_string().contains("bias is [4, 3], expected [4, 1]"), "{error}");
    let ids = backend.alloc(DType::U32, 8).unwrap();
    let error = backend.matmul_backward_input(&ids, 2, &w, &mut y).unwrap_err();
    assert!(matches!(error, Error::DType { what: "d_y", found: "U32", expected: "F32", .. }), "{error}");
    let error = backend.matmul(&long, usize::MAX, &w, None, &mut y).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

fn bits(values: Vec<f32>) -> Vec<u32> {
    values.into_iter().map(f32::to_bits).collect()
}
