//! Keeps signals away from the threads of the pool.

/// All signals blocked in this thread until dropped; threads spawned meanwhile keep them blocked, so that the process's
/// handlers (JavaScript's) never run on a worker.
pub(crate) struct BlockedSignals {
    former: libc::sigset_t,
}

impl BlockedSignals {
    pub(crate) fn new() -> BlockedSignals {
        // SAFETY: plain calls on two live signal sets; a zeroed set is a valid value to overwrite.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut former: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut former);
            BlockedSignals { former }
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: restores the mask that `new` read.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.former, std::ptr::null_mut()) };
    }
}
