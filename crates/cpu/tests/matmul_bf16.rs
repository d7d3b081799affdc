//! bf16 products: their one chain of pairs written out in plain Rust, and exactly equal on every level, thread count and
//! batch size.
// What tests share may fail them.
#![allow(clippy::unwrap_used)]

use gradus_cpu::{Buffer, CpuBackend, Level, Weight};
use gradus_ops::{Backend, CONTRACT_VERSION, Error, GRADIENT_BLOCK, Precision};
use gradus_tensor::{DType, Element};
use gradus_testing::{relative_l2, uniform};
use half::bf16;

/// A product in f64 of x, w and d_y.
type Product<'a> = dyn Fn(&[f32], &[f32], &[f32]) -> Vec<f64> + 'a;

/// (m, n, k): odd sizes, whole panels, several blocks of steps, more rows than one task takes.
const SHAPES: [(usize, usize, usize); 12] = [
    (1, 1, 2),
    (1, 7, 17),
    (1, 989, 99),
    (2, 48, 300),
    (3, 99, 257),
    (7, 17, 3),
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

fn levels() -> impl DoubleEndedIterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.is_available())
}

fn fastest() -> Level {
    levels().next_back().unwrap()
}

fn buffer<T: Element>(backend: &CpuBackend, values: &[T]) -> Buffer {
    let mut buffer = backend.alloc(T::DTYPE, values.len()).unwrap();
    backend.write(&mut buffer, 0, values).unwrap();
    buffer
}

fn read<T: Element>(backend: &CpuBackend, buffer: &Buffer) -> Vec<T> {
    let mut values = vec![T::zeroed(); backend.len(buffer)];
    backend.read(buffer, 0, &mut values).unwrap();
    values
}

fn weight(backend: &CpuBackend, rows: usize, cols: usize, values: &[f32], precision: Precision) -> Weight {
    let mut weight = backend.alloc_weight(rows, cols, precision).unwrap();
    backend.load_row_major(&mut weight, 0, values).unwrap();
    weight
}

fn row_major(backend: &CpuBackend, weight: &Weight) -> Vec<f32> {
    let (rows, cols) = backend.weight_shape(weight);
    let mut values = vec![0.0; rows * cols];
    backend.store_row_major(weight, 0, &mut values).unwrap();
    values
}

fn narrow(values: &[f32]) -> Vec<bf16> {
    values.iter().map(|value| bf16::from_f32(*value)).collect()
}

/// Rounded to bf16, back in f32.
fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|value| bf16::from_f32(*value).to_f32()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// y = x · Wᵀ + bias, with x as it is and y in f32.
fn forward<T: Element>(
    backend: &CpuBackend,
    (m, n, k): (usize, usize, usize),
    x: &[T],
    w: &[f32],
    bias: Option<&[f32]>,
    dtype: DType,
) -> Buffer {
    let mut y = backend.alloc(dtype, m * n).unwrap();
    // Poison that an op must overwrite.
    match dtype {
        DType::BF16 => backend.write(&mut y, 0, &vec![bf16::NAN; m * n]).unwrap(),
        _ => backend.write(&mut y, 0, &vec![f32::NAN; m * n]).unwrap(),
    }
    let bias = bias.map(|bias| weight(backend, n, 1, bias, Precision::Bf16));
    let w = weight(backend, n, k, w, Precision::Bf16);
    backend.matmul(&buffer(backend, x), m, &w, bias.as_ref(), &mut y).unwrap();
    y
}

fn backward_input(backend: &CpuBackend, (m, n, k): (usize, usize, usize), d_y: &[f32], w: &[f32]) -> Vec<f32> {
    let mut d_x = buffer(backend, &vec![f32::NAN; m * k]);
    let w = weight(backend, n, k, w, Precision::Bf16);
    backend.matmul_backward_input(&buffer(backend, d_y), m, &w, &mut d_x).unwrap();
    read(backend, &d_x)
}

/// Gradients of weight and bias, added to `before` and to its first column.
fn backward_weight(
    backend: &CpuBackend,
    (m, n, k): (usize, usize, usize),
    d_y: &[f32],
    x: &[bf16],
    before: &[f32],
) -> [Vec<f32>; 2] {
    let mut d_weight = weight(backend, n, k, before, Precision::F32);
    let mut d_bias = weight(backend, n, 1, &before[..n], Precision::F32);
    let (d_y, x) = (buffer(backend, d_y), buffer(backend, x));
    backend.matmul_backward_weight(&d_y, &x, m, &mut d_weight, Some(&mut d_bias)).unwrap();
    [row_major(backend, &d_weight), row_major(backend, &d_bias)]
}

/// The contract's chain over pairs: the odd product first, then the even one.
fn chain(steps: usize, a: impl Fn(usize) -> f32, b: impl Fn(usize) -> f32) -> f32 {
    (0..steps).step_by(2).fold(0.0, |sum, even| {
        let sum: f32 = if even + 1 < steps { a(even + 1).mul_add(b(even + 1), sum) } else { sum };
        a(even).mul_add(b(even), sum)
    })
}

#[test]
fn every_product_is_one_chain_of_pairs() {
    for shape @ (m, n, k) in [(5, 33, 301), (2 * GRADIENT_BLOCK + 13, 18, 9), (15, 70, 64)] {
        let (x, w, d_y) = (uniform(1, m * k), uniform(2, n * k), uniform(3, m * n));
        let (bias, before) = (uniform(4, n), uniform(5, n * k));
        let (xr, wr, dr, br) = (rounded(&x), rounded(&w), rounded(&d_y), rounded(&bias));
        let y: Vec<f32> = (0..m * n)
            .map(|i| chain(k, |step| xr[i / n * k + step], |step| wr[i % n * k + step]) + br[i % n])
            .collect();
        let d_x: Vec<f32> =
            (0..m * k).map(|i| chain(n, |step| dr[i / k * n + step], |step| wr[step * k + i % k])).collect();
        let blocks = || (0..m).step_by(GRADIENT_BLOCK).map(|first| (first, GRADIENT_BLOCK.min(m - first)));
        let d_weight: Vec<f32> = (0..n * k)
            .map(|i| {
                blocks().fold(before[i], |sum, (first, rows)| {
                    sum + chain(rows, |row| xr[(first + row) * k + i % k], |row| dr[(first + row) * n + i / k])
                })
            })
            .collect();
        let d_bias: Vec<f32> = (0..n)
            .map(|i| {
                blocks().fold(before[i], |sum, (first, rows)| {
                    sum + (first..first + rows).fold(0.0, |sum, row| sum + d_y[row * n + i])
                })
            })
            .collect();
        for level in levels() {
            let backend = backend(level, 2);
            let name = level.name();
            for dtype in [DType::F32, DType::BF16] {
                let of_f32 = forward(&backend, shape, &x, &w, Some(&bias), dtype);
                let of_bf16 = forward(&backend, shape, &narrow(&x), &w, Some(&bias), dtype);
                for found in [of_f32, of_bf16] {
                    if dtype == DType::F32 {
                        assert_eq!(bits(&read::<f32>(&backend, &found)), bits(&y), "forward {shape:?} {name}");
                    } else {
                        assert_eq!(read::<bf16>(&backend, &found), narrow(&y), "rounded forward {shape:?} {name}");
                    }
                }
            }
            assert_eq!(bits(&backward_input(&backend, shape, &d_y, &w)), bits(&d_x), "input {shape:?} {name}");
            let found = backward_weight(&backend, shape, &d_y, &narrow(&x), &before);
            assert_eq!(bits(&found[0]), bits(&d_weight), "weight {shape:?} {name}");
            assert_eq!(bits(&found[1]), bits(&d_bias), "bias {shape:?} {name}");
        }
    }
}

#[test]
fn agrees_with_f64_at_every_shape() {
    let backend = backend(fastest(), 2);
    for shape @ (m, n, k) in SHAPES {
        let (x, w, d_y, before) = (uniform(1, m * k), uniform(2, n * k), uniform(3, m * n), uniform(5, n * k));
        let check = |what: &str, found: &[f32], exact: &Product<'_>| {
            let of_rounded = relative_l2(found, &exact(&rounded(&x), &rounded(&w), &rounded(&d_y)));
            let of_inputs = relative_l2(found, &exact(&x, &w, &d_y));
            assert!(of_rounded <= 1e-6 && of_inputs <= 1e-2, "{what} {shape:?}: {of_rounded:e}, {of_inputs:e}");
        };
        let dot = |steps: usize, a: &dyn Fn(usize) -> f32, b: &dyn Fn(usize) -> f32| -> f64 {
            (0..steps).map(|step| f64::from(a(step)) * f64::from(b(step))).sum()
        };
        let y = read(&backend, &forward(&backend, shape, &x, &w, None, DType::F32));
        check("forward", &y, &|x, w, _| {
            (0..m * n).map(|i| dot(k, &|step| x[i / n * k + step], &|step| w[i % n * k + step])).collect()
        });
        check("backward_input", &backward_input(&backend, shape, &d_y, &w), &|_, w, d_y| {
            (0..m * k).map(|i| dot(n, &|step| d_y[i / k * n + step], &|step| w[step * k + i % k])).collect()
        });
        let [d_weight, _] = backward_weight(&backend, shape, &d_y, &narrow(&x), &before);
        check("backward_weight", &d_weight, &|x, _, d_y| {
            let cell = |i: usize| dot(m, &|row| d_y[row * n + i / k], &|row| x[row * k + i % k]);
            (0..n * k).map(|i| f64::from(before[i]) + cell(i)).collect()
        });
    }
}

#[test]
fn levels_and_thread_counts_give_equal_bits() {
    // So many rows that each task packs its own inputs: whole panels, transposed ones, an edge.
    let many = [(5500, 16, 98), (5500, 98, 16), (5500, 17, 97)];
    for shape @ (m, n, k) in SHAPES.into_iter().filter(|(m, n, k)| m * n * k < 6_000_000).chain(many) {
        let (x, w, d_y) = (uniform(1, m * k), uniform(2, n * k), uniform(3, m * n));
        let (bias, before) = (uniform(4, n), uniform(5, n * k));
        let all = |level: Level, threads: usize| {
            let backend = backend(level, threads);
            let y = read::<f32>(&backend, &forward(&backend, shape, &x, &w, Some(&bias), DType::F32));
            let short = read::<bf16>(&backend, &forward(&backend, shape, &narrow(&x), &w, Some(&bias), DType::BF16));
            assert_eq!(short, narrow(&y));
            let [d_weight, d_bias] = backward_weight(&backend, shape, &d_y, &narrow(&x), &before);
            [y, backward_input(&backend, shape, &d_y, &w), d_weight, d_bias].map(|values| bits(&values))
        };
        let expected = all(Level::Portable, 1);
        for level in levels() {
            for threads in 1..=4 {
                assert!(all(level, threads) == expected, "{shape:?} on {threads} threads at level {}", level.name());
            }
        }
    }
}

/// Many panels of few steps for a thread's own rows: more than a task makes at once.
#[test]
fn wide_products_of_few_rows_are_the_same_on_many_threads() {
    let (few, many) = (256, 4096);
    for level in levels().filter(|level| *level != Level::Portable) {
        let run = |threads: usize| {
            let backend = backend(level, threads);
            let (x, w) = (narrow(&uniform(1, 64 * few)), uniform(2, many * few));
            let y = read::<f32>(&backend, &forward(&backend, (64, many, few), &x, &w, None, DType::F32));
            let (d_y, w) = (uniform(3, 64 * few), uniform(4, few * many));
            [y, backward_input(&backend, (64, few, many), &d_y, &w)].map(|values| bits(&values))
        };
        assert!(run(4) == run(1), "level {}", level.name());
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let (n, k, rows_max) = (100, 700, 70);
    let (x, w, bias) = (narrow(&uniform(1, rows_max * k)), uniform(2, n * k), uniform(3, n));
    let backend = backend(fastest(), 2);
    let rows = |x: &[bf16], m| read::<bf16>(&backend, &forward(&backend, (m, n, k), x, &w, Some(&bias), DType::BF16));
    let single: Vec<bf16> = x.chunks(k).flat_map(|row| rows(row, 1)).collect();
    for m in 1..=rows_max {
        assert!(rows(&x[..m * k], m) == single[..m * n], "{m} rows at once differ from row by row");
    }
}

#[test]
fn rows_beyond_one_pass_give_the_same_chains() {
    // More inputs than are packed at once.
    let shape @ (m, n, k) = (600, 17, 9001);
    let (x, w) = (narrow(&uniform(1, m * k)), uniform(2, n * k));
    let backend = backend(fastest(), 2);
    let found = read::<bf16>(&backend, &forward(&backend, shape, &x, &w, None, DType::BF16));
    let wide = read::<f32>(&backend, &forward(&backend, shape, &x, &w, None, DType::F32));
    assert!(found == narrow(&wide));
    let wr = rounded(&w);
    let expected: Vec<f32> =
        (0..m * n).map(|i| chain(k, |step| x[i / n * k + step].to_f32(), |step| wr[i % n * k + step])).collect();
    assert!(bits(&wide) == bits(&expected));
}

/// Values where an instruction might differ from two fused multiply-adds: zeros of both signs, denormals, values whose
/// products are denormal, infinities, the largest numbers.
#[test]
fn strange_values_give_equal_bits_on_every_level() {
    let strange: Vec<bf16> = [
        0x0000, 0x8000, 0x0001, 0x8001, 0x007f, 0x807f, 0x0080, 0x8080, 0x0081, 0x1f80, 0x2000, 0x9fff, 0x3f80, 0xbf80,
        0x3f81, 0x4000, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x5f80, 0xdf81, 0x1080, 0x2f7f,
    ]
    .map(bf16::from_bits)
    .into();
    let (count, k) = (strange.len(), 6);
    // Row r pairs strange values at all distances: products of every two of them, in both places of a pair.
    let x: Vec<bf16> = (0..count * k).map(|i| strange[(i / k + i % k * 5) % count]).collect();
    let w: Vec<f32> = (0..count * k).map(|i| strange[(i / k * 7 + i % k) % count].to_f32()).collect();
    let d_y: Vec<f32> = (0..count * count).map(|i| strange[(i * 11 + i / count) % count].to_f32()).collect();
    let run = |level: Level| {
        let backend = backend(level, 1);
        let shape = (count, count, k);
        let y = read::<f32>(&backend, &forward(&backend, shape, &x, &w, None, DType::F32));
        let [d_weight, _] = backward_weight(&backend, shape, &d_y, &x, &vec![0.0; count * k]);
        [y, backward_input(&backend, shape, &d_y, &w), d_weight].map(|values| {
            // Which NaN it is differs between instructions and decides nothing.
            values.iter().map(|value| if value.is_nan() { u32::MAX } else { value.to_bits() }).collect::<Vec<_>>()
        })
    };
    let expected = run(Level::Portable);
    assert!(expected[0].iter().any(|bits| *bits != u32::MAX && *bits & 0x7fff_ffff != 0));
    for level in levels() {
        assert_eq!(run(level), expected, "level {}", level.name());
    }
}

/// Whoever changes these bits changes the numerics contract and raises its version.
#[test]
fn bits_are_those_of_the_contract() {
    let shape @ (m, n, k) = (130, 37, 301);
    let (x, w, d_y) = (narrow(&uniform(1, m * k)), uniform(2, n * k), uniform(3, m * n));
    let backend = backend(fastest(), 2);
    let y = read::<bf16>(&backend, &forward(&backend, shape, &x, &w, Some(&uniform(4, n)), DType::BF16));
    let [d_weight, d_bias] = backward_weight(&backend, shape, &d_y, &x, &uniform(5, n * k));
    let y: Vec<f32> = y.into_iter().map(bf16::to_f32).collect();
    let found = [y, backward_input(&backend, shape, &d_y, &w), d_weight, d_bias].map(|values| fingerprint(&values));
    let expected = [0x7109_ef8e_eeec_b597, 0xc020_c3df_f642_a651, 0x580b_fb85_23d8_58a7, 0x4db5_628e_cc32_4d3e];
    assert_eq!(found, expected, "bits changed under contract version {CONTRACT_VERSION}: {found:#018x?}");
}

/// FNV-1a over the bits.
fn fingerprint(values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn what_is_no_bf16_product_is_refused() {
    let backend = backend(Level::Portable, 1);
    let w = weight(&backend, 4, 3, &uniform(1, 12), Precision::F32);
    let x = buffer(&backend, &[bf16::ONE; 6]);
    let mut y = buffer(&backend, &[0.0_f32; 8]);
    let error = backend.matmul(&x, 2, &w, None, &mut y).unwrap_err();
    assert!(matches!(error, Error::DType { what: "x", found: "BF16", expected: "F32", .. }), "{error}");
    let vector = weight(&backend, 4, 1, &uniform(1, 4), Precision::Bf16);
    let error = backend.matmul(&x, 2, &vector, None, &mut y).unwrap_err();
    assert!(error.to_string().contains("a bf16 weight of one column is a vector"), "{error}");
    let mut d_weight = weight(&backend, 4, 3, &uniform(1, 12), Precision::Bf16);
    let error = backend.matmul_backward_weight(&y, &x, 2, &mut d_weight, None).unwrap_err();
    assert!(error.to_string().contains("d_weight is in bf16, expected f32"), "{error}");
}
