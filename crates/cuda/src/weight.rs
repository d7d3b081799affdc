//! Parameters as the kernels read them: row-major, bf16 or f32, rows padded to whole 16-byte loads.

use crate::buffer::range_end;
use crate::device::Device;
use crate::driver::Address;
use crate::memory::Memory;
use gradus_ops::{Error, Precision, Result};
use half::bf16;
use half::slice::HalfFloatSliceExt;
use std::sync::Arc;

/// Rows are padded to a multiple of this many elements: 16 bytes of bf16.
const ROW_ELEMENTS: usize = 8;
/// Most elements that travel between host and device at once.
const CHUNK_ELEMENTS: usize = 1 << 20;

/// A parameter matrix `[rows, cols]`, row-major with `stride` elements from row to row. Padding is zero and stays zero.
///
/// A weight in bf16 and its gradient, master and moments in f32 have one stride, so that the optimizer is one linear pass over
/// `rows · stride` elements. A vector of n is `[n, 1]` and lies without padding.
pub struct Weight {
    rows: usize,
    cols: usize,
    stride: usize,
    precision: Precision,
    pub(crate) memory: Memory,
}

impl Weight {
    /// F32 is for gradients, masters and moments: the kernels multiply bf16 alone.
    pub(crate) fn zeroed(device: &Arc<Device>, rows: usize, cols: usize, precision: Precision) -> Result<Weight> {
        let mut weight = Weight::unbacked(device, rows, cols, precision)?;
        weight.memory = Memory::zeroed(device, weight.elements(), weight.element_bytes())?;
        Ok(weight)
    }

    /// Without memory, until a region gives it some.
    pub(crate) fn unbacked(device: &Arc<Device>, rows: usize, cols: usize, precision: Precision) -> Result<Weight> {
        let stride = if cols == 1 { 1 } else { cols.next_multiple_of(ROW_ELEMENTS) };
        if precision == Precision::Q8 {
            let reason = "q8_0 runs on the CPU alone; take dtype \"bf16\", or device \"cpu\"".to_owned();
            return Err(Error::Invalid { op: "alloc_weight", reason });
        }
        let out_of_memory = Error::OutOfMemory { bytes: usize::MAX, device: device.driver.kind() };
        rows.checked_mul(stride).and_then(|elements| elements.checked_mul(size_of::<f32>())).ok_or(out_of_memory)?;
        Ok(Weight { rows, cols, stride, precision, memory: Memory::none(device) })
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from one row to the next.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Elements in memory, padding included.
    pub(crate) fn elements(&self) -> usize {
        self.rows * self.stride
    }

    /// Where it lies; an error unless it is `[rows, cols]` of `precision`.
    pub(crate) fn address(
        &self,
        op: &'static str,
        what: &'static str,
        (rows, cols): (usize, usize),
        precision: Precision,
    ) -> Result<Address> {
        if (self.rows, self.cols) != (rows, cols) {
            let reason = format!("{what} is [{}, {}], expected [{rows}, {cols}]", self.rows, self.cols);
            return Err(Error::Invalid { op, reason });
        }
        self.require(op, what, precision)?;
        if self.memory.bytes() < self.elements() * self.element_bytes() {
            return Err(Error::Invalid { op, reason: format!("{what} has given its memory back") });
        }
        Ok(self.memory.address())
    }

    /// As [`Weight::address`], for an output: it borrows the weight as one.
    pub(crate) fn address_mut(
        &mut self,
        op: &'static str,
        what: &'static str,
        shape: (usize, usize),
        precision: Precision,
    ) -> Result<Address> {
        self.address(op, what, shape, precision)
    }

    /// An error unless its elements are of `precision`.
    pub(crate) fn require(&self, op: &'static str, what: &'static str, precision: Precision) -> Result<()> {
        if self.precision == precision {
            return Ok(());
        }
        let (found, expected) = (self.precision.name(), precision.name());
        Err(Error::Invalid { op, reason: format!("{what} is in {found}, expected {expected}") })
    }

    pub(crate) fn set_zero(&mut self) -> Result<()> {
        self.memory.zero("zero_weight", 0, self.memory.bytes())
    }

    /// Sets rows from row-major values, rounded to the precision (nearest even); `src` holds whole rows.
    pub(crate) fn load_row_major(&mut self, row_offset: usize, src: &[f32]) -> Result<()> {
        const OP: &str = "load_row_major";
        self.whole_rows(OP, row_offset, src.len())?;
        let Weight { cols, stride, precision, .. } = *self;
        let (mut floats, mut halves) = (Vec::new(), Vec::new());
        let rows_at_once = (CHUNK_ELEMENTS / stride.max(1)).max(1);
        let mut row = row_offset;
        for chunk in src.chunks((rows_at_once * cols).max(1)) {
            let rows = chunk.len() / cols;
            floats.clear();
            floats.resize(rows * stride, 0.0);
            for (padded, values) in floats.chunks_exact_mut(stride).zip(chunk.chunks_exact(cols)) {
                padded[..cols].copy_from_slice(values);
            }
            let bytes: &[u8] = if precision == Precision::Bf16 {
                halves.resize(floats.len(), bf16::ZERO);
                halves.convert_from_f32_slice(&floats);
                bytemuck::cast_slice(&halves)
            } else {
                bytemuck::cast_slice(&floats)
            };
            self.memory.write(OP, row * stride * self.element_bytes(), bytes)?;
            row += rows;
        }
        Ok(())
    }

    /// Reads rows into row-major order; `dst` holds whole rows.
    pub(crate) fn store_row_major(&self, row_offset: usize, dst: &mut [f32]) -> Result<()> {
        const OP: &str = "store_row_major";
        self.whole_rows(OP, row_offset, dst.len())?;
        let Weight { cols, stride, precision, .. } = *self;
        let (mut floats, mut halves) = (Vec::new(), Vec::new());
        let rows_at_once = (CHUNK_ELEMENTS / stride.max(1)).max(1);
        let mut row = row_offset;
        for chunk in dst.chunks_mut((rows_at_once * cols).max(1)) {
            let rows = chunk.len() / cols;
            let offset = row * stride * self.element_bytes();
            floats.resize(rows * stride, 0.0);
            if precision == Precision::Bf16 {
                halves.resize(rows * stride, bf16::ZERO);
                self.memory.read(OP, offset, bytemuck::cast_slice_mut(&mut halves))?;
                halves.convert_to_f32_slice(&mut floats);
            } else {
                self.memory.read(OP, offset, bytemuck::cast_slice_mut(&mut floats))?;
            }
            for (values, padded) in chunk.chunks_exact_mut(cols).zip(floats.chunks_exact(stride)) {
                values.copy_from_slice(&padded[..cols]);
            }
            row += rows;
        }
        Ok(())
    }

    pub(crate) fn element_bytes(&self) -> usize {
        match self.precision {
            Precision::Bf16 => size_of::<bf16>(),
            Precision::F32 | Precision::Q8 => size_of::<f32>(),
        }
    }

    fn whole_rows(&self, op: &'static str, row_offset: usize, len: usize) -> Result<()> {
        let rows = len / self.cols.max(1);
        if rows * self.cols != len {
            let reason = format!("{len} values are not whole rows of {} columns", self.cols);
            return Err(Error::Invalid { op, reason });
        }
        range_end(op, "rows of the weight", row_offset, rows, self.rows)?;
        Ok(())
    }
}
