//! The head's gradient does not depend on how many rows of logits exist at once: partial sums are of fixed blocks of 64 rows, added in order.
#![allow(clippy::unwrap_used)]

mod device;

use gradus_cpu::{CpuBackend, Level};
use gradus_ops::{Backend, GRADIENT_BLOCK, Precision};
use gradus_tensor::DType;
use gradus_testing::on_backend::{buffer, halves, poisoned, read, row_major, weight};
use gradus_testing::uniform;

const ROWS: usize = 1101;
const HIDDEN: usize = 24;
const VOCAB: usize = 33;

/// Gradients of the weight and of the rows, taken in chunks of `chunk` rows.
fn gradients<B: Backend>(backend: &B, precision: Precision, chunk: usize) -> [Vec<f32>; 2] {
    let (x, d_y) = (uniform(1, ROWS * HIDDEN), uniform(2, ROWS * VOCAB));
    let w = weight(backend, precision, (VOCAB, HIDDEN), &uniform(3, VOCAB * HIDDEN));
    let mut d_weight = weight(backend, Precision::F32, (VOCAB, HIDDEN), &uniform(4, VOCAB * HIDDEN));
    let mut d_rows = Vec::new();
    for (x, d_y) in x.chunks(chunk * HIDDEN).zip(d_y.chunks(chunk * VOCAB)) {
        let rows = x.len() / HIDDEN;
        let x = if precision == Precision::Bf16 { halves(backend, x) } else { buffer(backend, x) };
        let d_y = buffer(backend, d_y);
        backend.matmul_backward_weight(&d_y, &x, rows, &mut d_weight, None).unwrap();
        let mut d_x = poisoned(backend, DType::F32, rows * HIDDEN);
        backend.matmul_backward_input(&d_y, rows, &w, &mut d_x).unwrap();
        d_rows.extend(read::<_, f32>(backend, &d_x));
    }
    [row_major(backend, &d_weight), d_rows]
}

fn check<B: Backend>(backend: &B, precision: Precision) {
    assert!(backend.head_rows().is_multiple_of(GRADIENT_BLOCK));
    let whole = gradients(backend, precision, ROWS);
    for chunk in [64, 512, 4096] {
        assert!(gradients(backend, precision, chunk) == whole, "chunks of {chunk} rows in {precision:?}");
    }
    // Borders elsewhere are another sum: the test sees the difference.
    assert!(gradients(backend, precision, 100) != whole, "chunks of 100 rows in {precision:?}");
}

#[test]
fn the_size_of_a_head_chunk_changes_no_bit() {
    check(&device::backend(2), Precision::Bf16);
    for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
        for precision in [Precision::F32, Precision::Bf16] {
            check(&CpuBackend::with_level(level, Some(2)).unwrap(), precision);
        }
    }
}
