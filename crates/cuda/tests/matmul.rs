//! Products on the simulator against f64 and against the CPU backend, with equal bits for every tile and every batch.
#![allow(clippy::unwrap_used)]

mod device;

use device::backend;
use gradus_cpu::CpuBackend;
use gradus_ops::{Backend, Precision};
use gradus_tensor::DType;
use gradus_testing::on_backend::{buffer, halves, poisoned, read, weight};
use gradus_testing::{check_bf16_matmul, relative_l2, uniform};
use half::bf16;

#[test]
fn agrees_with_the_cpu_at_odd_sizes() {
    let cpu = CpuBackend::new(Some(1)).unwrap();
    for (seed, shape) in
        [(1, 7, 16), (2, 48, 40), (9, 33, 99), (17, 99, 8), (70, 16, 24), (99, 65, 129)].iter().enumerate()
    {
        let found = check_bf16_matmul(&backend(seed as u64), *shape);
        let expected = check_bf16_matmul(&cpu, *shape);
        for (what, found, expected, tolerance) in [
            ("y", found.y, expected.y, 1e-5),
            ("y in bf16", found.y_rounded, expected.y_rounded, 4e-3),
            ("d_x", found.d_x, expected.d_x, 1e-5),
            ("d_weight", found.d_weight, expected.d_weight, 1e-5),
            ("d_bias", found.d_bias, expected.d_bias, 0.0),
        ] {
            let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
            let distance = relative_l2(&found, &expected);
            assert!(distance <= tolerance, "{what} at {shape:?}: {distance:e} from the CPU's");
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let (n, k, rows_max) = (40, 99, 130);
    let (x, w) = (uniform(1, rows_max * k), uniform(2, n * k));
    let rows = |seed: u64, rows: usize| {
        let backend = backend(seed);
        let w = weight(&backend, Precision::Bf16, (n, k), &w);
        let mut y = poisoned(&backend, DType::BF16, rows * n);
        backend.matmul(&halves(&backend, &x[..rows * k]), rows, &w, None, &mut y).unwrap();
        read::<_, bf16>(&backend, &y)
    };
    let all = rows(1, rows_max);
    for (seed, few) in [1, 8, 9, 33, 65].into_iter().enumerate() {
        assert!(rows(seed as u64 + 2, few) == all[..few * n], "{few} rows differ from those of {rows_max}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let backend = backend(1);
    let w = weight(&backend, Precision::Bf16, (4, 8), &uniform(1, 32));
    let short = halves(&backend, &[0.0; 15]);
    let mut y = poisoned(&backend, DType::F32, 8);
    let message = backend.matmul(&short, 2, &w, None, &mut y).unwrap_err().to_string();
    assert_eq!(message, "matmul: x has 15 elements, expected at least 16");
    let x = halves(&backend, &[0.0; 16]);
    let bias = weight(&backend, Precision::Bf16, (3, 1), &[0.0; 3]);
    let message = backend.matmul(&x, 2, &w, Some(&bias), &mut y).unwrap_err().to_string();
    assert_eq!(message, "matmul: bias is [3, 1], expected [4, 1]");
    let in_f32 = weight(&backend, Precision::F32, (4, 8), &uniform(1, 32));
    let message = backend.matmul(&x, 2, &in_f32, None, &mut y).unwrap_err().to_string();
    assert_eq!(message, "matmul: weight is in f32, expected bf16");
    let d_y = buffer(&backend, &[0.0_f32; 8]);
    let mut d_weight = backend.alloc_weight(4, 8, Precision::Bf16).unwrap();
    let message = backend.matmul_backward_weight(&d_y, &x, 2, &mut d_weight, None).unwrap_err().to_string();
    assert_eq!(message, "matmul_backward_weight: d_weight is in bf16, expected f32");
}
