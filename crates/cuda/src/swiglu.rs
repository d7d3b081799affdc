//! The MLP's activation, silu(gate) · up, and its backward.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Call;
use crate::kernels::{SWIGLU, SWIGLU_BACKWARD, SwigluBackwardParams, SwigluParams};
use gradus_ops::Result;

/// Columns of one block.
const COLUMNS: usize = 2048;

/// out[tokens, ffn] = silu(gate) · up
pub(crate) fn swiglu(
    backend: &CudaBackend,
    gate_up: &Buffer,
    tokens: usize,
    ffn: usize,
    out: &mut Buffer,
) -> Result<()> {
    const OP: &str = "swiglu";
    let params = SwigluParams {
        gate_up: gate_up.bf16(OP, "gate_up", tokens * 2 * ffn)?,
        out: out.bf16_mut(OP, "out", tokens * ffn)?,
        tokens: tokens as u32,
        ffn: ffn as u32,
    };
    let call = Call { op: OP, shape: format_args!("[tokens {tokens}, ffn {ffn}]") };
    // SAFETY: both lengths were checked.
    unsafe { backend.launch(call, &SWIGLU, [tokens as u32, ffn.div_ceil(COLUMNS) as u32, 1], &params) }
}

/// d_gate_up[tokens, 2 · ffn] from d_out[tokens, ffn]
pub(crate) fn swiglu_backward(
    backend: &CudaBackend,
    gate_up: &Buffer,
    tokens: usize,
    ffn: usize,
    d_out: &Buffer,
    d_gate_up: &mut Buffer,
) -> Result<()> {
    const OP: &str = "swiglu_backward";
    let params = SwigluBackwardParams {
        gate_up: gate_up.bf16(OP, "gate_up", tokens * 2 * ffn)?,
        d_out: d_out.f32(OP, "d_out", tokens * ffn)?,
        d_gate_up: d_gate_up.f32_mut(OP, "d_gate_up", tokens * 2 * ffn)?,
        tokens: tokens as u32,
        ffn: ffn as u32,
    };
    let call = Call { op: OP, shape: format_args!("[tokens {tokens}, ffn {ffn}]") };
    // SAFETY: all lengths were checked.
    unsafe { backend.launch(call, &SWIGLU_BACKWARD, [tokens as u32, ffn.div_ceil(COLUMNS) as u32, 1], &params) }
}
