//! Counts what a test allocates, over all threads of its process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// Counts every request for memory of every thread while `COUNTING` is set. Memory that the backend maps (buffers of 2 MiB and more)
/// does not come here: tiny policies have none.
pub struct Counter;

static COUNTING: AtomicBool = AtomicBool::new(false);
/// Whether the process's first thread counts too: beside a test's own thread it is the harness's, which allocates when it likes.
static COUNTS_FIRST: AtomicBool = AtomicBool::new(false);
static REQUESTS: AtomicUsize = AtomicUsize::new(0);
/// Of the last request: tells who asked.
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn note(bytes: usize) {
    if COUNTING.load(Relaxed) && (COUNTS_FIRST.load(Relaxed) || !is_first_thread()) {
        REQUESTS.fetch_add(1, Relaxed);
        BYTES.store(bytes, Relaxed);
    }
}

#[cfg(target_os = "linux")]
fn is_first_thread() -> bool {
    // SAFETY: both calls only read who asks.
    unsafe { libc::gettid() == libc::getpid() }
}

#[cfg(not(target_os = "linux"))]
fn is_first_thread() -> bool {
    false
}

/// Requests for memory during `work`, where [`Counter`] is the global allocator.
pub fn requests(work: impl FnOnce()) -> usize {
    REQUESTS.store(0, Relaxed);
    COUNTS_FIRST.store(is_first_thread(), Relaxed);
    COUNTING.store(true, Relaxed);
    work();
    COUNTING.store(false, Relaxed);
    REQUESTS.load(Relaxed)
}

/// Bytes of the last of those requests: tells who asked.
pub fn last_request_bytes() -> usize {
    BYTES.load(Relaxed)
}
