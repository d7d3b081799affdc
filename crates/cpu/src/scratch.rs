//! Memory that a backend's ops reuse from call to call, so that a step allocates nothing.

use crate::memory::Memory;
use gradus_ops::Result;
use std::mem::MaybeUninit;

/// Grows to the largest request and stays.
pub(crate) struct Scratch {
    memory: Memory,
}

impl Scratch {
    pub(crate) fn new() -> Result<Scratch> {
        Ok(Scratch { memory: Memory::zeroed(0, 1)? })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.memory.bytes().len()
    }

    /// `len` elements of 0.
    pub(crate) fn take_zeros(&mut self, len: usize) -> Result<&mut [f32]> {
        let elements = self.take(len)?;
        elements.fill(0.0);
        Ok(elements)
    }

    /// `len` elements whose values are left over from earlier calls.
    pub(crate) fn take<T: bytemuck::Pod>(&mut self, len: usize) -> Result<&mut [T]> {
        if self.memory.bytes().len() / size_of::<T>() < len {
            self.memory = Memory::zeroed(len, size_of::<T>())?;
        }
        let (elements, _) = self.memory.bytes_mut().split_at_mut(len * size_of::<T>());
        Ok(bytemuck::cast_slice_mut(elements))
    }
}

/// Calls with `len` elements, all 0, in a frame of their own: who takes none does not pay for the frame. Panics beyond
/// `N`.
#[inline(always)]
pub(crate) fn with_room<T: bytemuck::Pod, const N: usize>(len: usize, call: impl FnOnce(&mut [T])) {
    #[inline(never)]
    fn in_frame<T: bytemuck::Pod, const N: usize>(len: usize, call: impl FnOnce(&mut [T])) {
        let mut room = OnStack::<T, N>::new();
        call(room.take_zeros(len));
    }
    if len == 0 { call(&mut []) } else { in_frame::<T, N>(len, call) }
}

/// Room for `N` elements in a task's own frame, so that no task allocates; only the part that is taken is ever touched.
#[repr(align(64))]
pub(crate) struct OnStack<T, const N: usize>(MaybeUninit<[T; N]>);

impl<T: bytemuck::Pod, const N: usize> OnStack<T, N> {
    #[inline(always)]
    pub(crate) const fn new() -> OnStack<T, N> {
        OnStack(MaybeUninit::uninit())
    }

    /// The first `len` elements, set to 0. Panics beyond `N`.
    #[inline(always)]
    pub(crate) fn take_zeros(&mut self, len: usize) -> &mut [T] {
        assert!(len <= N, "{len} elements of {N}");
        let first = self.0.as_mut_ptr().cast::<T>();
        // SAFETY: inside the array, borrowed exclusively; zeros are a valid T, and all that the slice covers are
        // written.
        unsafe {
            std::ptr::write_bytes(first, 0, len);
            std::slice::from_raw_parts_mut(first, len)
        }
    }
}
