//! The q8_0 product against the contract written out in plain arithmetic: equal bits at every level, thread count and batch.
// What tests share may fail them.
#![allow(clippy::unwrap_used)]

mod device;

use device::{assert_same_bits, doubles, floats, poisoned, read, read_weight};
use gradus_cpu::{CpuBackend, Level, Weight};
use gradus_ops::{Backend, Precision};
use gradus_testing::{relative_l2, uniform};

const BLOCK: usize = 32;
/// (m, n, k): odd sizes, whole and partial blocks and panels, each micro-kernel's number of rows, several row tiles and tasks.
const SHAPES: [(usize, usize, usize); 18] = [
    (1, 1, 2),
    (1, 7, 17),
    (1, 989, 99),
    (2, 48, 320),
    (3, 99, 257),
    (4, 33, 31),
    (5, 16, 32),
    (6, 130, 64),
    (7, 17, 33),
    (8, 100, 900),
    (5, 20, 4870),
    (0, 20, 64),
    (9, 31, 96),
    (11, 50, 70),
    (17, 16, 99),
    (99, 65, 989),
    (150, 40, 4864),
    (64, 256, 256),
];

fn backend(level: Level, threads: usize) -> CpuBackend {
    CpuBackend::with_level(level, Some(threads)).unwrap()
}

fn levels() -> impl DoubleEndedIterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.is_available())
}

fn fastest() -> Level {
    levels().next_back().unwrap()
}

fn quantised(backend: &CpuBackend, rows: usize, cols: usize, values: &[f32]) -> Weight {
    let mut weight = backend.alloc_weight(rows, cols, Precision::Q8).unwrap();
    backend.load_row_major(&mut weight, 0, values).unwrap();
    weight
}

fn forward(
    backend: &CpuBackend,
    (m, n, k): (usize, usize, usize),
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let mut y = poisoned(backend, m * n);
    let bias = bias.map(|bias| quantised(backend, n, 1, bias));
    backend.matmul(&floats(backend, x), m, &quantised(backend, n, k, w), bias.as_ref(), &mut y).unwrap();
    read(backend, &y)
}

/// One row as the contract rounds it: of each block of 32 the scale and the whole numbers. For finite values whose scales
/// are no denormals.
fn rounded(row: &[f32]) -> Vec<(f32, Vec<i64>)> {
    row.chunks(BLOCK)
        .map(|values| {
            let scale = values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs())) / 127.0;
            let whole = |value: &f32| if scale == 0.0 { 0 } else { (value / scale).round_ties_even() as i64 };
            (scale, values.iter().map(whole).collect())
        })
        .collect()
}

/// The contract: blocks in order of k, each a product of scales and one fused multiply-add; bias after the last.
fn contract((m, n, k): (usize, usize, usize), x: &[f32], w: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let rows = |values: &[f32]| values.chunks(k).map(rounded).collect::<Vec<_>>();
    let (x, w) = (rows(x), rows(w));
    let cell = |index: usize| {
        let mut sum = 0.0_f32;
        for ((x_scale, x), (w_scale, w)) in x[index / n].iter().zip(&w[index % n]) {
            let dot: i64 = x.iter().zip(w).map(|(x, w)| x * w).sum();
            sum = (w_scale * x_scale).mul_add(dot as f32, sum);
        }
        bias.map_or(sum, |bias| sum + bias[index % n])
    };
    (0..m * n).map(cell).collect()
}

#[test]
fn follows_the_contract_at_every_shape_level_and_thread_count() {
    for shape @ (m, n, k) in SHAPES {
        let (x, w, bias) = (uniform(1, m * k), uniform(2, n * k), uniform(3, n));
        for bias in [None, Some(&bias[..])] {
            let expected = contract(shape, &x, &w, bias);
            for level in levels() {
                for threads in 1..=4 {
                    let found = forward(&backend(level, threads), shape, &x, &w, bias);
                    assert_same_bits(&found, &expected, &format!("{shape:?}, {} on {threads} threads", level.name()));
                }
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let (n, k, rows_max) = (100, 700, 64);
    let (x, w, bias) = (uniform(1, rows_max * k), uniform(2, n * k), uniform(3, n));
    for level in levels() {
        let backend = backend(level, 2);
        let single = (0..rows_max).flat_map(|m| forward(&backend, (1, n, k), &x[m * k..][..k], &w, Some(&bias)));
        let single: Vec<f32> = single.collect();
        for m in 1..=rows_max {
            let together = forward(&backend, (m, n, k), &x[..m * k], &w, Some(&bias));
            assert_same_bits(&together, &single[..m * n], &format!("{m} rows at once, {}", level.name()));
        }
    }
}

/// Blocks of one sign at the largest magnitude, where 16-bit sums come nearest to their limit; alternating signs; a lone
/// value; zero rows; scales far apart.
#[test]
fn extreme_blocks_are_exact() {
    let (m, n, k) = (13, 35, 96);
    let pattern = |row: usize, col: usize| {
        let sign = if (row + col).is_multiple_of(2) { 1.0 } else { -1.0 };
        match row % 7 {
            0 => 1.0,
            1 => -1.0,
            2 => sign,
            3 if col == 40 => -3.0,
            3 | 4 => 0.0,
            5 => sign * 1e30 * (1.0 + col as f32),
            _ => sign * 1e-30 * (1.0 + (col % 5) as f32),
        }
    };
    let matrix = |rows: usize, scale: f32| -> Vec<f32> {
        (0..rows * k).map(|index| pattern(index / k, index % k) * scale).collect()
    };
    let (x, w) = (matrix(m, 1.0), matrix(n, 0.01));
    let expected = contract((m, n, k), &x, &w, None);
    assert!(expected.iter().any(|value| !value.is_finite() || value.abs() > 1e30));
    for level in levels() {
        let found = forward(&backend(level, 2), (m, n, k), &x, &w, None);
        // Products of scales below the normal numbers are flushed to zero by the engine, not by this test's thread.
        let expected: Vec<f32> = expected.iter().map(|value| if value.abs() < 1e-36 { 0.0 } else { *value }).collect();
        let found: Vec<f32> = found.iter().map(|value| if value.abs() < 1e-36 { 0.0 } else { *value }).collect();
        assert_same_bits(&found, &expected, level.name());
    }
}

#[test]
fn denormal_scales_are_zero_at_every_level() {
    let (n, k) = (17, 64);
    // 127 times the smallest normal number is the smallest magnitude with a scale.
    let least = 127.0 * f32::MIN_POSITIVE;
    let x: Vec<f32> = (0..3 * k).map(|index| [least * 0.99, -least, 1e-40][index / k]).collect();
    let w = vec![1.0; n * k];
    for level in levels() {
        let found = forward(&backend(level, 1), (3, n, k), &x, &w, None);
        assert!(found[..n].iter().chain(&found[2 * n..]).all(|value| value.to_bits() == 0), "{found:?}");
        // The scale is the smallest normal number, and its product with 1 / 127 is flushed.
        assert!(found[n..2 * n].iter().all(|value| *value == 0.0), "{found:?}");
        let found = forward(&backend(level, 1), (1, n, k), &x[k..2 * k], &vec![254.0; n * k], None);
        assert!(found.iter().all(|value| (value / (-254.0 * 64.0 * least) - 1.0).abs() < 1e-6), "{found:?}");
    }
}

#[test]
fn values_that_are_not_finite_stay_so() {
    let (m, n, k) = (9, 20, 70);
    for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (mut x, mut w) = (uniform(1, m * k), uniform(2, n * k));
        (x[4 * k + 69], w[7 * k + 3]) = (strange, strange);
        let results: Vec<Vec<f32>> =
            levels().map(|level| forward(&backend(level, 2), (m, n, k), &x, &w, None)).collect();
        for (index, value) in results[0].iter().enumerate() {
            assert_eq!(value.is_finite(), index / n != 4 && index % n != 7, "{strange} at {index}: {value}");
        }
        for (level, found) in levels().zip(&results) {
            assert_same_bits(found, &results[0], level.name());
        }
    }
}

#[test]
fn comes_within_a_hundredth_of_the_exact_product() {
    let (m, n, k) = (16, 200, 896);
    let (x, w) = (uniform(1, m * k), uniform(2, n * k));
    let exact: Vec<f64> = (0..m * n)
        .map(|index| {
            let (x, w) = (&x[index / n * k..][..k], &w[index % n * k..][..k]);
            x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum()
        })
        .collect();
    let distance = relative_l2(&forward(&backend(fastest(), 2), (m, n, k), &x, &w, None), &exact);
    assert!(distance < 1e-2 && distance > 1e-4, "{distance:e}");
}

#[test]
fn a_weight_gives_back_its_rounded_rows() {
    let (n, k) = (37, 99);
    let w = uniform(1, n * k);
    let backend = backend(fastest(), 2);
    let found = read_weight(&backend, &quantised(&backend, n, k, &w));
    let row = |row: &[f32]| {
        let blocks = rounded(row);
        blocks.into_iter().flat_map(|(scale, whole)| whole.into_iter().map(move |value| value as f32 * scale))
    };
    assert_same_bits(&found, &w.chunks(k).flat_map(row).collect::<Vec<f32>>(), "rows");
    assert!(relative_l2(&found, &doubles(&w)) < 1e-2);
}

#[test]
fn gradients_refuse_it_by_name() {
    let backend = backend(fastest(), 1);
    let mut weight = quantised(&backend, 4, 32, &uniform(1, 128));
    let (d_y, x) = (floats(&backend, &[1.0; 8]), floats(&backend, &[1.0; 64]));
    let mut d_x = poisoned(&backend, 64);
    let error = backend.matmul_backward_input(&d_y, 2, &weight, &mut d_x).unwrap_err().to_string();
    assert!(error.contains("q8_0"), "{error}");
    let error = backend.matmul_backward_weight(&d_y, &x, 2, &mut weight, None).unwrap_err().to_string();
    assert!(error.contains("q8_0"), "{error}");
}
