//! Activations as ops read and write them: rows of f32 or bf16, sixteen elements at a time, computed in f32.

use crate::buffer::Buffer;
use crate::pool::{Pool, run_ranges};
use crate::vector::Vector;
use gradus_ops::{Error, LANES, Result};
use gradus_tensor::{DType, Element};
use half::bf16;

/// Elements of one task: some 5 µs of work. Less is done sooner by the calling thread alone than by waking another one.
pub(crate) const TASK_ELEMENTS: usize = 8 * 1024;

/// An element type of activations. A bf16 is rounded once, as it is stored.
pub(crate) trait Activation: Element {
    const ZERO: Self;
    fn load<V: Vector>(x: &[Self; LANES]) -> V;
    fn store<V: Vector>(value: V, x: &mut [Self; LANES]);
}

impl Activation for f32 {
    const ZERO: f32 = 0.0;
    #[inline(always)]
    fn load<V: Vector>(x: &[f32; LANES]) -> V {
        V::load(x)
    }
    #[inline(always)]
    fn store<V: Vector>(value: V, x: &mut [f32; LANES]) {
        value.store(x);
    }
}

impl Activation for bf16 {
    const ZERO: bf16 = bf16::ZERO;
    #[inline(always)]
    fn load<V: Vector>(x: &[bf16; LANES]) -> V {
        V::load_bf16(x)
    }
    #[inline(always)]
    fn store<V: Vector>(value: V, x: &mut [bf16; LANES]) {
        value.store_bf16(x);
    }
}

/// Fewer than 16 elements; lanes past the end hold 0.
#[inline(always)]
pub(crate) fn load_rest<V: Vector, T: Activation>(x: &[T]) -> V {
    let mut lanes = [T::ZERO; LANES];
    lanes[..x.len()].copy_from_slice(x);
    T::load(&lanes)
}

/// The first lanes of `value`, as many as `x` has elements.
#[inline(always)]
pub(crate) fn store_rest<V: Vector, T: Activation>(value: V, x: &mut [T]) {
    let mut lanes = [T::ZERO; LANES];
    T::store(value, &mut lanes);
    x.copy_from_slice(&lanes[..x.len()]);
}

/// Whether an activation buffer is BF16; an error where it is neither F32 nor BF16.
pub(crate) fn is_bf16(op: &'static str, what: &'static str, buffer: &Buffer) -> Result<bool> {
    match buffer.dtype() {
        DType::F32 => Ok(false),
        DType::BF16 => Ok(true),
        other => Err(Error::DType { op, what, found: other.name(), expected: "F32 or BF16" }),
    }
}

/// Runs `body(start, end)` over ranges of `rows` rows of `dim` elements, as many for each thread.
pub(crate) fn run_rows(pool: &Pool, rows: usize, dim: usize, body: &(dyn Fn(usize, usize) + Sync)) {
    let tasks = (rows * dim).div_ceil(TASK_ELEMENTS);
    let tasks = if tasks > 1 { tasks.next_multiple_of(pool.threads()) } else { 1 };
    run_ranges(pool, rows, rows.div_ceil(tasks), body);
}
