//! Rows of device memory on their way from and to row-major f32: padded, and each element converted, a chunk at a time.

use crate::buffer::range_end;
use crate::memory::Memory;
use gradus_ops::{Error, Result};

/// Most elements that travel between host and device at once.
const CHUNK_ELEMENTS: usize = 1 << 20;

/// How a parameter lies in memory: `[rows, cols]` with `stride` elements from row to row, whatever the element.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
}

impl Layout {
    /// Sets rows from row-major values, each as `element` gives it, and their padding to zero; `src` holds whole rows.
    pub(crate) fn load<T: bytemuck::Pod>(
        self,
        op: &'static str,
        memory: &mut Memory,
        row_offset: usize,
        src: &[f32],
        element: impl Fn(f32) -> T,
    ) -> Result<()> {
        self.check(op, row_offset, src.len())?;
        let Layout { cols, stride, .. } = self;
        let mut elements = Vec::new();
        let mut row = row_offset;
        for chunk in src.chunks(self.chunk_elements()) {
            elements.clear();
            elements.resize(chunk.len() / cols * stride, T::zeroed());
            for (padded, values) in elements.chunks_exact_mut(stride).zip(chunk.chunks_exact(cols)) {
                for (to, value) in padded.iter_mut().zip(values) {
                    *to = element(*value);
                }
            }
            memory.write(op, row * stride * size_of::<T>(), bytemuck::cast_slice(&elements))?;
            row += chunk.len() / cols;
        }
        Ok(())
    }

    /// Hands each element of some rows to `value`, with its place in row-major order; `dst` holds whole rows. Waits.
    pub(crate) fn store<T: bytemuck::Pod>(
        self,
        op: &'static str,
        memory: &Memory,
        row_offset: usize,
        dst: &mut [f32],
        value: impl Fn(T, &mut f32),
    ) -> Result<()> {
        self.check(op, row_offset, dst.len())?;
        let Layout { cols, stride, .. } = self;
        let mut elements = Vec::new();
        let mut row = row_offset;
        for chunk in dst.chunks_mut(self.chunk_elements()) {
            elements.resize(chunk.len() / cols * stride, T::zeroed());
            memory.read(op, row * stride * size_of::<T>(), bytemuck::cast_slice_mut(&mut elements))?;
            for (values, padded) in chunk.chunks_exact_mut(cols).zip(elements.chunks_exact(stride)) {
                for (to, element) in values.iter_mut().zip(padded) {
                    value(*element, to);
                }
            }
            row += chunk.len() / cols;
        }
        Ok(())
    }

    /// Values of a chunk: whole rows.
    fn chunk_elements(self) -> usize {
        ((CHUNK_ELEMENTS / self.stride.max(1)).max(1) * self.cols).max(1)
    }

    fn check(self, op: &'static str, row_offset: usize, len: usize) -> Result<()> {
        let rows = len / self.cols.max(1);
        if rows * self.cols != len {
            let reason = format!("{len} values are not whole rows of {} columns", self.cols);
            return Err(Error::Invalid { op, reason });
        }
        range_end(op, "rows of the weight", row_offset, rows, self.rows)?;
        Ok(())
    }
}
