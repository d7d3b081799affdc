//! Device memory of the CPU backend: typed buffers, and weights packed in panels of 16 rows.

use crate::memory::Memory;
use crate::pool::{DisjointMut, Pool};
use gradus_ops::{Error, Precision, Result};
use gradus_tensor::{DType, Element};

/// Rows in one panel of a packed weight: the width of the matmul's micro-kernels.
pub(crate) const PANEL: usize = 16;

/// Memory of `len` elements of one dtype.
pub struct Buffer {
    dtype: DType,
    len: usize,
    memory: Memory,
}

impl Buffer {
    pub(crate) fn zeroed(dtype: DType, len: usize) -> Result<Buffer> {
        Ok(Buffer { dtype, len, memory: Memory::zeroed(len, dtype.bytes())? })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first `len` elements; an error names `op` and `what` where the buffer is shorter or of another dtype.
    pub(crate) fn slice<T: Element>(&self, op: &'static str, what: &'static str, len: usize) -> Result<&[T]> {
        self.check::<T>(op, what, len)?;
        Ok(&bytemuck::cast_slice(self.memory.bytes())[..len])
    }

    /// As [`Buffer::slice`], to write.
    pub(crate) fn slice_mut<T: Element>(
        &mut self,
        op: &'static str,
        what: &'static str,
        len: usize,
    ) -> Result<&mut [T]> {
        self.check::<T>(op, what, len)?;
        Ok(&mut bytemuck::cast_slice_mut(self.memory.bytes_mut())[..len])
    }

    pub(crate) fn f32(&self, op: &'static str, what: &'static str, len: usize) -> Result<&[f32]> {
        self.slice(op, what, len)
    }

    pub(crate) fn f32_mut(&mut self, op: &'static str, what: &'static str, len: usize) -> Result<&mut [f32]> {
        self.slice_mut(op, what, len)
    }

    pub(crate) fn u32(&self, op: &'static str, what: &'static str, len: usize) -> Result<&[u32]> {
        self.slice(op, what, len)
    }

    pub(crate) fn u32_mut(&mut self, op: &'static str, what: &'static str, len: usize) -> Result<&mut [u32]> {
        self.slice_mut(op, what, len)
    }

    /// Sets `len` elements from `offset` to zero, whatever the dtype.
    pub(crate) fn zero(&mut self, offset: usize, len: usize) -> Result<()> {
        let end = range_end("zero", "dst", offset, len, self.len)?;
        let bytes = self.dtype.bytes();
        self.memory.bytes_mut()[offset * bytes..end * bytes].fill(0);
        Ok(())
    }

    fn check<T: Element>(&self, op: &'static str, what: &'static str, len: usize) -> Result<()> {
        if self.dtype != T::DTYPE {
            return Err(Error::DType { op, what, found: self.dtype.name(), expected: T::DTYPE.name() });
        }
        if self.len < len {
            return Err(Error::Length { op, what, found: self.len, expected: len });
        }
        Ok(())
    }
}

/// `offset + len`, or an error where that lies beyond `found` elements.
pub(crate) fn range_end(
    op: &'static str,
    what: &'static str,
    offset: usize,
    len: usize,
    found: usize,
) -> Result<usize> {
    let end = offset.saturating_add(len);
    if end > found { Err(Error::Length { op, what, found, expected: end }) } else { Ok(end) }
}

/// A parameter matrix `[rows, cols]` in f32, packed as `[ceil(rows / 16)][cols][16]`: the 16 rows of a panel lie side by
/// side, column after column, as the micro-kernels read them. Padding rows are zero and stay zero.
///
/// A vector of n is `[n, 1]`, whose elements therefore lie in order.
pub struct Weight {
    rows: usize,
    cols: usize,
    memory: Memory,
}

impl Weight {
    pub(crate) fn zeroed(rows: usize, cols: usize, precision: Precision) -> Result<Weight> {
        if precision != Precision::F32 {
            let reason = format!("{} weights are not supported on this backend", precision.name());
            return Err(Error::Invalid { op: "alloc_weight", reason });
        }
        let len = rows.checked_next_multiple_of(PANEL).and_then(|rows| rows.checked_mul(cols));
        let len = len.ok_or(Error::OutOfMemory { bytes: usize::MAX, device: "cpu" })?;
        Ok(Weight { rows, cols, memory: Memory::zeroed(len, size_of::<f32>())? })
    }

    #[allow(clippy::unused_self)]
    pub(crate) fn precision(&self) -> Precision {
        Precision::F32
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Every packed element, padding included: `[ceil(rows / 16)][cols][16]`.
    pub(crate) fn packed(&self) -> &[f32] {
        bytemuck::cast_slice(self.memory.bytes())
    }

    pub(crate) fn packed_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(self.memory.bytes_mut())
    }

    /// Where element (row, col) lies in [`Weight::packed`].
    #[inline(always)]
    pub(crate) fn index(&self, row: usize, col: usize) -> usize {
        ((row / PANEL) * self.cols + col) * PANEL + row % PANEL
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

    /// Sets rows from row-major values; `src` holds whole rows. All threads share the panels, and the first touch of their memory.
    pub(crate) fn load_row_major(&mut self, pool: &Pool, row_offset: usize, src: &[f32]) -> Result<()> {
        let rows = self.whole_rows("load_row_major", row_offset, src.len())?;
        let (cols, end) = (self.cols, row_offset + rows);
        let panels = row_offset / PANEL..end.div_ceil(PANEL);
        let packed = DisjointMut::new(self.packed_mut());
        pool.run(panels.len(), &|task| {
            let panel = panels.start + task;
            // SAFETY: each panel is taken once.
            let packed = unsafe { packed.range(panel * cols * PANEL, cols * PANEL) };
            for row in row_offset.max(panel * PANEL)..end.min((panel + 1) * PANEL) {
                let values = &src[(row - row_offset) * cols..][..cols];
                for (group, value) in packed.chunks_exact_mut(PANEL).zip(values) {
                    group[row % PANEL] = *value;
                }
            }
        });
        Ok(())
    }

    /// Reads rows into row-major order; `dst` holds whole rows.
    pub(crate) fn store_row_major(&self, row_offset: usize, dst: &mut [f32]) -> Result<()> {
        self.whole_rows("store_row_major", row_offset, dst.len())?;
        for (row, values) in (row_offset..).zip(dst.chunks_exact_mut(self.cols.max(1))) {
            let panel = &self.packed()[self.index(row / PANEL * PANEL, 0)..][..self.cols * PANEL];
            for (value, group) in values.iter_mut().zip(panel.chunks_exact(PANEL)) {
                *value = group[row % PANEL];
            }
        }
        Ok(())
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
