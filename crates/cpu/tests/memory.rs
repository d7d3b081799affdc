//! Buffers and weights: what is written is read back, and what does not fit is refused by name.
// What tests share may fail them.
#![allow(clippy::unwrap_used)]

use gradus_cpu::{CpuBackend, Level};
use gradus_ops::{Backend, Error, Precision};
use gradus_tensor::DType;
use gradus_testing::on_backend::{buffer, halves, read, read_floats, rounded};
use gradus_testing::uniform;
use half::bf16;

fn backend() -> CpuBackend {
    CpuBackend::with_level(Level::Portable, Some(2)).unwrap()
}

#[test]
fn buffers_are_zeroed_written_and_read_from_any_offset() {
    let backend = backend();
    let mut buffer = backend.alloc(DType::U32, 10).unwrap();
    backend.write(&mut buffer, 3, &[7_u32, 8, 9]).unwrap();
    backend.zero(&mut buffer, 4, 1).unwrap();
    let mut found = [1_u32; 6];
    backend.read(&buffer, 1, &mut found).unwrap();
    assert_eq!(found, [0, 0, 7, 0, 9, 0]);

    let error = backend.write(&mut buffer, 8, &[1_u32; 3]).unwrap_err();
    assert!(matches!(error, Error::Length { what: "dst", found: 10, expected: 11, .. }), "{error}");
    let error = backend.read(&buffer, 0, &mut [0.0_f32; 2]).unwrap_err();
    assert!(matches!(error, Error::DType { found: "U32", expected: "F32", .. }), "{error}");
    let error = backend.zero(&mut buffer, usize::MAX, 2).unwrap_err();
    assert!(matches!(error, Error::Length { .. }), "{error}");
}

#[test]
fn a_copy_moves_its_stretch_and_no_more() {
    let backend = backend();
    for len in [2, 7, 99, 70_000] {
        let (x, y) = (uniform(1, len), uniform(2, len));
        let expected: Vec<f32> = (0..len).map(|i| if i == 0 { y[i] } else { x[i - 1] }).collect();
        let (src, mut dst) = (buffer(&backend, &x), buffer(&backend, &y));
        backend.copy(&src, 0, &mut dst, 1, len - 1).unwrap();
        assert_eq!(read::<_, f32>(&backend, &dst), expected);
        let (src, mut dst) = (halves(&backend, &x), halves(&backend, &y));
        backend.copy(&src, 0, &mut dst, 1, len - 1).unwrap();
        assert_eq!(read_floats(&backend, DType::BF16, &dst), rounded(&expected));
        let error = backend.copy(&src, 1, &mut dst, 0, len).unwrap_err();
        assert!(matches!(error, Error::Length { what: "src", .. }), "{error}");
        let error = backend.copy(&src, 0, &mut dst, 1, len).unwrap_err();
        assert!(matches!(error, Error::Length { what: "dst", .. }), "{error}");
        let error = backend.copy(&buffer(&backend, &x), 0, &mut dst, 0, len).unwrap_err();
        assert!(matches!(error, Error::DType { what: "dst", found: "BF16", expected: "F32", .. }), "{error}");
    }
}

#[test]
fn weights_keep_rows_at_any_offset_and_zero_padding() {
    let backend = backend();
    for (rows, cols) in [(1, 1), (7, 17), (99, 3), (40, 989)] {
        let values = uniform(1, rows * cols);
        let mut weight = backend.alloc_weight(rows, cols, Precision::F32).unwrap();
        assert_eq!(backend.weight_shape(&weight), (rows, cols));
        for row in (0..rows).rev() {
            backend.load_row_major(&mut weight, row, &values[row * cols..(row + 1) * cols]).unwrap();
        }
        let mut whole = vec![0.0; rows * cols];
        backend.store_row_major(&weight, 0, &mut whole).unwrap();
        assert_eq!(whole, values);
        let first = rows / 2;
        let mut part = vec![0.0; (rows - first) * cols];
        backend.store_row_major(&weight, first, &mut part).unwrap();
        assert_eq!(part, values[first * cols..]);
        let squares = backend.sum_of_squares([&weight].into_iter()).unwrap();
        let expected: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        assert!((squares - expected).abs() < 1e-9 * expected);
        backend.zero_weight(&mut weight).unwrap();
        assert_eq!(backend.sum_of_squares([&weight].into_iter()).unwrap(), 0.0);
    }
}

#[test]
fn bf16_weights_hold_rounded_values_at_any_offset() {
    let backend = backend();
    for (rows, cols) in [(1, 1), (19, 1), (7, 17), (99, 2), (40, 989)] {
        let values = uniform(1, rows * cols);
        let rounded: Vec<f32> = values.iter().map(|value| bf16::from_f32(*value).to_f32()).collect();
        let mut weight = backend.alloc_weight(rows, cols, Precision::Bf16).unwrap();
        assert_eq!(backend.weight_precision(&weight), Precision::Bf16);
        for row in (0..rows).rev() {
            backend.load_row_major(&mut weight, row, &values[row * cols..(row + 1) * cols]).unwrap();
        }
        let first = rows / 2;
        let mut found = vec![f32::NAN; (rows - first) * cols];
        backend.store_row_major(&weight, first, &mut found).unwrap();
        assert_eq!(found, rounded[first * cols..]);
        let error = backend.sum_of_squares([&weight].into_iter()).unwrap_err();
        assert!(error.to_string().contains("a gradient is in bf16, expected f32"), "{error}");
        backend.zero_weight(&mut weight).unwrap();
        backend.store_row_major(&weight, first, &mut found).unwrap();
        assert!(found.iter().all(|value| *value == 0.0));
    }
}

#[test]
fn rows_that_are_not_there_are_refused() {
    let backend = backend();
    let mut weight = backend.alloc_weight(3, 4, Precision::F32).unwrap();
    let error = backend.load_row_major(&mut weight, 2, &[0.0; 8]).unwrap_err();
    assert!(matches!(error, Error::Length { found: 3, expected: 4, .. }), "{error}");
    let error = backend.store_row_major(&weight, 0, &mut [0.0; 6]).unwrap_err();
    assert!(error.to_string().contains("6 values are not whole rows of 4 columns"), "{error}");
}

#[test]
fn what_no_machine_has_is_out_of_memory() {
    let backend = backend();
    assert!(matches!(backend.alloc(DType::F32, 1 << 50), Err(Error::OutOfMemory { device: "cpu", .. })));
    assert!(matches!(backend.alloc_weight(usize::MAX, 3, Precision::F32), Err(Error::OutOfMemory { .. })));
    let error = CpuBackend::with_level(Level::Portable, Some(0)).err().unwrap();
    assert!(error.to_string().contains("threads is 0"), "{error}");
}
