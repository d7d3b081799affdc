//! What the tasks of one run of the pool write: a slice of which each takes parts of its own.

use std::marker::PhantomData;

/// A mutable slice of which the tasks of one run write disjoint parts.
pub struct DisjointMut<'a, T> {
    pointer: *mut T,
    len: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: `range` demands that parts handed out do not overlap, so threads never share an element.
unsafe impl<T: Send> Sync for DisjointMut<'_, T> {}
// SAFETY: as a mutable slice of T.
unsafe impl<T: Send> Send for DisjointMut<'_, T> {}

impl<'a, T> DisjointMut<'a, T> {
    pub fn new(slice: &'a mut [T]) -> DisjointMut<'a, T> {
        DisjointMut { pointer: slice.as_mut_ptr(), len: slice.len(), lifetime: PhantomData }
    }

    /// Elements `start..start + len`. Panics outside the slice.
    ///
    /// # Safety
    /// No other part that overlaps this one may be alive.
    #[allow(clippy::mut_from_ref)]
    #[inline]
    pub unsafe fn range(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start, "part {start}+{len} of {} elements", self.len);
        // SAFETY: inside the slice, exclusively borrowed for 'a, and disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), len) }
    }

    /// The address of the first element, for kernels that write strided tiles.
    #[inline]
    pub fn as_mut_ptr(&self) -> *mut T {
        self.pointer
    }
}
