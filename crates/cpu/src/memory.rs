//! Zeroed, aligned host memory: what buffers and weights stand on.
//!
//! Failure to allocate is an error, never an abort: a run that does not fit must say so.

use crate::region::Lease;
use gradus_ops::{Error, Result};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// One cache line, and the widest vector.
const ALIGNMENT: usize = 64;
/// From this size on memory is mapped at huge-page borders: fewer address translations, and zero pages come lazily, on
/// the thread that first touches them.
const HUGE_PAGE: usize = 2 << 20;

/// `bytes` bytes, at least 64-byte aligned.
pub(crate) struct Memory {
    pointer: NonNull<u8>,
    bytes: usize,
    source: Source,
    /// Set on what a region counts. Goes last, when the memory itself is gone.
    lease: Option<Lease>,
}

enum Source {
    Empty,
    Heap(Layout),
    Mapping {
        start: *mut libc::c_void,
        bytes: usize,
    },
    /// A part of a region, which the lease frees.
    Region,
}

// SAFETY: plain memory, owned exclusively; shared access is read-only.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Default for Memory {
    /// No bytes.
    fn default() -> Memory {
        Memory { pointer: NonNull::<Line>::dangling().cast(), bytes: 0, source: Source::Empty, lease: None }
    }
}

impl Memory {
    /// Part of a region.
    ///
    /// # Safety
    /// As long as the lease lives, `bytes` initialised bytes from `pointer` are there for this memory alone.
    pub(crate) unsafe fn lent(pointer: NonNull<u8>, bytes: usize, lease: Lease) -> Memory {
        Memory { pointer, bytes, source: Source::Region, lease: Some(lease) }
    }

    /// The same, counted by a region that has no room for it.
    pub(crate) fn counted(self, lease: Lease) -> Memory {
        let mut memory = self;
        memory.lease = Some(lease);
        memory
    }

    pub(crate) fn first(&self) -> NonNull<u8> {
        self.pointer
    }

    /// `len` elements of `element_bytes` each.
    pub(crate) fn zeroed(len: usize, element_bytes: usize) -> Result<Memory> {
        let out_of_memory = |bytes| Error::OutOfMemory { bytes, device: "cpu" };
        let bytes = len.checked_mul(element_bytes).ok_or(out_of_memory(usize::MAX))?;
        let memory = match bytes {
            0 => Some(Memory::default()),
            1..HUGE_PAGE => Memory::heap(bytes),
            _ => Memory::mapping(bytes),
        };
        memory.ok_or(out_of_memory(bytes))
    }

    fn heap(bytes: usize) -> Option<Memory> {
        let layout = Layout::from_size_align(bytes, ALIGNMENT).ok()?;
        // SAFETY: the layout is not empty.
        let pointer = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Memory { pointer, bytes, source: Source::Heap(layout), lease: None })
    }

    fn mapping(bytes: usize) -> Option<Memory> {
        let mapped = bytes.checked_next_multiple_of(HUGE_PAGE)?.checked_add(HUGE_PAGE)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), mapped, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        let skip = start.align_offset(HUGE_PAGE);
        // SAFETY: one huge page more than needed was mapped, so the aligned start and `bytes` after it lie inside.
        let pointer = unsafe { start.cast::<u8>().add(skip) };
        // SAFETY: advice about our own mapping; refusal changes speed alone.
        #[cfg(target_os = "linux")]
        unsafe {
            libc::madvise(pointer.cast(), mapped - skip, libc::MADV_HUGEPAGE);
        }
        let pointer = NonNull::new(pointer)?;
        Some(Memory { pointer, bytes, source: Source::Mapping { start, bytes: mapped }, lease: None })
    }

    /// Bytes that the machine's memory holds: pages of a mapping that nothing has touched are still free.
    pub(crate) fn resident_bytes(&self) -> usize {
        match self.source {
            #[cfg(target_os = "linux")]
            Source::Mapping { start, bytes } => resident_bytes(start, bytes).unwrap_or(bytes),
            _ => self.bytes,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `bytes` initialised bytes that self owns.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.bytes) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.bytes) }
    }
}

#[repr(align(64))]
struct Line;

/// Of a mapping of whole pages; none where the kernel does not tell.
#[cfg(target_os = "linux")]
fn resident_bytes(start: *mut libc::c_void, bytes: usize) -> Option<usize> {
    // SAFETY: reads a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    let mut pages = vec![0_u8; bytes.div_ceil(page)];
    // SAFETY: the mapping is live, and there is a byte for each of its pages.
    if unsafe { libc::mincore(start, bytes, pages.as_mut_ptr()) } != 0 {
        return None;
    }
    Some(page * pages.iter().filter(|&page| page & 1 == 1).count())
}

impl Drop for Memory {
    fn drop(&mut self) {
        match self.source {
            Source::Empty | Source::Region => {}
            // SAFETY: allocated with this very layout.
            Source::Heap(layout) => unsafe { dealloc(self.pointer.as_ptr(), layout) },
            // SAFETY: the whole mapping made in `mapping`; unmapping it cannot fail.
            Source::Mapping { start, bytes } => unsafe {
                libc::munmap(start, bytes);
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zeroed_and_aligned_at_every_size() {
        for (len, alignment) in
            [(0, 64), (1, 64), (1000, 64), (HUGE_PAGE - 1, 64), (HUGE_PAGE, HUGE_PAGE), (5 << 20, HUGE_PAGE)]
        {
            let mut memory = Memory::zeroed(len, 1).unwrap();
            assert_eq!(memory.bytes().as_ptr().align_offset(alignment), 0);
            assert_eq!(memory.bytes().len(), len);
            assert!(memory.bytes().iter().all(|byte| *byte == 0));
            memory.bytes_mut().fill(7);
        }
    }

    #[test]
    fn what_nothing_has_touched_is_not_resident() {
        let mut memory = Memory::zeroed(64 << 20, 1).unwrap();
        assert!(memory.resident_bytes() < 4 << 20, "{}", memory.resident_bytes());
        memory.bytes_mut()[..16 << 20].fill(7);
        let found = memory.resident_bytes();
        assert!((16 << 20..32 << 20).contains(&found), "{found}");
        assert_eq!(Memory::zeroed(1000, 1).unwrap().resident_bytes(), 1000);
    }

    #[test]
    fn what_cannot_fit_is_an_error() {
        for (len, bytes) in [(usize::MAX, usize::MAX), (1 << 60, 1 << 62), (1 << 46, 1 << 48)] {
            match Memory::zeroed(len, 4) {
                Err(Error::OutOfMemory { bytes: found, .. }) => assert_eq!(found, bytes),
                _ => panic!("{len} elements were allocated"),
            }
        }
    }
}
