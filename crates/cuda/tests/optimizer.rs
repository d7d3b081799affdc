//! AdamW on the simulator: an update against f64 and, where moments are bf16 numbers already, the CPU's masters bit for bit; moments rounded at
//! random without bias; a training run that goes on from a checkpoint, and one that comes from the CPU.
#![allow(clippy::unwrap_used)]

mod device;

use device::backend;
use gradus_cpu::CpuBackend;
use gradus_cuda::CudaBackend;
use gradus_ops::{AdamW, Backend, OptimizerValues, Precision, philox};
use gradus_testing::on_backend::{moments, optimizer_values, rounded, row_major, weight};
use gradus_testing::{relative_l2, uniform};
use half::bf16;

/// (rows, cols): one element, a vector, padded rows, several blocks with a tail.
const SHAPES: [(usize, usize); 4] = [(1, 1), (99, 1), (5, 99), (300, 300)];
const OPTIONS: AdamW = AdamW {
    learning_rate: 0.01,
    beta1: 0.9,
    beta2: 0.95,
    eps: 1e-8,
    weight_decay: 0.1,
    step: 3,
    gradient_scale: 0.5,
    seed: 0x1234_5678_9abc_def0,
    stream: 0x0fed_cba9_8765_4321,
};
const LISTS: [OptimizerValues; 3] =
    [OptimizerValues::Master, OptimizerValues::FirstMoment, OptimizerValues::SecondMoment];

/// Masters, gradient, and moments that are bf16 numbers.
struct Case {
    shape: (usize, usize),
    master: Vec<f32>,
    gradient: Vec<f32>,
    m: Vec<f32>,
    v: Vec<f32>,
}

impl Case {
    fn new(shape: (usize, usize)) -> Case {
        let len = shape.0 * shape.1;
        let squares: Vec<f32> = uniform(4, len).iter().map(|value| value * value).collect();
        let [master, gradient, m] = [1, 2, 3].map(|seed| uniform(seed, len));
        Case { shape, master, gradient, m: rounded(&m), v: rounded(&squares) }
    }

    /// Weight, then master and moments after one update.
    fn updated<B: Backend>(&self, backend: &B, options: &AdamW) -> [Vec<f32>; 4] {
        let mut w = weight(backend, Precision::Bf16, self.shape, &[]);
        let mut state = moments(backend, &mut w, &self.m, &self.v);
        backend.load_optimizer(OptimizerValues::Master, &mut w, &mut state, 0, &self.master).unwrap();
        let gradient = weight(backend, Precision::F32, self.shape, &self.gradient);
        backend.adamw(&mut w, &mut state, &gradient, options).unwrap();
        let [master, m, v] = LISTS.map(|values| optimizer_values(backend, values, &w, &state));
        [row_major(backend, &w), master, m, v]
    }

    /// The same in f64, without any rounding.
    fn in_f64(&self, options: &AdamW) -> [Vec<f64>; 3] {
        let AdamW { beta1, beta2, step, .. } = *options;
        let [lr, eps, decay] = [options.learning_rate, options.eps, options.weight_decay].map(f64::from);
        let each = |i: usize| {
            let g = f64::from(self.gradient[i]) * f64::from(options.gradient_scale);
            let m = beta1 * f64::from(self.m[i]) + (1.0 - beta1) * g;
            let v = beta2 * f64::from(self.v[i]) + (1.0 - beta2) * g * g;
            let [m_hat, v_hat] = [m / (1.0 - beta1.powf(step as f64)), v / (1.0 - beta2.powf(step as f64))];
            let p = f64::from(self.master[i]);
            [p - lr * decay * p - lr * m_hat / (v_hat.sqrt() + eps), m, v]
        };
        let all: Vec<[f64; 3]> = (0..self.master.len()).map(each).collect();
        [0, 1, 2].map(|list| all.iter().map(|values| values[list]).collect())
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn an_update_is_that_of_f64_and_its_masters_are_those_of_the_cpu() {
    let (simulated, cpu) = (backend(7), CpuBackend::new(Some(1)).unwrap());
    for shape in SHAPES {
        let case = Case::new(shape);
        let [weight, master, m, v] = case.updated(&simulated, &OPTIONS);
        let [exact, exact_m, exact_v] = case.in_f64(&OPTIONS);
        let distances = [relative_l2(&master, &exact), relative_l2(&m, &exact_m), relative_l2(&v, &exact_v)];
        // Masters are f32, moments bf16.
        assert!(distances[0] <= 1e-6 && distances[1] <= 8e-3 && distances[2] <= 8e-3, "{shape:?}: {distances:?}");
        let [_, of_cpu, cpu_m, cpu_v] = case.updated(&cpu, &OPTIONS);
        assert_eq!(bits(&master), bits(&of_cpu), "{shape:?}");
        // Each moment is one of the two bf16 neighbours of the CPU's.
        for (found, exact) in m.iter().zip(&cpu_m).chain(v.iter().zip(&cpu_v)) {
            let below = f32::from_bits(exact.to_bits() & 0xffff_0000);
            let above = f32::from_bits(below.to_bits() + 0x1_0000);
            assert!(*found == below || (*found == above && below != *exact), "{found:e} of {exact:e}");
        }
        for (weight, master) in weight.iter().zip(&master) {
            assert_eq!(weight.to_bits(), (master.to_bits() + 0x8000) & 0xffff_0000, "half away from zero");
        }
    }
}

#[test]
fn masters_are_kept_whole_at_every_remainder() {
    // Ties among them: an odd and an even weight, both signs, every lower half.
    let uppers = [0x3f81_u32, 0x3f82, 0xbf81, 0xbf82];
    let all = uppers.into_iter().flat_map(|upper| (0..1 << 16).map(move |lower| f32::from_bits(upper << 16 | lower)));
    let master: Vec<f32> = all.collect();
    let zeros = vec![0.0; master.len()];
    let case = Case { shape: (4, 1 << 16), gradient: zeros.clone(), m: zeros.clone(), v: zeros, master };
    let still = AdamW { learning_rate: 0.0, ..OPTIONS };
    let [_, found, m, v] = case.updated(&backend(3), &still);
    assert_eq!(bits(&found), bits(&case.master));
    assert!(m.iter().chain(&v).all(|value| value.to_bits() == 0));
}

/// Moments of a parameter that begin at 0 and see one gradient: m is 0.1 · g, v is 0.05 · g².
fn moments_of(backend: &CudaBackend, shape: (usize, usize), gradient: f32, options: &AdamW) -> [Vec<f32>; 2] {
    let len = shape.0 * shape.1;
    let zeros = vec![0.0; len];
    let case = Case { shape, master: zeros.clone(), gradient: vec![gradient; len], m: zeros.clone(), v: zeros };
    let [_, _, m, v] = case.updated(backend, options);
    [m, v]
}

#[test]
fn rounding_at_random_has_no_bias() {
    let backend = backend(5);
    let shape = (64, 1000);
    let options = AdamW { gradient_scale: 1.0, ..OPTIONS };
    for gradient in [1.0_f32, -0.7, 3.3] {
        let rate1 = (1.0 - options.beta1) as f32;
        let rate2 = (1.0 - options.beta2) as f32;
        let exact = [rate1 * gradient, rate2 * gradient * gradient];
        for (found, exact) in moments_of(&backend, shape, gradient, &options).iter().zip(exact) {
            let below = f64::from(f32::from_bits(exact.to_bits() & 0xffff_0000));
            let above = f64::from(f32::from_bits((exact.to_bits() & 0xffff_0000) + 0x1_0000));
            let share = (f64::from(exact) - below) / (above - below);
            let ups = found.iter().filter(|value| f64::from(**value) == above).count() as f64;
            assert!(found.iter().all(|value| [below, above].contains(&f64::from(*value))));
            // Five standard errors of the share of 64,000 draws.
            let (count, error) = (found.len() as f64, (share * (1.0 - share) / found.len() as f64).sqrt());
            assert!((ups / count - share).abs() <= 5.0 * error, "{} of {exact} go up, expected {share}", ups / count);
        }
    }
}

#[test]
fn rounding_at_random_is_philox_of_seed_stream_and_element() {
    let shape = (33, 99);
    let stride = 104;
    let draw = |seed, options: &AdamW| moments_of(&backend(seed), shape, 1.3, options);
    let options = AdamW { gradient_scale: 1.0, ..OPTIONS };
    let found = draw(1, &options);
    let m = (1.0 - options.beta1) as f32 * 1.3;
    let expected: Vec<u32> = (0..shape.0 * shape.1)
        .map(|i| {
            let at = (i / shape.1 * stride + i % shape.1) as u32;
            let random = philox::number(options.seed, options.stream, at / 4, 0)[at as usize % 4];
            (m.to_bits() + (random & 0xffff)) & 0xffff_0000
        })
        .collect();
    assert_eq!(bits(&found[0]), expected);
    // The order of the threads plays no part; another seed or stream rounds otherwise.
    assert_eq!(draw(2, &options), found);
    for other in [AdamW { seed: 1, ..options }, AdamW { stream: 1, ..options }, AdamW { stream: 1 << 32, ..options }] {
        assert_ne!(draw(1, &other), found);
    }
}

#[test]
fn small_changes_of_a_moment_are_not_lost() {
    // v moves by a thousandth of itself, less than half a bf16's last place: rounded to nearest it would stay.
    let backend = backend(9);
    let len = 4096;
    let ones = vec![1.0; len];
    let mut w = weight(&backend, Precision::Bf16, (len, 1), &ones);
    let mut state = moments(&backend, &mut w, &ones, &ones);
    let gradient = weight(&backend, Precision::F32, (len, 1), &vec![2.0; len]);
    for step in 1..=20 {
        let options = AdamW { beta2: 0.999, gradient_scale: 1.0, step, stream: step, ..OPTIONS };
        backend.adamw(&mut w, &mut state, &gradient, &options).unwrap();
    }
    let v = optimizer_values(&backend, OptimizerValues::SecondMoment, &w, &state);
    let mean = v.iter().map(|value| f64::from(*value)).sum::<f64>() / len as f64;
    let exact = 4.0 - 3.0 * 0.999_f64.powi(20);
    assert!((mean - exact).abs() <= 2e-3, "{mean}, expected {exact}");
}

#[test]
fn states_take_six_bytes_and_are_of_bf16_weights() {
    let backend = backend(1);
    let half = backend.alloc_weight(5, 99, Precision::Bf16).unwrap();
    assert_eq!(backend.optimizer_bytes(&half), 6 * 5 * 99);
    let mut single = backend.alloc_weight(5, 99, Precision::F32).unwrap();
    let refused = backend.alloc_optimizer(&single).map(|_| ()).unwrap_err().to_string();
    assert_eq!(refused, "alloc_optimizer: weight is in f32, expected bf16");
    let mut state = backend.alloc_optimizer(&half).unwrap();
    let mut other = backend.alloc_weight(99, 5, Precision::Bf16).unwrap();
    let mut message = |weight: &mut _, gradient: &_, options: &AdamW| {
        backend.adamw(weight, &mut state, gradient, options).unwrap_err().to_string()
    };
    let gradient = backend.alloc_weight(5, 99, Precision::F32).unwrap();
    assert_eq!(message(&mut other, &gradient, &OPTIONS), "adamw: the state is [5, 99], expected [99, 5]");
    assert_eq!(message(&mut single, &gradient, &OPTIONS), "adamw: weight is in f32, expected bf16");
    let mut half = half;
    let first = AdamW { step: 0, ..OPTIONS };
    assert!(message(&mut half, &gradient, &first).contains("updates are counted from 1"));
    assert!(message(&mut half, &other, &OPTIONS).contains("gradient is [99, 5], expected [5, 99]"));
}

#[test]
fn masters_are_set_and_read_row_by_row() {
    let backend = backend(1);
    for (rows, cols) in SHAPES {
        let values = uniform(8, rows * cols);
        let mut w = weight(&backend, Precision::Bf16, (rows, cols), &values);
        let mut state = backend.alloc_optimizer(&w).unwrap();
        let masters = |w: &_, state: &_| optimizer_values(&backend, OptimizerValues::Master, w, state);
        assert_eq!(masters(&w, &state), row_major(&backend, &w), "a master begins as its weight");
        backend.load_optimizer(OptimizerValues::Master, &mut w, &mut state, rows - 1, &values[..cols]).unwrap();
        let found = masters(&w, &state);
        assert_eq!(bits(&found[(rows - 1) * cols..]), bits(&values[..cols]));
        let nearest: Vec<f32> = found.iter().map(|value| bf16::from_f32(*value).to_f32()).collect();
        assert_eq!(row_major(&backend, &w), nearest, "no value here is a tie");
    }
}

#[test]
fn sums_of_squares() {
    let (simulated, cpu) = (backend(2), CpuBackend::new(Some(1)).unwrap());
    for shape in SHAPES {
        fn sum<B: Backend>(backend: &B, shape: (usize, usize)) -> f64 {
            let lists = [1, 2].map(|seed| weight(backend, Precision::F32, shape, &uniform(seed, shape.0 * shape.1)));
            backend.sum_of_squares(lists.iter()).unwrap()
        }
        let (found, expected) = (sum(&simulated, shape), sum(&cpu, shape));
        assert!((found / expected - 1.0).abs() <= 1e-12, "{shape:?}: {found} and {expected}");
    }
    let infinite = weight(&simulated, Precision::F32, (1, 3), &[1.0, f32::INFINITY, 2.0]);
    assert!(!simulated.sum_of_squares([&infinite].into_iter()).unwrap().is_finite());
}
