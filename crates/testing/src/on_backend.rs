//! Short ways in and out of any backend's memory, for test bodies that run on every one of them.

use gradus_ops::{Backend, OptimizerValues, Precision};
use gradus_tensor::{DType, Element};
use half::bf16;

/// A buffer that holds `values`.
pub fn buffer<B: Backend, T: Element>(backend: &B, values: &[T]) -> B::Buffer {
    let mut buffer = expect(backend.alloc(T::DTYPE, values.len()));
    expect(backend.write(&mut buffer, 0, values));
    buffer
}

/// A buffer that holds `values` rounded to bf16.
pub fn halves<B: Backend>(backend: &B, values: &[f32]) -> B::Buffer {
    let values: Vec<bf16> = values.iter().map(|value| bf16::from_f32(*value)).collect();
    buffer(backend, &values)
}

/// An output that an op must overwrite: all NaN, in F32 or BF16.
pub fn poisoned<B: Backend>(backend: &B, dtype: DType, len: usize) -> B::Buffer {
    match dtype {
        DType::BF16 => halves(backend, &vec![f32::NAN; len]),
        _ => buffer(backend, &vec![f32::NAN; len]),
    }
}

/// All elements of a buffer of `T`.
pub fn read<B: Backend, T: Element>(backend: &B, buffer: &B::Buffer) -> Vec<T> {
    let mut values = vec![T::zeroed(); backend.len(buffer)];
    expect(backend.read(buffer, 0, &mut values));
    values
}

/// All elements of an F32 or BF16 buffer, in f32.
pub fn read_floats<B: Backend>(backend: &B, dtype: DType, buffer: &B::Buffer) -> Vec<f32> {
    match dtype {
        DType::BF16 => read(backend, buffer).into_iter().map(bf16::to_f32).collect(),
        _ => read(backend, buffer),
    }
}

/// A weight `[rows, cols]` with `values`, rounded to its precision.
pub fn weight<B: Backend>(
    backend: &B,
    precision: Precision,
    (rows, cols): (usize, usize),
    values: &[f32],
) -> B::Weight {
    let mut weight = expect(backend.alloc_weight(rows, cols, precision));
    expect(backend.load_row_major(&mut weight, 0, values));
    weight
}

/// A weight's values, row-major.
pub fn row_major<B: Backend>(backend: &B, weight: &B::Weight) -> Vec<f32> {
    let (rows, cols) = backend.weight_shape(weight);
    let mut values = vec![0.0; rows * cols];
    expect(backend.store_row_major(weight, 0, &mut values));
    values
}

/// The optimizer's state of `weight`, with these moments.
pub fn moments<B: Backend>(backend: &B, weight: &mut B::Weight, m: &[f32], v: &[f32]) -> B::OptimizerState {
    let mut state = expect(backend.alloc_optimizer(weight));
    for (values, src) in [(OptimizerValues::FirstMoment, m), (OptimizerValues::SecondMoment, v)] {
        expect(backend.load_optimizer(values, weight, &mut state, 0, src));
    }
    state
}

/// One list of the optimizer's state of `weight`, row-major.
pub fn optimizer_values<B: Backend>(
    backend: &B,
    values: OptimizerValues,
    weight: &B::Weight,
    state: &B::OptimizerState,
) -> Vec<f32> {
    let (rows, cols) = backend.weight_shape(weight);
    let mut dst = vec![0.0; rows * cols];
    expect(backend.store_optimizer(values, weight, state, 0, &mut dst));
    dst
}

/// Each value rounded to bf16.
pub fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|value| bf16::from_f32(*value).to_f32()).collect()
}

/// The value, or a failed test that says what the op did.
pub fn expect<T>(result: gradus_ops::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
