//! Parameters packed in panels of 16 rows, as the matmul's micro-kernels read them, in three precisions.

use crate::buffer::range_end;
use crate::disjoint::DisjointMut;
use crate::floating_point::ContractMode;
use crate::matmul::quantised::{self, BLOCK, WeightBlock};
use crate::memory::Memory;
use crate::packing;
use crate::pool::Pool;
use gradus_ops::{Error, Precision, Result};

/// Rows in one panel of a packed weight: the width of the matmul's micro-kernels.
pub(crate) const PANEL: usize = 16;

/// A parameter matrix `[rows, cols]`. The 16 rows of a panel lie side by side; rows and columns that pad it are zero and stay zero.
///
/// - f32: `[ceil(rows / 16)][cols][16]`.
/// - bf16: `[ceil(rows / 16)][ceil(cols / 2)][16]` words of two neighbours along a row (`bfloat16::pair`).
/// - q8_0: `[ceil(rows / 16)][ceil(cols / 32)]` blocks of 16 scales and 16 × 32 bytes (`WeightBlock`).
///
/// A vector of n is `[n, 1]` and in f32 whatever its precision, so its elements lie in order; a bf16 vector holds rounded values.
/// Gradients, masters and moments are f32.
pub struct Weight {
    rows: usize,
    cols: usize,
    precision: Precision,
    bytes: usize,
    memory: Memory,
}

impl Weight {
    pub(crate) fn zeroed(rows: usize, cols: usize, precision: Precision) -> Result<Weight> {
        let mut weight = Weight::unbacked(rows, cols, precision)?;
        weight.memory = Memory::zeroed(weight.bytes, 1)?;
        Ok(weight)
    }

    /// Without memory, until a region gives it some.
    pub(crate) fn unbacked(rows: usize, cols: usize, precision: Precision) -> Result<Weight> {
        let panel_bytes = match stored(cols, precision) {
            Precision::F32 => cols.checked_mul(PANEL * size_of::<f32>()),
            Precision::Bf16 => cols.div_ceil(2).checked_mul(PANEL * size_of::<u32>()),
            Precision::Q8 => cols.div_ceil(BLOCK).checked_mul(size_of::<WeightBlock>()),
        };
        let bytes = panel_bytes.and_then(|bytes| bytes.checked_mul(rows.div_ceil(PANEL)));
        let bytes = bytes.ok_or(Error::OutOfMemory { bytes: usize::MAX, device: "cpu" })?;
        Ok(Weight { rows, cols, precision, bytes, memory: Memory::default() })
    }

    /// Bytes in memory, padding included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether memory is missing.
    pub(crate) fn is_unbacked(&self) -> bool {
        self.memory.bytes().len() < self.bytes
    }

    pub(crate) fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// The precision of the elements in memory: f32 for every vector.
    pub(crate) fn stored(&self) -> Precision {
        stored(self.cols, self.precision)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Every element of a weight stored in f32, padding included: `[ceil(rows / 16)][cols][16]`.
    pub(crate) fn packed(&self) -> &[f32] {
        self.assert_stored(Precision::F32);
        bytemuck::cast_slice(self.memory.bytes())
    }

    pub(crate) fn packed_mut(&mut self) -> &mut [f32] {
        self.assert_stored(Precision::F32);
        bytemuck::cast_slice_mut(self.memory.bytes_mut())
    }

    /// Every pair of a weight stored in bf16, padding included: `[ceil(rows / 16)][ceil(cols / 2)][16]`.
    pub(crate) fn pairs(&self) -> &[u32] {
        self.assert_stored(Precision::Bf16);
        bytemuck::cast_slice(self.memory.bytes())
    }

    pub(crate) fn pairs_mut(&mut self) -> &mut [u32] {
        self.assert_stored(Precision::Bf16);
        bytemuck::cast_slice_mut(self.memory.bytes_mut())
    }

    /// Every block of a weight stored in q8_0, padding included: `[ceil(rows / 16)][ceil(cols / 32)]`.
    pub(crate) fn blocks(&self) -> &[WeightBlock] {
        self.assert_stored(Precision::Q8);
        bytemuck::cast_slice(self.memory.bytes())
    }

    /// The elements of a vector parameter of exactly `len`.
    pub(crate) fn vector(&self, op: &'static str, what: &'static str, len: usize) -> Result<&[f32]> {
        self.check_shape(op, what, len, 1)?;
        Ok(&self.packed()[..len])
    }

    pub(crate) fn vector_mut(&mut self, op: &'static str, what: &'static str, len: usize) -> Result<&mut [f32]> {
        self.check_shape(op, what, len, 1)?;
        Ok(&mut self.packed_mut()[..len])
    }

    /// An error unless the shape is `[rows, cols]`.
    pub(crate) fn check_shape(&self, op: &'static str, what: &'static str, rows: usize, cols: usize) -> Result<()> {
        if (self.rows, self.cols) == (rows, cols) {
            return Ok(());
        }
        let reason = format!("{what} is [{}, {}], expected [{rows}, {cols}]", self.rows, self.cols);
        Err(Error::Invalid { op, reason })
    }

    /// An error unless every element is an f32, as gradients, masters and moments are.
    pub(crate) fn check_f32(&self, op: &'static str, what: &'static str) -> Result<()> {
        if self.precision == Precision::F32 {
            return Ok(());
        }
        Err(Error::Invalid { op, reason: format!("{what} is in {}, expected f32", self.precision.name()) })
    }

    pub(crate) fn set_zero(&mut self) {
        self.memory.bytes_mut().fill(0);
    }

    /// Sets rows from row-major values, rounded to the precision; `src` holds whole rows. All threads share the panels, and
    /// the first touch of their memory.
    pub(crate) fn load_row_major(&mut self, pool: &Pool, row_offset: usize, src: &[f32]) -> Result<()> {
        let rows = self.whole_rows("load_row_major", row_offset, src.len())?;
        let (cols, end, precision, stored) = (self.cols, row_offset + rows, self.precision, self.stored());
        let panels = row_offset / PANEL..end.div_ceil(PANEL);
        let panel_bytes = self.panel_bytes();
        let bytes = DisjointMut::new(self.memory.bytes_mut());
        pool.run(panels.len(), &|task| {
            let panel = panels.start + task;
            // SAFETY: each panel is taken once.
            let bytes = unsafe { bytes.range(panel * panel_bytes, panel_bytes) };
            for row in row_offset.max(panel * PANEL)..end.min((panel + 1) * PANEL) {
                let values = &src[(row - row_offset) * cols..][..cols];
                match stored {
                    Precision::F32 if precision == Precision::Bf16 => {
                        packing::set_row_rounded(bytemuck::cast_slice_mut(bytes), row % PANEL, values);
                    }
                    Precision::F32 => packing::set_row(bytemuck::cast_slice_mut(bytes), row % PANEL, values),
                    Precision::Bf16 => packing::set_row_of_pairs(bytemuck::cast_slice_mut(bytes), row % PANEL, values),
                    Precision::Q8 => quantised::set_row(bytemuck::cast_slice_mut(bytes), row % PANEL, values),
                }
            }
        });
        Ok(())
    }

    /// Reads rows into row-major order; `dst` holds whole rows.
    pub(crate) fn store_row_major(&self, row_offset: usize, dst: &mut [f32]) -> Result<()> {
        let _mode = ContractMode::enter();
        self.whole_rows("store_row_major", row_offset, dst.len())?;
        for (row, values) in (row_offset..).zip(dst.chunks_exact_mut(self.cols.max(1))) {
            self.read_row(row, values);
        }
        Ok(())
    }

    /// The values of one row, exactly as every op sees them: `out[cols]`.
    #[inline(always)]
    pub(crate) fn read_row(&self, row: usize, out: &mut [f32]) {
        let panel_bytes = self.panel_bytes();
        let bytes = &self.memory.bytes()[row / PANEL * panel_bytes..][..panel_bytes];
        match self.stored() {
            Precision::F32 => packing::read_row(bytemuck::cast_slice(bytes), row % PANEL, out),
            Precision::Bf16 => packing::read_row_of_pairs(bytemuck::cast_slice(bytes), row % PANEL, out),
            Precision::Q8 => quantised::read_row(bytemuck::cast_slice(bytes), row % PANEL, out),
        }
    }

    fn panel_bytes(&self) -> usize {
        self.bytes / self.rows.div_ceil(PANEL).max(1)
    }

    fn assert_stored(&self, precision: Precision) {
        assert!(!self.is_unbacked(), "a weight that has given its memory back was read");
        assert!(self.stored() == precision, "a weight stored in {} was read as {precision:?}", self.stored().name());
    }

    fn whole_rows(&self, op: &'static str, row_offset: usize, len: usize) -> Result<usize> {
        let rows = len / self.cols.max(1);
        if rows * self.cols != len {
            let reason = format!("{len} values are not whole rows of {} columns", self.cols);
            return Err(Error::Invalid { op, reason });
        }
        range_end(op, "rows of the weight", row_offset, rows, self.rows)?;
        Ok(rows)
    }
}

fn stored(cols: usize, precision: Precision) -> Precision {
    if cols == 1 { Precision::F32 } else { precision }
}
