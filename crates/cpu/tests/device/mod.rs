//! What the op tests share: every instruction level and thread count with equal bits, and short ways in and out of memory.
#![allow(dead_code)] // Each test file uses its own part.

use gradus_cpu::{Buffer, CpuBackend, Level, Weight};
use gradus_ops::{Backend, Precision};
use gradus_tensor::DType;
use half::bf16;

/// The results of `run` on the portable level, which every other level and thread count must equal bit for bit.
pub fn same_everywhere(run: impl Fn(&CpuBackend) -> Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let reference = run(&CpuBackend::with_level(Level::Portable, Some(1)).unwrap());
    let levels = Level::ALL.map(|level| (level, 1));
    let threads = [2, 3, 4].map(|threads| (Level::Avx512Bf16, threads));
    for (level, threads) in levels.into_iter().chain(threads).chain([(Level::Avx2, 2), (Level::Portable, 3)]) {
        if !level.is_available() {
            continue;
        }
        let found = run(&CpuBackend::with_level(level, Some(threads)).unwrap());
        for (index, (found, reference)) in found.iter().zip(&reference).enumerate() {
            assert_same_bits(found, reference, &format!("result {index}, {} on {threads} threads", level.name()));
        }
    }
    reference
}

pub fn fastest() -> CpuBackend {
    CpuBackend::new(Some(2)).unwrap()
}

pub fn assert_same_bits(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let differs = found.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits());
    if let Some(index) = differs {
        panic!("{what}: element {index} is {:e}, expected {:e}", found[index], expected[index]);
    }
}

pub fn floats(backend: &CpuBackend, values: &[f32]) -> Buffer {
    let mut buffer = backend.alloc(DType::F32, values.len()).unwrap();
    backend.write(&mut buffer, 0, values).unwrap();
    buffer
}

pub fn words(backend: &CpuBackend, values: &[u32]) -> Buffer {
    let mut buffer = backend.alloc(DType::U32, values.len()).unwrap();
    backend.write(&mut buffer, 0, values).unwrap();
    buffer
}

/// An output that must be overwritten: all NaN.
pub fn poisoned(backend: &CpuBackend, len: usize) -> Buffer {
    floats(backend, &vec![f32::NAN; len])
}

/// The values in BF16.
pub fn halves(backend: &CpuBackend, values: &[f32]) -> Buffer {
    let values: Vec<bf16> = values.iter().map(|value| bf16::from_f32(*value)).collect();
    let mut buffer = backend.alloc(DType::BF16, values.len()).unwrap();
    backend.write(&mut buffer, 0, &values).unwrap();
    buffer
}

/// As [`poisoned`], in BF16.
pub fn poisoned_halves(backend: &CpuBackend, len: usize) -> Buffer {
    halves(backend, &vec![f32::NAN; len])
}

pub fn read_halves(backend: &CpuBackend, buffer: &Buffer) -> Vec<f32> {
    let mut values = vec![bf16::ZERO; backend.len(buffer)];
    backend.read(buffer, 0, &mut values).unwrap();
    values.into_iter().map(bf16::to_f32).collect()
}

/// Each value rounded to bf16.
pub fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|value| bf16::from_f32(*value).to_f32()).collect()
}

pub fn weight(backend: &CpuBackend, rows: usize, cols: usize, values: &[f32]) -> Weight {
    weight_of(backend, Precision::F32, rows, cols, values)
}

pub fn weight_of(backend: &CpuBackend, precision: Precision, rows: usize, cols: usize, values: &[f32]) -> Weight {
    let mut weight = backend.alloc_weight(rows, cols, precision).unwrap();
    backend.load_row_major(&mut weight, 0, values).unwrap();
    weight
}

pub fn read(backend: &CpuBackend, buffer: &Buffer) -> Vec<f32> {
    let mut values = vec![0.0; backend.len(buffer)];
    backend.read(buffer, 0, &mut values).unwrap();
    values
}

pub fn read_words(backend: &CpuBackend, buffer: &Buffer) -> Vec<u32> {
    let mut values = vec![0; backend.len(buffer)];
    backend.read(buffer, 0, &mut values).unwrap();
    values
}

pub fn read_weight(backend: &CpuBackend, weight: &Weight) -> Vec<f32> {
    let (rows, cols) = backend.weight_shape(weight);
    let mut values = vec![0.0; rows * cols];
    backend.store_row_major(weight, 0, &mut values).unwrap();
    values
}

pub fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

/// The gradient of `loss` at `x` by central differences in f64 (error about 1e-9).
pub fn differences(x: &[f64], loss: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let step = 1e-5;
    let mut x = x.to_vec();
    (0..x.len())
        .map(|index| {
            let here = x[index];
            x[index] = here + step;
            let above = loss(&x);
            x[index] = here - step;
            let below = loss(&x);
            x[index] = here;
            (above - below) / (2.0 * step)
        })
        .collect()
}

/// Σ a·b, the loss whose gradient by `a` is `b`.
pub fn weighted_sum(a: &[f64], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum()
}
