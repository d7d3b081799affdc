//! Buffers and weights on the simulator: values as the CPU backend keeps them, bad arguments as errors of their op, and faults of a kernel
//! as errors that name op, shape and device.
#![allow(clippy::unwrap_used)]

mod device;

use device::backend;
use gradus_cpu::CpuBackend;
use gradus_ops::{AttentionShape, Backend, Error, KvPageShape, Precision};
use gradus_tensor::DType;
use gradus_testing::on_backend::{buffer, halves, poisoned, read, read_floats, row_major, weight};
use gradus_testing::uniform;

#[test]
fn buffers_begin_at_zero_and_keep_what_is_written() {
    let backend = backend(1);
    let mut x = backend.alloc(DType::U32, 99).unwrap();
    assert_eq!(read::<_, u32>(&backend, &x), [0; 99]);
    backend.write(&mut x, 90, &[1_u32, 2, 3]).unwrap();
    backend.zero(&mut x, 91, 1).unwrap();
    let mut part = [9_u32; 4];
    backend.read(&x, 89, &mut part).unwrap();
    assert_eq!(part, [0, 1, 0, 3]);
    let empty = backend.alloc(DType::F32, 0).unwrap();
    assert!(read::<_, f32>(&backend, &empty).is_empty());
}

#[test]
fn bad_arguments_name_the_op() {
    let backend = backend(1);
    let mut x = backend.alloc(DType::F32, 10).unwrap();
    let message = |result: gradus_ops::Result<()>| result.unwrap_err().to_string();
    assert_eq!(message(backend.write(&mut x, 9, &[0.0_f32; 2])), "write: dst has 10 elements, expected at least 11");
    assert_eq!(message(backend.read(&x, 0, &mut [0_u32; 2])), "read: src has dtype F32, expected U32");
    assert_eq!(message(backend.zero(&mut x, 11, 0)), "zero: dst has 10 elements, expected at least 11");
    let y = backend.alloc(DType::F32, 9).unwrap();
    assert_eq!(message(backend.copy(&y, 2, &mut x, 0, 8)), "copy: src has 9 elements, expected at least 10");
    assert_eq!(message(backend.copy(&y, 0, &mut x, 3, 8)), "copy: dst has 10 elements, expected at least 11");
    let halves = backend.alloc(DType::BF16, 9).unwrap();
    assert_eq!(message(backend.copy(&halves, 0, &mut x, 0, 9)), "copy: dst has dtype F32, expected BF16");
    let refused = backend.alloc_weight(2, 2, Precision::Q8).map(|_| ());
    assert!(message(refused).contains("q8_0 runs on the CPU alone"));
    match backend.alloc(DType::F32, usize::MAX) {
        Err(Error::OutOfMemory { device, .. }) => assert_eq!(device, "cuda-sim"),
        _ => panic!("all of memory was allocated"),
    }
}

#[test]
fn weights_are_those_of_the_cpu_at_every_width() {
    let (simulated, cpu) = (backend(1), CpuBackend::new(Some(1)).unwrap());
    for (rows, cols) in [(1, 1), (99, 1), (3, 8), (5, 99), (64, 24), (7, 989)] {
        let values = uniform(3, rows * cols);
        for precision in [Precision::F32, Precision::Bf16] {
            let mut found = weight(&simulated, precision, (rows, cols), &values);
            let expected = weight(&cpu, precision, (rows, cols), &values);
            assert_eq!(simulated.weight_shape(&found), (rows, cols));
            assert_eq!(simulated.weight_precision(&found), precision);
            assert_eq!(row_major(&simulated, &found), row_major(&cpu, &expected), "[{rows}, {cols}]");
            // One row in the middle, which is the last one of a single row.
            let row = rows / 2;
            simulated.load_row_major(&mut found, row, &vec![0.5; cols]).unwrap();
            let mut changed = row_major(&cpu, &expected);
            changed[row * cols..][..cols].fill(0.5);
            assert_eq!(row_major(&simulated, &found), changed);
            let mut last = vec![0.0; cols];
            simulated.store_row_major(&found, row, &mut last).unwrap();
            assert_eq!(last, vec![0.5; cols]);
            simulated.zero_weight(&mut found).unwrap();
            assert!(row_major(&simulated, &found).iter().all(|value| *value == 0.0));
        }
    }
    let mut found = simulated.alloc_weight(4, 6, Precision::Bf16).unwrap();
    assert!(simulated.load_row_major(&mut found, 0, &[0.0; 7]).is_err());
    assert!(simulated.load_row_major(&mut found, 3, &[0.0; 12]).is_err());
}

#[test]
fn copies_and_rows_are_those_of_the_cpu() {
    let (simulated, cpu) = (backend(2), CpuBackend::new(Some(1)).unwrap());
    for dim in [1, 99, 256, 989] {
        let (x, y) = (uniform(1, 7 * dim), uniform(2, 7 * dim));
        let indices = [6_u32, 0, 3, 5];
        let on_simulator = all_rows(&simulated, dim, &x, &y, &indices);
        let on_cpu = all_rows(&cpu, dim, &x, &y, &indices);
        for (index, (found, expected)) in on_simulator.into_iter().zip(on_cpu).enumerate() {
            assert_eq!(found, expected, "result {index} at dim {dim}");
        }
    }
}

/// y with a stretch of x in it, in F32 and in BF16; rows of x in both; rows of x added into y.
fn all_rows<B: Backend>(backend: &B, dim: usize, x: &[f32], y: &[f32], indices: &[u32]) -> [Vec<f32>; 5] {
    let (picked, rows) = (buffer(backend, indices), indices.len() - 1);
    let full = buffer(backend, x);
    let mut copied = buffer(backend, y);
    backend.copy(&full, dim, &mut copied, 3 * dim, 2 * dim + 1).unwrap();
    backend.copy(&full, dim, &mut copied, 7 * dim, 0).unwrap();
    let mut copied_halves = halves(backend, y);
    backend.copy(&halves(backend, x), 3, &mut copied_halves, 2, x.len() - 3).unwrap();
    let gathered = [DType::F32, DType::BF16].map(|dtype| {
        let x = if dtype == DType::F32 { buffer(backend, x) } else { halves(backend, x) };
        let mut out = poisoned(backend, dtype, rows * dim);
        backend.gather_rows(&x, &picked, 1, rows, dim, &mut out).unwrap();
        read_floats(backend, dtype, &out)
    });
    let mut scattered = buffer(backend, y);
    backend.scatter_add_rows(&full, &picked, 1, rows, dim, &mut scattered).unwrap();
    let [floats, halves] = gathered;
    [
        read(backend, &copied),
        read_floats(backend, DType::BF16, &copied_halves),
        floats,
        halves,
        read(backend, &scattered),
    ]
}

#[test]
fn pages_are_copied_whole() {
    let backend = backend(1);
    let shape = KvPageShape { attention: AttentionShape { heads: 2, kv_heads: 1, head_dim: 8 }, pages: 3 };
    let values: Vec<u32> = (0..shape.elements() as u32).collect();
    let (mut keys, mut others) = (buffer(&backend, &values), buffer(&backend, &values));
    backend.kv_copy_page(shape, 2, 0, &mut keys, &mut others).unwrap();
    backend.kv_copy_page(shape, 1, 1, &mut keys, &mut others).unwrap();
    let page = values.len() / 3;
    let expected = [&values[2 * page..], &values[page..]].concat();
    assert_eq!(read::<_, u32>(&backend, &keys), expected);
    assert_eq!(read::<_, u32>(&backend, &others), expected);
    let message = backend.kv_copy_page(shape, 3, 0, &mut keys, &mut others).unwrap_err().to_string();
    assert_eq!(message, "kv_copy_page: page 3 to page 0: there are 3 pages");
}

#[test]
fn a_fault_of_a_kernel_names_op_shape_and_device() {
    let backend = backend(1);
    let (x, indices) = (buffer(&backend, &[1.0_f32; 10]), buffer(&backend, &[0_u32, 1_000_000]));
    let mut out = poisoned(&backend, DType::F32, 10);
    let message = backend.gather_rows(&x, &indices, 0, 2, 5, &mut out).unwrap_err().to_string();
    assert!(message.starts_with("gather_rows [rows 2, dim 5] on cuda-sim (simulator): "), "{message}");
    assert!(message.contains("gather_rows_32"), "{message}");
}
