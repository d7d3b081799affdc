//! The optimizer against f64 references, exactly equal between levels and thread counts.
// What tests share may fail them.
#![allow(clippy::unwrap_used)]

use gradus_cpu::{CpuBackend, Level, OptimizerState, Weight};
use gradus_ops::{AdamW, Backend, OptimizerValues, Precision};
use gradus_testing::on_backend::{moments, optimizer_values, row_major};
use gradus_testing::{relative_l2, uniform};
use half::bf16;

/// (rows, cols): vectors, padded panels, several blocks of the sum of squares.
const SHAPES: [(usize, usize); 5] = [(1, 1), (17, 1), (7, 99), (989, 17), (160, 1024)];
const OPTIONS: AdamW = AdamW {
    learning_rate: 1e-2,
    beta1: 0.9,
    beta2: 0.95,
    eps: 1e-8,
    weight_decay: 0.1,
    step: 1,
    gradient_scale: 0.5,
    seed: 0,
    stream: 0,
};

fn weight(backend: &CpuBackend, (rows, cols): (usize, usize), values: &[f32]) -> Weight {
    let mut weight = backend.alloc_weight(rows, cols, Precision::F32).unwrap();
    backend.load_row_major(&mut weight, 0, values).unwrap();
    weight
}

fn fastest() -> Level {
    Level::ALL.into_iter().rfind(|level| level.is_available()).unwrap()
}

/// Parameters and moments after a few updates, each with a gradient of its own; the last one is all zeros.
fn updated(backend: &CpuBackend, shape: (usize, usize), steps: u64) -> [Vec<f32>; 3] {
    let len = shape.0 * shape.1;
    let mut p = weight(backend, shape, &uniform(1, len));
    let mut state = backend.alloc_optimizer(&p).unwrap();
    for step in 1..=steps {
        let gradient = weight(backend, shape, &gradient(step, steps, len));
        backend.adamw(&mut p, &mut state, &gradient, &AdamW { step, ..OPTIONS }).unwrap();
    }
    let moment = |values| optimizer_values(backend, values, &p, &state);
    [row_major(backend, &p), moment(OptimizerValues::FirstMoment), moment(OptimizerValues::SecondMoment)]
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
            let mut state = backend.alloc_optimizer(&half).unwrap();
            backend.load_optimizer(OptimizerValues::Master, &mut half, &mut state, 0, &uniform(1, len)).unwrap();
            for step in 1..=3 {
                let gradient = weight(&backend, shape, &gradient(step, 3, len));
                backend.adamw(&mut half, &mut state, &gradient, &AdamW { step, ..OPTIONS }).unwrap();
            }
            let lists = [OptimizerValues::Master, OptimizerValues::FirstMoment, OptimizerValues::SecondMoment];
            let found = lists.map(|values| optimizer_values(&backend, values, &half, &state));
            assert!(found == expected, "{shape:?} {}", level.name());
            let rounded: Vec<f32> = expected[0].iter().map(|value| bf16::from_f32(*value).to_f32()).collect();
            assert!(row_major(&backend, &half) == rounded, "{shape:?} {}", level.name());
        }
    }
}

#[test]
fn masters_begin_as_the_weights_and_round_to_them() {
    let backend = CpuBackend::with_level(fastest(), Some(2)).unwrap();
    for (rows, cols) in SHAPES {
        let mut half = backend.alloc_weight(rows, cols, Precision::Bf16).unwrap();
        backend.load_row_major(&mut half, 0, &uniform(5, rows * cols)).unwrap();
        let mut state = backend.alloc_optimizer(&half).unwrap();
        let masters = optimizer_values(&backend, OptimizerValues::Master, &half, &state);
        assert_eq!(masters, row_major(&backend, &half));
        let exact = uniform(6, cols);
        backend.load_optimizer(OptimizerValues::Master, &mut half, &mut state, rows - 1, &exact).unwrap();
        let masters = optimizer_values(&backend, OptimizerValues::Master, &half, &state);
        assert_eq!(masters[(rows - 1) * cols..], exact);
        let rounded: Vec<f32> = masters.iter().map(|value| bf16::from_f32(*value).to_f32()).collect();
        assert_eq!(row_major(&backend, &half), rounded);
        assert_eq!(backend.optimizer_bytes(&half), 12 * (rows * cols) as u64);
    }
}

#[test]
fn masters_belong_to_bf16_weights_alone() {
    let backend = CpuBackend::with_level(Level::Portable, Some(1)).unwrap();
    let new = |precision| backend.alloc_weight(3, 2, precision).unwrap();
    let (mut single, mut half, mut quantised) = (new(Precision::F32), new(Precision::Bf16), new(Precision::Q8));
    let mut of_single = backend.alloc_optimizer(&single).unwrap();
    let mut of_half = backend.alloc_optimizer(&half).unwrap();
    let gradient = new(Precision::F32);
    let message = |weight: &mut Weight, state: &mut OptimizerState| {
        backend.adamw(weight, state, &gradient, &OPTIONS).unwrap_err().to_string()
    };
    assert!(message(&mut single, &mut of_half).contains("the state is not of a weight in f32"));
    assert!(message(&mut half, &mut of_single).contains("the state is not of a weight in bf16"));
    assert!(message(&mut quantised, &mut of_half).contains("a q8_0 weight cannot be trained"));
    let refused = backend.alloc_optimizer(&quantised).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("a q8_0 weight cannot be trained"));
    let load = backend.load_optimizer(OptimizerValues::Master, &mut single, &mut of_single, 0, &[0.0; 6]);
    assert!(load.unwrap_err().to_string().contains("an f32 weight has no master"));
    let in_half = backend.adamw(&mut half, &mut of_half, &new(Precision::Bf16), &OPTIONS).unwrap_err().to_string();
    assert!(in_half.contains("gradient is in bf16, expected f32"));
}

#[test]
fn one_minus_beta_is_rounded_once() {
    let backend = CpuBackend::with_level(fastest(), Some(1)).unwrap();
    let mut p = weight(&backend, (1, 1), &[1.0]);
    let mut state = moments(&backend, &mut p, &[0.0], &[0.0]);
    let options = AdamW { beta1: 0.99, beta2: 0.999, gradient_scale: 1.0, ..OPTIONS };
    backend.adamw(&mut p, &mut state, &weight(&backend, (1, 1), &[1.0]), &options).unwrap();
    let lists = [OptimizerValues::FirstMoment, OptimizerValues::SecondMoment];
    let found = lists.map(|values| optimizer_values(&backend, values, &p, &state));
    assert_eq!(found, [[(1.0 - 0.99_f64) as f32], [(1.0 - 0.999_f64) as f32]]);
}

#[test]
fn adamw_refuses_what_would_poison_the_weights() {
    let backend = CpuBackend::with_level(Level::Portable, Some(1)).unwrap();
    let new = |shape| weight(&backend, shape, &[]);
    let (mut p, g) = (new((3, 2)), new((3, 2)));
    let mut state = backend.alloc_optimizer(&p).unwrap();
    let mut message = |g: &Weight, options| backend.adamw(&mut p, &mut state, g, &options).unwrap_err().to_string();
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
