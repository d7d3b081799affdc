//! The update of a step: the sum of squares that clipping needs, and AdamW in one linear pass over a parameter, row padding included.

use crate::CudaBackend;
use crate::device::Call;
use crate::kernels::{ADAMW, AdamWParams, SUM_OF_SQUARES, SUM_OF_SQUARES_BLOCK, SumOfSquaresParams};
use crate::optimizer_state::{Addresses, OptimizerState};
use crate::scratch::scratch;
use crate::weight::Weight;
use gradus_ops::{AdamW, Precision, Result};

/// Elements of one block of `adamw`.
const ADAMW_BLOCK: usize = 1024;

/// Σ of squares over all matrices: partial sums of fixed blocks on the device, added in order here. Waits.
pub(crate) fn sum_of_squares<'a>(backend: &CudaBackend, weights: impl Iterator<Item = &'a Weight>) -> Result<f64> {
    const OP: &str = "sum_of_squares";
    let weights: Vec<&Weight> = weights.collect();
    let blocks_of = |weight: &Weight| weight.elements().div_ceil(SUM_OF_SQUARES_BLOCK);
    let blocks: usize = weights.iter().map(|weight| blocks_of(weight)).sum();
    let mut scratch = scratch(backend);
    let mut partials = scratch.partials(backend, blocks * size_of::<f64>())?;
    for weight in weights {
        let values = weight.address(OP, "a gradient", (weight.rows(), weight.cols()), Precision::F32)?;
        let params = SumOfSquaresParams { values, partials, len: weight.elements() as u64 };
        let call = Call { op: OP, shape: format_args!("[{}, {}]", weight.rows(), weight.cols()) };
        // SAFETY: the length is the weight's own, and the scratch has a partial sum for each block.
        unsafe { backend.launch(call, &SUM_OF_SQUARES, [blocks_of(weight) as u32, 1, 1], &params)? };
        partials = partials.offset(blocks_of(weight) * size_of::<f64>());
    }
    let mut sums = vec![0.0_f64; blocks];
    scratch.read_partials(OP, bytemuck::cast_slice_mut(&mut sums))?;
    Ok(sums.iter().sum())
}

/// One update of a bf16 weight with its remainders, gradient and moments.
pub(crate) fn adamw(
    backend: &CudaBackend,
    weight: &mut Weight,
    state: &mut OptimizerState,
    gradient: &Weight,
    options: &AdamW,
) -> Result<()> {
    const OP: &str = "adamw";
    let (rows, cols, elements) = (weight.rows(), weight.cols(), weight.elements());
    let shape = (rows, cols);
    let Addresses { remainder, m, v } = state.addresses(OP, shape)?;
    let halves = |number: u64| [number as u32, (number >> 32) as u32];
    let params = AdamWParams {
        gradient: gradient.address(OP, "gradient", shape, Precision::F32)?,
        weight: weight.address_mut(OP, "weight", shape, Precision::Bf16)?,
        remainder,
        m,
        v,
        len: elements as u64,
        factors: options.factors()?,
        seed: halves(options.seed),
        stream: halves(options.stream),
    };
    let call = Call { op: OP, shape: format_args!("[{rows}, {cols}]") };
    // SAFETY: all five have one shape, and so one stride and length.
    unsafe { backend.launch(call, &ADAMW, [elements.div_ceil(ADAMW_BLOCK) as u32, 1, 1], &params) }
}
