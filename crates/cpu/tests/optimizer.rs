//! The optimizer against f64 references, exactly equal between levels and thread counts.
// A helper of tests may fail them.
#![allow(clippy::unwrap_used)]

use gradus_cpu::{CpuBackend, Level, Weight};
use gradus_ops::{AdamW, Backend, Precision};
use gradus_testing::{relative_l2, uniform};
use half::bf16;

/// (rows, cols): vectors, padded panels, several blocks of the sum of squares.
const SHAPES: [(usize, usize); 5] = [(1, 1), (17, 1), (7, 99), (989, 17), (160, 1024)];
const OPTIONS: AdamW =
    AdamW { learning_rate: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step: 1, gradient_scale: 0.5 };

fn weight(backend: &CpuBackend, (rows, cols): (usize, usize), values: &[f32]) -> Weight {
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

fn fastest() -> Level {
    Level::ALL.into_iter().rfind(|level| level.is_available()).unwrap()
}

/// Parameters and moments after a few updates, each with a gradient of its own; the last one is all zeros.
fn updated(backend: &CpuBackend, shape: (usize, usize), steps: u64) -> [Vec<f32>; 3] {
    let len = shape.0 * shape.1;
    let mut state = [
        weight(backend, shape, &uniform(1, len)),
        weight(backend, shape, &vec![0.0; len]),
        weight(backend, shape, &vec![0.0; len]),
    ];
    for step in 1..=steps {
        let gradient = weight(backend, shape, &gradient(step, steps, len));
        let [p, m, v] = &mut state;
        backend.adamw(p, None, &gradient, m, v, &AdamW { step, ..OPTIONS }).unwrap();
    }
    state.map(|weight| row_major(backend, &weight))
}

fn gradient(step: u64, steps: u64, len: usize) -> Vec<f32> {
    if step == steps { vec![0.0; len] } else { uniform(100 + step, len) }
}

#[test]
fn adamw_agrees_with_f64() {
    let backend = CpuBackend::with_level(fastest(), Some(2)).unwrap();
    let AdamW { learning_rate, beta1, beta2, eps, weight_decay, gradient_scale, .. } = OPTIONS;
    let [lr, eps, decay] = [learning_rate, eps, weight_decay].map(f64::from);
    for shape in SHAPES {
        let (len, steps) = (shape.0 * shape.1, 4);
        let mut expected: Vec<[f64; 3]> = uniform(1, len).into_iter().map(|p| [f64::from(p), 0.0, 0.0]).collect();
        for step in 1..=steps {
            for ([p, m, v], gradient) in expected.iter_mut().zip(gradient(step, steps, len)) {
                let gradient = f64::from(gradient) * f64::from(gradient_scale);
                *m = beta1 * *m + (1.0 - beta1) * gradient;
                *v = beta2 * *v + (1.0 - beta2) * gradient * gradient;
                let m_hat = *m / (1.0 - beta1.powf(step as f64));
                let v_hat = *v / (1.0 - beta2.powf(step as f64));
                *p = *p - lr * decay * *p - lr * m_hat / (v_hat.sqrt() + eps);
            }
        }
        for (index, found) in updated(&backend, shape, steps).iter().enumerate() {
            let expected: Vec<f64> = expected.iter().map(|state| state[index]).collect();
            let distance = relative_l2(found, &expected);
            assert!(distance <= 3e-7, "state {index} of {shape:?}: {distance:e}");
        }
    }
}

#[test]
fn adamw_gives_equal_bits_on_every_level_and_thread_count() {
    for shape in SHAPES {
        let bits = |level, threads| {
            let backend = CpuBackend::with_level(level, Some(threads)).unwrap();
            updated(&backend, shape, 3).map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        let expected = bits(Level::Portable, 1);
        for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
            assert!((1..=4).all(|threads| bits(level, threads) == expected), "{shape:?} at level {}", level.name());
        }
    }
}

#[test]
fn a_bf16_weight_becomes_its_master_rounded() {
    // Several blocks of columns, odd ones, vectors.
    for shape @ (rows, cols) in SHAPES.into_iter().chain([(33, 301), (16, 2)]) {
        let len = rows * cols;
        let expected = updated(&CpuBackend::with_level(Level::Portable, Some(1)).unwrap(), shape, 3);
        for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
            let backend = CpuBackend::with_level(level, Some(2)).unwrap();
            let mut half = backend.alloc_weight(rows, cols, Precision::Bf16).unwrap();
            let [mut master, mut m, mut v] =
                [uniform(1, len), vec![0.0; len], vec![0.0; len]].map(|values| weight(&backend, shape, &values));
            for step in 1..=3 {
                let gradient = weight(&backend, shape, &gradient(step, 3, len));
                let options = AdamW { step, ..OPTIONS };
                backend.adamw(&mut half, Some(&mut master), &gradient, &mut m, &mut v, &options).unwrap();
            }
            assert!(
                [&master, &m, &v].map(|state| row_major(&backend, state)) == expected,
                "{shape:?} {}",
                level.name()
            );
            let rounded: Vec<f32> = expected[0].iter().map(|value| bf16::from_f32(*value).to_f32()).collect();
            assert!(row_major(&backend, &half) == rounded, "{shape:?} {}", level.name());
        }
    }
}

#[test]
fn masters_belong_to_bf16_weights_alone() {
    let backend = CpuBackend::with_level(Level::Portable, Some(1)).unwrap();
    let new = |precision| backend.alloc_weight(3, 2, precision).unwrap();
    let [mut m, mut v, mut master, mut single] = [(); 4].map(|()| new(Precision::F32));
    let (mut half, mut quantised, g) = (new(Precision::Bf16), new(Precision::Q8), new(Precision::F32));
    let mut message = |weight: &mut Weight, master: Option<&mut Weight>| {
        backend.adamw(weight, master, &g, &mut m, &mut v, &OPTIONS).unwrap_err().to_string()
    };
    assert!(message(&mut single, Some(&mut master)).contains("an f32 weight has no master"));
    assert!(message(&mut half, None).contains("a bf16 weight needs its f32 master"));
    assert!(message(&mut quantised, None).contains("a q8_0 weight cannot be trained"));
    let mut other = new(Precision::Bf16);
    assert!(message(&mut other, Some(&mut half)).contains("master is in bf16, expected f32"));
}

#[test]
fn one_minus_beta_is_rounded_once() {
    let backend = CpuBackend::with_level(fastest(), Some(1)).unwrap();
    let [mut p, mut m, mut v] = [1.0, 0.0, 0.0].map(|value| weight(&backend, (1, 1), &[value]));
    let options = AdamW { beta1: 0.99, beta2: 0.999, gradient_scale: 1.0, ..OPTIONS };
    backend.adamw(&mut p, None, &weight(&backend, (1, 1), &[1.0]), &mut m, &mut v, &options).unwrap();
    let moments = [row_major(&backend, &m), row_major(&backend, &v)];
    assert_eq!(moments, [[(1.0 - 0.99_f64) as f32], [(1.0 - 0.999_f64) as f32]]);
}

#[test]
fn adamw_refuses_what_would_poison_the_weights() {
    let backend = CpuBackend::with_level(Level::Portable, Some(1)).unwrap();
    let new = |shape| weight(&backend, shape, &[]);
    let (mut p, g, mut m, mut v) = (new((3, 2)), new((3, 2)), new((3, 2)), new((3, 2)));
    let mut message =
        |g: &Weight, options| backend.adamw(&mut p, None, g, &mut m, &mut v, &options).unwrap_err().to_string();
    assert!(message(&new((2, 3)), OPTIONS).contains("gradient is [2, 3], expected [3, 2]"));
    assert!(message(&g, AdamW { step: 0, ..OPTIONS }).contains("counted from 1"));
    assert!(message(&g, AdamW { eps: 0.0, ..OPTIONS }).contains("eps is 0"));
    assert!(message(&g, AdamW { beta2: 1.0, ..OPTIONS }).contains("betas are 0.9 and 1"));
}

#[test]
fn sum_of_squares_is_f64_and_the_same_on_any_threads() {
    let values: Vec<Vec<f32>> = (0_u64..).zip(SHAPES).map(|(seed, (rows, cols))| uniform(seed, rows * cols)).collect();
    let expected: f64 = values.iter().flatten().map(|value| f64::from(*value).powi(2)).sum();
    let sum = |level, threads| {
        let backend = CpuBackend::with_level(level, Some(threads)).unwrap();
        let weights: Vec<Weight> =
            SHAPES.into_iter().zip(&values).map(|(shape, values)| weight(&backend, shape, values)).collect();
        backend.sum_of_squares(weights.iter()).unwrap()
    };
    let found = sum(Level::Portable, 1);
    assert!((found / expected - 1.0).abs() < 1e-12, "{found} and {expected}");
    for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
        assert!((1..=4).all(|threads| sum(level, threads).to_bits() == found.to_bits()));
    }
}

#[test]
fn sum_of_squares_tells_non_finite_gradients() {
    let backend = CpuBackend::with_level(fastest(), Some(2)).unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = uniform(1, 40 * 3);
        values[77] = bad;
        let weight = weight(&backend, (40, 3), &values);
        assert!(!backend.sum_of_squares([&weight].into_iter()).unwrap().is_finite());
    }
    let huge = weight(&backend, (1, 1), &[f32::MAX]);
    assert!(backend.sum_of_squares([&huge, &huge].into_iter()).unwrap().is_finite());
}
