//! Rotary positions, and their inverse on gradients.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Call;
use crate::kernels::{ROPE, ROPE_BACKWARD, RopeParams};
use gradus_ops::{Result, RopeShape};
use gradus_tensor::DType;

/// In place on the query and key heads of qkv[rows, qkv_dim].
pub(crate) fn rope(
    backend: &CudaBackend,
    shape: RopeShape,
    table: &Buffer,
    positions: &Buffer,
    qkv: &mut Buffer,
) -> Result<()> {
    rotate(backend, ("rope", &ROPE, DType::BF16), shape, table, positions, qkv)
}

/// The inverse rotation on the gradient, in F32.
pub(crate) fn rope_backward(
    backend: &CudaBackend,
    shape: RopeShape,
    table: &Buffer,
    positions: &Buffer,
    d_qkv: &mut Buffer,
) -> Result<()> {
    rotate(backend, ("rope_backward", &ROPE_BACKWARD, DType::F32), shape, table, positions, d_qkv)
}

fn rotate(
    backend: &CudaBackend,
    (op, kernel, dtype): (&'static str, &crate::kernels::Kernel<RopeParams>, DType),
    RopeShape { attention, rows, positions_max }: RopeShape,
    table: &Buffer,
    positions: &Buffer,
    qkv: &mut Buffer,
) -> Result<()> {
    let params = RopeParams {
        table: table.f32(op, "table", positions_max * attention.head_dim)?,
        positions: positions.u32(op, "positions", rows)?,
        qkv: qkv.address_mut(op, "qkv", dtype, rows * attention.qkv_dim())?,
        rows: rows as u32,
        heads: (attention.heads + attention.kv_heads) as u32,
        head_dim: attention.head_dim as u32,
        ld: attention.qkv_dim() as u32,
    };
    let call = Call { op, shape: format_args!("[rows {rows}, {attention:?}]") };
    // SAFETY: lengths were checked; positions below the table's are the caller's part of the op.
    unsafe { backend.launch(call, kernel, [rows as u32, 1, 1], &params) }
}
