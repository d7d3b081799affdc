//! Memory that ops borrow: operands of a matmul in the form that its kernel reads, and partial sums.
//!
//! An operand is bf16 with rows of whole 16-byte loads. Most activations are that already; gradients are f32 and are rounded into scratch
//! memory, and so are rows of other lengths. Scratch grows to the largest need, which the first step has, and stays.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Call;
use crate::driver::Address;
use crate::kernels::{CAST_ROWS, COPY_ROWS_BF16, CastRowsParams, CopyRowsParams};
use crate::memory::Memory;
use gradus_ops::Result;
use gradus_tensor::DType;
use std::sync::{MutexGuard, PoisonError};

/// Room for the lists of a small decode step.
const TRANSFER_BYTES_MIN: usize = 64 << 10;

/// Memory for the two operands of one op, and for its partial sums.
#[derive(Default)]
pub(crate) struct Scratch {
    operands: [Option<Memory>; 2],
    partials: Option<Memory>,
    /// Of [`crate::transfers`]: lists on the device, and on the host.
    transfer: Option<Memory>,
    pub(crate) host: Vec<u8>,
}

/// A matrix in bf16 with `stride` elements from row to row.
#[derive(Clone, Copy)]
pub(crate) struct Operand {
    pub address: Address,
    pub stride: u32,
}

/// The backend's scratch, held by one op at a time. What it enqueues may use it after the lock is gone, because the next op's work comes later
/// in the same stream.
pub(crate) fn scratch(backend: &CudaBackend) -> MutexGuard<'_, Scratch> {
    // A panic leaves whole memory or none.
    backend.scratch.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scratch {
    pub(crate) fn bytes(&self) -> usize {
        self.operands.iter().chain([&self.partials, &self.transfer]).flatten().map(Memory::bytes).sum()
    }

    /// `x[rows, cols]`, F32 or BF16, as an operand; `slot` is 0 or 1, one for each operand of the op.
    pub(crate) fn operand(
        &mut self,
        backend: &CudaBackend,
        call: Call<'_>,
        slot: usize,
        (what, x): (&'static str, &Buffer),
        (rows, cols): (usize, usize),
    ) -> Result<Operand> {
        let dtype = if x.dtype() == DType::BF16 { DType::BF16 } else { DType::F32 };
        let from = x.address(call.op, what, dtype, rows * cols)?;
        let stride = cols.next_multiple_of(8);
        if dtype == DType::BF16 && stride == cols {
            return Ok(Operand { address: from, stride: cols as u32 });
        }
        let to = grown(backend, &mut self.operands[slot], rows * stride * DType::BF16.bytes())?;
        let (m, n, ld_from, ld_to) = (rows as u32, cols as u32, cols as u32, stride as u32);
        if dtype == DType::BF16 {
            let blocks = [m, ld_to.div_ceil(COPY_ROWS_BF16.threads), 1];
            let params = CopyRowsParams { from, to, m, n, ld_from, ld_to };
            // SAFETY: the length of x was checked, and the slot has rows · stride elements.
            unsafe { backend.launch(call, &COPY_ROWS_BF16, blocks, &params)? };
        } else {
            let blocks = [m, ld_to.div_ceil(4 * CAST_ROWS.threads), 1];
            let params = CastRowsParams { from, to, m, n, ld_from, ld_to };
            // SAFETY: as above.
            unsafe { backend.launch(call, &CAST_ROWS, blocks, &params)? };
        }
        Ok(Operand { address: to, stride: ld_to })
    }

    /// Room for a transfer of `bytes` bytes. It doubles, because lists grow from step to step.
    pub(crate) fn transfer(&mut self, backend: &CudaBackend, bytes: usize) -> Result<&mut Memory> {
        let held = self.transfer.take().filter(|memory| memory.bytes() >= bytes);
        let memory = match held {
            Some(memory) => memory,
            None => Memory::zeroed(&backend.device, bytes.next_power_of_two().max(TRANSFER_BYTES_MIN), 1)?,
        };
        Ok(self.transfer.insert(memory))
    }

    /// Room for `bytes` bytes of partial sums.
    pub(crate) fn partials(&mut self, backend: &CudaBackend, bytes: usize) -> Result<Address> {
        grown(backend, &mut self.partials, bytes)
    }

    /// Reads the first partial sums, and waits for them.
    pub(crate) fn read_partials(&self, op: &'static str, bytes: &mut [u8]) -> Result<()> {
        self.partials.as_ref().map_or(Ok(()), |partials| partials.read(op, 0, bytes))
    }
}

fn grown(backend: &CudaBackend, held: &mut Option<Memory>, bytes: usize) -> Result<Address> {
    let memory = match held.take().filter(|memory| memory.bytes() >= bytes) {
        Some(memory) => memory,
        None => Memory::zeroed(&backend.device, bytes, 1)?,
    };
    Ok(held.insert(memory).address())
}
