//! Random initial weights: one Philox stream for each Hugging Face tensor, so fusing or packing changes no value.

use gradus_ops::Backend;
use gradus_ops::philox::{normal_pairs, number};

use crate::{ParameterKind, Parameters, Result, stream};

/// Normal numbers from one Philox call.
const NORMALS: usize = 4;
/// Philox calls whose words become normal numbers together.
const CALLS: usize = 4;

/// Matrices and embedding normal(0, deviation), norms 1, biases 0.
pub(crate) fn randomise<B: Backend>(
    parameters: &mut Parameters<B>,
    backend: &B,
    deviation: f32,
    seed: u64,
) -> Result<()> {
    let threads = threads_of(backend)?;
    let mut values = Vec::new();
    for parameter in &mut parameters.list {
        let (kind, cols) = (parameter.kind, parameter.cols);
        for tensor in &parameter.hf {
            let stream = stream("init", 0, 0, tensor.name.as_bytes(), 0, 0);
            for (first, rows) in parameter.blocks(tensor.rows) {
                values.clear();
                values.resize(rows * cols, if kind == ParameterKind::Norm { 1.0 } else { 0.0 });
                if !kind.is_vector() {
                    fill_normal(&mut values, first * cols, deviation, seed, stream, threads);
                }
                backend.load_row_major(&mut parameter.weight, tensor.row_offset + first, &values)?;
            }
        }
    }
    Ok(())
}

/// The backend's threads; beside a device with its own memory all of the host's, which have nothing else to do.
fn threads_of<B: Backend>(backend: &B) -> Result<usize> {
    let is_device = backend.device_memory()?.is_some();
    let host = || std::thread::available_parallelism().map_or(1, usize::from);
    Ok(if is_device { host() } else { backend.threads() })
}

/// Elements `first..first + values.len()` of a tensor, `first` a multiple of [`NORMALS`]. Each is a function of its
/// index alone, so blocks and threads share the work freely.
fn fill_normal(values: &mut [f32], first: usize, deviation: f32, seed: u64, stream: u64, threads: usize) {
    let share = values.len().div_ceil(threads).next_multiple_of(NORMALS);
    std::thread::scope(|scope| {
        for (i, part) in values.chunks_mut(share).enumerate() {
            scope.spawn(move || fill_normal_range(part, first + i * share, deviation, seed, stream));
        }
    });
}

fn fill_normal_range(values: &mut [f32], first: usize, deviation: f32, seed: u64, stream: u64) {
    for (i, values) in values.chunks_mut(CALLS * NORMALS).enumerate() {
        let index = first / NORMALS + i * CALLS;
        let words: [[u32; 4]; CALLS] = std::array::from_fn(|call| number(seed, stream, (index + call) as u32, 0));
        let word = |pair: usize, half: usize| words[pair / 2][pair % 2 * 2 + half];
        let pairs: [[f32; 2]; 2 * CALLS] =
            normal_pairs(std::array::from_fn(|pair| word(pair, 0)), std::array::from_fn(|pair| word(pair, 1)));
        for (value, normal) in values.iter_mut().zip(pairs.as_flattened()) {
            *value = normal * deviation;
        }
    }
}
