//! Products with split sums, which only the benchmark of the contract's cost runs: every tile, whole and in parts, on the simulator.
#![allow(clippy::unwrap_used)]

mod device;

use device::backend;
use gradus_cuda::Tile;
use gradus_ops::{Backend, Precision};
use gradus_tensor::DType;
use gradus_testing::on_backend::{halves, poisoned, read, weight};
use gradus_testing::{relative_l2, uniform};
use half::bf16;

#[test]
fn parts_add_up_to_the_product() {
    for (m, n, k) in [(1, 17, 300), (33, 65, 520), (70, 129, 264)] {
        let backend = backend((m + k) as u64);
        let x = halves(&backend, &uniform(1, m * k));
        let w = weight(&backend, Precision::Bf16, (n, k), &uniform(2, n * k));
        let product = |run: &dyn Fn(&mut gradus_cuda::Buffer)| {
            let mut y = poisoned(&backend, DType::BF16, m * n);
            run(&mut y);
            read::<_, bf16>(&backend, &y)
        };
        let expected = product(&|y| backend.matmul(&x, m, &w, None, y).unwrap());
        let expected_f64: Vec<f64> = expected.iter().map(|value| f64::from(value.to_f32())).collect();
        for tile in Tile::ALL {
            for parts in 1..=k.div_ceil(256) {
                let found = product(&|y| backend.matmul_split(&x, m, &w, y, tile, parts).unwrap());
                if parts == 1 {
                    assert!(found == expected, "{tile:?} at {m} x {n} x {k}: other bits than matmul");
                }
                let found: Vec<f32> = found.iter().map(|value| value.to_f32()).collect();
                let distance = relative_l2(&found, &expected_f64);
                assert!(distance <= 4e-3, "{tile:?} at {m} x {n} x {k} in {parts} parts: {distance:e} from matmul");
            }
        }
    }
}

#[test]
fn parts_without_a_share_of_the_sum_are_refused() {
    let backend = backend(1);
    let (x, w) = (halves(&backend, &[0.0; 256]), weight(&backend, Precision::Bf16, (1, 256), &[0.0; 256]));
    let mut y = poisoned(&backend, DType::BF16, 1);
    for parts in [0, 3] {
        let message = backend.matmul_split(&x, 1, &w, &mut y, Tile::Narrow16x32, parts).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("matmul_split: {parts} parts of a sum of 256: each takes a multiple of 128 and needs some")
        );
    }
}
