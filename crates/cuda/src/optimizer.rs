//! The update of a step: the sum of squares that clipping needs, and AdamW in one linear pass over a parameter, row padding included.

use crate::CudaBackend;
use crate::device::Call;
use crate::kernels::{ADAMW, AdamWFactors, AdamWParams, SUM_OF_SQUARES, SUM_OF_SQUARES_BLOCK, SumOfSquaresParams};
use crate::scratch::scratch;
use crate::weight::Weight;
use gradus_ops::{AdamW, Error, Precision, Result};

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

/// One update of a bf16 weight with its f32 master, gradient and moments.
pub(crate) fn adamw(
    backend: &CudaBackend,
    weight: &mut Weight,
    master: Option<&mut Weight>,
    gradient: &Weight,
    m: &mut Weight,
    v: &mut Weight,
    options: &AdamW,
) -> Result<()> {
    const OP: &str = "adamw";
    let (rows, cols, elements) = (weight.rows(), weight.cols(), weight.elements());
    let shape = (rows, cols);
    let Some(master) = master else {
        let reason = "a bf16 weight without a master in f32".to_owned();
        return Err(Error::Invalid { op: OP, reason });
    };
    let params = AdamWParams {
        gradient: gradient.address(OP, "gradient", shape, Precision::F32)?,
        weight: weight.address_mut(OP, "weight", shape, Precision::Bf16)?,
        master: master.address_mut(OP, "master", shape, Precision::F32)?,
        m: m.address_mut(OP, "m", shape, Precision::F32)?,
        v: v.address_mut(OP, "v", shape, Precision::F32)?,
        len: elements as u64,
        factors: factors(options)?,
    };
    let call = Call { op: OP, shape: format_args!("[{rows}, {cols}]") };
    // SAFETY: all five have one shape, and so one stride and length.
    unsafe { backend.launch(call, &ADAMW, [elements.div_ceil(ADAMW_BLOCK) as u32, 1, 1], &params) }
}

fn factors(options: &AdamW) -> Result<AdamWFactors> {
    let invalid = |reason: String| Error::Invalid { op: "adamw", reason };
    let AdamW { learning_rate, beta1, beta2, eps, weight_decay, step, gradient_scale } = *options;
    if !(0.0..1.0).contains(&beta1) || !(0.0..1.0).contains(&beta2) {
        return Err(invalid(format!("betas are {beta1} and {beta2}, expected at least 0 and below 1")));
    }
    if eps.is_nan() || eps < f32::MIN_POSITIVE {
        return Err(invalid(format!("eps is {eps}, expected more than 0: a gradient of 0 would divide 0 by 0")));
    }
    if step == 0 {
        return Err(invalid("step is 0, but updates are counted from 1".into()));
    }
    let power = |beta: f64| beta.powf(step as f64);
    let learning_rate = f64::from(learning_rate);
    Ok(AdamWFactors {
        gradient_scale,
        decay: (1.0 - learning_rate * f64::from(weight_decay)) as f32,
        rate1: (1.0 - beta1) as f32,
        beta2: beta2 as f32,
        rate2: (1.0 - beta2) as f32,
        correction2_root: (1.0 - power(beta2)).sqrt() as f32,
        eps,
        negative_step: (-learning_rate / (1.0 - power(beta1))) as f32,
    })
}
