//! Parameters as the kernels read them: row-major, bf16 or f32, rows padded to whole 16-byte loads.

use crate::device::Device;
use crate::driver::Address;
use crate::layout::Layout;
use crate::memory::Memory;
use gradus_ops::{Error, Precision, Result};
use half::bf16;
use std::sync::Arc;

/// Rows are padded to a multiple of this many elements: 16 bytes of bf16.
const ROW_ELEMENTS: usize = 8;

/// A parameter matrix `[rows, cols]`, row-major with `stride` elements from row to row. Padding is zero and stays zero.
///
/// A weight in bf16, its gradient in f32 and the optimizer's state of it have one stride, so that the optimizer is one linear pass over
/// `rows · stride` elements. A vector of n is `[n, 1]` and lies without padding.
pub struct Weight {
    rows: usize,
    cols: usize,
    stride: usize,
    precision: Precision,
    pub(crate) memory: Memory,
}

impl Weight {
    /// F32 is for gradients: the kernels multiply bf16 alone.
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

    /// How its rows lie.
    pub(crate) fn layout(&self) -> Layout {
        Layout { rows: self.rows, cols: self.cols, stride: self.stride }
    }

    /// Sets rows from row-major values, rounded to the precision (nearest even); `src` holds whole rows.
    pub(crate) fn load_row_major(&mut self, row_offset: usize, src: &[f32]) -> Result<()> {
        const OP: &str = "load_row_major";
        match self.precision {
            Precision::Bf16 => self.layout().load(OP, &mut self.memory, row_offset, src, bf16::from_f32),
            Precision::F32 | Precision::Q8 => self.layout().load(OP, &mut self.memory, row_offset, src, |value| value),
        }
    }

    /// As [`Weight::load_row_major`] into a bf16 weight, each value rounded to the bits that `rounded` gives.
    pub(crate) fn load_rounded(
        &mut self,
        op: &'static str,
        row_offset: usize,
        src: &[f32],
        rounded: impl Fn(f32) -> u16,
    ) -> Result<()> {
        self.require(op, "weight", Precision::Bf16)?;
        self.layout().load(op, &mut self.memory, row_offset, src, rounded)
    }

    /// Reads rows into row-major order; `dst` holds whole rows.
    pub(crate) fn store_row_major(&self, row_offset: usize, dst: &mut [f32]) -> Result<()> {
        const OP: &str = "store_row_major";
        let (layout, memory) = (self.layout(), &self.memory);
        match self.precision {
            Precision::Bf16 => layout.store(OP, memory, row_offset, dst, |from: bf16, to| *to = from.to_f32()),
            Precision::F32 | Precision::Q8 => layout.store(OP, memory, row_offset, dst, |from: f32, to| *to = from),
        }
    }

    pub(crate) fn element_bytes(&self) -> usize {
        match self.precision {
            Precision::Bf16 => size_of::<bf16>(),
            Precision::F32 | Precision::Q8 => size_of::<f32>(),
        }
    }
}
