//! Softmax statistics and the loss gradient, against f64.

#![allow(clippy::unwrap_used)] // A test may panic.

mod device;

use device::{differences, doubles, floats, poisoned, read, same_everywhere, words};
use gradus_cpu::CpuBackend;
use gradus_ops::{Backend, LossRows};
use gradus_testing::{integers, relative_l2, uniform};

struct Case {
    rows: usize,
    vocab: usize,
    logits: Vec<f32>,
    targets: Vec<u32>,
    inv_t: Vec<f32>,
}

impl Case {
    fn new(rows: usize, vocab: usize, spread: f32) -> Case {
        Case {
            rows,
            vocab,
            logits: uniform(1, rows * vocab).iter().map(|x| x * spread + 3.0).collect(),
            targets: integers(2, rows, vocab as u32),
            inv_t: (0..rows).map(|row| [1.0, 1.0 / 0.85, 0.5][row % 3]).collect(),
        }
    }

    /// lse, logprob, entropy
    fn run(&self, backend: &CpuBackend) -> Vec<Vec<f32>> {
        let (targets, inv_t) = (words(backend, &self.targets), floats(backend, &self.inv_t));
        let rows = LossRows { rows: self.rows, vocab: self.vocab, targets: &targets, inv_t: &inv_t };
        let [mut lse, mut logprob, mut entropy] = [(); 3].map(|()| poisoned(backend, self.rows));
        let logits = floats(backend, &self.logits);
        backend.softmax_statistics(&logits, rows, &mut lse, &mut logprob, &mut entropy).unwrap();
        vec![read(backend, &lse), read(backend, &logprob), read(backend, &entropy)]
    }

    fn run_backward(&self, backend: &CpuBackend, lse: &[f32], coefficient: &[f32]) -> Vec<f32> {
        let (targets, inv_t) = (words(backend, &self.targets), floats(backend, &self.inv_t));
        let rows = LossRows { rows: self.rows, vocab: self.vocab, targets: &targets, inv_t: &inv_t };
        let mut logits = floats(backend, &self.logits);
        let (lse, coefficient) = (floats(backend, lse), floats(backend, coefficient));
        backend.softmax_backward(&mut logits, rows, &lse, &coefficient).unwrap();
        read(backend, &logits)
    }

    fn expected(&self) -> [Vec<f64>; 3] {
        let mut expected = [const { Vec::new() }; 3];
        for row in 0..self.rows {
            let inv_t = f64::from(self.inv_t[row]);
            let z: Vec<f64> =
                self.logits[row * self.vocab..][..self.vocab].iter().map(|x| f64::from(*x) * inv_t).collect();
            let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let lse = largest + z.iter().map(|z| (z - largest).exp()).sum::<f64>().ln();
            let share = |z: f64| if z == f64::NEG_INFINITY { 0.0 } else { (z - lse).exp() * (z - lse) };
            expected[0].push(lse);
            expected[1].push(z[self.targets[row] as usize] - lse);
            expected[2].push(-z.iter().map(|z| share(*z)).sum::<f64>());
        }
        expected
    }
}

#[test]
fn statistics_agree_with_f64() {
    for (rows, vocab, spread) in
        [(1, 1, 1.0), (3, 15, 2.0), (7, 16, 9.0), (5, 99, 1.0), (4, 989, 30.0), (2, 151_936, 8.0)]
    {
        let case = Case::new(rows, vocab, spread);
        let results = same_everywhere(|backend| case.run(backend));
        for (name, (found, expected)) in ["lse", "logprob", "entropy"].iter().zip(results.iter().zip(case.expected())) {
            for (found, expected) in found.iter().zip(expected) {
                let error = (f64::from(*found) - expected).abs();
                // Rounding of z itself (up to 50 here) is half an ulp of 32.
                assert!(error < 4e-6 + 1e-6 * expected.abs(), "{name} of {rows} x {vocab}: {found} {expected}");
            }
        }
    }
}

#[test]
fn a_row_is_the_same_alone() {
    let case = Case::new(9, 1000, 5.0);
    let backend = device::fastest();
    let together = case.run(&backend);
    for row in 0..case.rows {
        let alone = Case {
            rows: 1,
            vocab: case.vocab,
            logits: case.logits[row * case.vocab..][..case.vocab].to_vec(),
            targets: vec![case.targets[row]],
            inv_t: vec![case.inv_t[row]],
        };
        for (alone, together) in alone.run(&backend).iter().zip(&together) {
            assert_eq!(alone[0], together[row]);
        }
    }
}

#[test]
fn masked_ids_and_certain_rows_are_exact() {
    let mut case = Case::new(2, 40, 1.0);
    // Row 0: two possible ids; row 1: one.
    case.logits.fill(f32::NEG_INFINITY);
    (case.logits[3], case.logits[17], case.logits[40 + 39]) = (1.5, 1.5, -7.0);
    (case.targets, case.inv_t) = (vec![17, 39], vec![1.0, 1.0]);
    let results = same_everywhere(|backend| case.run(backend));
    assert!((results[1][0] + std::f32::consts::LN_2).abs() < 1e-6);
    assert!((results[2][0] - std::f32::consts::LN_2).abs() < 1e-6);
    assert_eq!((results[0][1], results[1][1], results[2][1]), (-7.0, 0.0, 0.0));
}

#[test]
fn a_nan_logit_shows_in_every_statistic() {
    let mut case = Case::new(1, 99, 1.0);
    case.logits[98] = f32::NAN;
    assert!(case.run(&device::fastest()).iter().all(|values| values[0].is_nan()));
}

#[test]
fn backward_equals_differences() {
    for (rows, vocab) in [(1, 3), (3, 16), (4, 37)] {
        let case = Case::new(rows, vocab, 4.0);
        let coefficient = uniform(5, rows);
        let results = same_everywhere(|backend| {
            let lse = &case.run(backend)[0];
            vec![case.run_backward(backend, lse, &coefficient)]
        });
        let loss = |logits: &[f64]| -> f64 {
            (0..rows)
                .map(|row| {
                    let inv_t = f64::from(case.inv_t[row]);
                    let z: Vec<f64> = logits[row * vocab..][..vocab].iter().map(|x| x * inv_t).collect();
                    let lse = z.iter().map(|z| z.exp()).sum::<f64>().ln();
                    -f64::from(coefficient[row]) * (z[case.targets[row] as usize] - lse)
                })
                .sum()
        };
        let expected = differences(&doubles(&case.logits), loss);
        let distance = relative_l2(&results[0], &expected);
        assert!(distance < 1e-6, "{rows} x {vocab}: {distance}");
    }
}

#[test]
fn backward_of_a_large_vocabulary_sums_to_nothing() {
    let case = Case::new(2, 151_936, 6.0);
    let backend = device::fastest();
    let gradient = case.run_backward(&backend, &case.run(&backend)[0], &[1.0, -0.5]);
    for row in gradient.chunks(case.vocab) {
        // The error of lse is the relative error of every probability: an ulp of 20, and 9,496 additions in each lane.
        let sum: f64 = row.iter().map(|x| f64::from(*x)).sum();
        assert!(sum.abs() < 2e-5, "{sum}");
    }
}
