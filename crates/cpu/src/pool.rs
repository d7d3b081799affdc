//! The thread pool of a backend: every op cuts its work into tasks that the threads claim from atomic counters.
//!
//! Each thread has a stretch of the tasks, the same share in every op, so that rows stay in its caches from op to op; when its own is
//! done it takes from the others', because a busy neighbour on one core must not hold up the whole op. Which thread runs a task never
//! changes a result. Idle workers spin for a moment (the next op follows within microseconds), then sleep.

use crate::blocked_signals::BlockedSignals;
use crate::floating_point::ContractMode;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than the gap between two ops of a step, short enough to leave the core to others between steps.
const SPIN: Duration = Duration::from_micros(50);

/// Of (task, thread).
type Body = dyn Fn(usize, usize) + Sync;

/// A set of threads; the thread that calls [`Pool::run`] is one of them.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held during a run: one at a time.
    running: Mutex<()>,
}

/// What the caller and the workers share.
///
/// A run is published by `open = true` and ended by `open = false`. A worker counts itself into `inside` before it looks
/// at `open`, and the caller waits for `inside == 0` after it closed, both sequentially consistent: so a worker either
/// is waited for or sees the run closed, and never touches a job that is gone.
struct Shared {
    job: UnsafeCell<Option<Job>>,
    open: AtomicBool,
    inside: OwnLine<AtomicUsize>,
    /// The next task of each thread's own stretch of the tasks.
    next: Box<[OwnLine<AtomicUsize>]>,
    /// Number of runs published, so that a worker knows whether it has seen the present one.
    runs: OwnLine<AtomicUsize>,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// The caller sleeps here until the last worker is out.
    left: Mutex<()>,
    all_left: Condvar,
}

/// Alone in its cache lines (two, as the hardware fetches them), so that threads which look at one counter do not slow down those
/// that change another.
#[repr(align(128))]
struct OwnLine<T>(T);

#[derive(Clone, Copy)]
struct Job {
    tasks: usize,
    body: *const Body,
}

// SAFETY: `job` is written only while the run is closed and no worker is inside, and read only inside an open run (see
// `Shared`); the body it points to is Sync.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is followed only during the run that lent it.
unsafe impl Send for Shared {}

thread_local! {
    /// Whether this thread is inside a task: a nested run is then done by this thread alone.
    static IN_TASK: Cell<bool> = const { Cell::new(false) };
}

impl Pool {
    /// Starts `threads - 1` workers (the caller is the other one) with all signals blocked, and waits until each is at work: what a thread
    /// allocates as it starts never falls into a step.
    pub fn new(threads: usize) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared {
            job: UnsafeCell::new(None),
            open: AtomicBool::new(false),
            inside: OwnLine(AtomicUsize::new(0)),
            next: (0..threads.max(1)).map(|_| OwnLine(AtomicUsize::new(0))).collect(),
            runs: OwnLine(AtomicUsize::new(0)),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
            left: Mutex::new(()),
            all_left: Condvar::new(),
        });
        let mut pool = Pool { shared, workers: Vec::new(), running: Mutex::new(()) };
        let _signals = BlockedSignals::new();
        let (started, starts) = std::sync::mpsc::channel();
        for index in 1..threads {
            let (shared, started) = (Arc::clone(&pool.shared), started.clone());
            let builder = std::thread::Builder::new().name(format!("gradus-cpu-{index}"));
            let body = move || {
                // Nobody listens where a later thread could not be started; the pool then ends.
                let _ = started.send(());
                drop(started);
                shared.work(index);
            };
            pool.workers.push(builder.spawn(body)?);
        }
        drop(started);
        starts.iter().for_each(drop);
        Ok(pool)
    }

    /// Threads that take tasks, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `body(0)`, …, `body(tasks - 1)`, each once, on any threads and in any order, in the contract's floating-point
    /// mode, and returns when all are done. A panic in a task is raised again here after the others have finished.
    pub fn run(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        self.run_on_threads(tasks, &|task, _| body(task));
    }

    /// As [`Pool::run`] with `body(task, thread)`: the tasks that are given one number below [`Pool::threads`] run one after another.
    pub fn run_on_threads(&self, tasks: usize, body: &(dyn Fn(usize, usize) + Sync)) {
        let _mode = ContractMode::enter();
        if tasks <= 1 || self.workers.is_empty() || IN_TASK.get() {
            (0..tasks).for_each(|task| body(task, 0));
            return;
        }
        let _running = lock(&self.running);
        // SAFETY: only the lifetime is erased; the pointer is used inside this run alone, which ends before `body` does.
        let body: *const Body = unsafe { std::mem::transmute::<&(dyn Fn(usize, usize) + Sync), &'static Body>(body) };
        let job = Job { tasks, body };
        // SAFETY: the last run is closed and left by all, and `running` keeps other callers out.
        unsafe { *self.shared.job.get() = Some(job) };
        for (thread, next) in self.shared.next.iter().enumerate() {
            next.0.store(self.shared.stretch(job, thread).start, Ordering::Relaxed);
        }
        self.shared.open.store(true, Ordering::SeqCst);
        self.shared.runs.0.fetch_add(1, Ordering::SeqCst);
        for worker in self.workers.iter().take(tasks - 1) {
            worker.thread().unpark();
        }
        self.shared.take_tasks(job, 0);
        self.shared.open.store(false, Ordering::SeqCst);
        self.shared.wait_until_left();
        let panic = lock(&self.shared.panic).take();
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches every panic of a task, so there is nothing to report here.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// A worker's life: wait for a run, take part in it, again.
    fn work(&self, thread: usize) {
        let _mode = ContractMode::enter();
        let mut seen = 0;
        while self.wait_for_run(&mut seen) {
            self.inside.0.fetch_add(1, Ordering::SeqCst);
            if self.open.load(Ordering::SeqCst) {
                // SAFETY: counted inside an open run, so the caller leaves `job` alone until this worker is out.
                if let Some(job) = unsafe { *self.job.get() } {
                    self.take_tasks(job, thread);
                }
            }
            if self.inside.0.fetch_sub(1, Ordering::SeqCst) == 1 && !self.open.load(Ordering::SeqCst) {
                drop(lock(&self.left));
                self.all_left.notify_all();
            }
        }
    }

    /// False when the pool stops.
    fn wait_for_run(&self, seen: &mut usize) -> bool {
        let mut arrived = || {
            let runs = self.runs.0.load(Ordering::SeqCst);
            let arrived = runs != *seen;
            *seen = runs;
            arrived
        };
        loop {
            if spin_until(|| self.stop.load(Ordering::SeqCst) || arrived()) {
                return !self.stop.load(Ordering::SeqCst);
            }
            // A run published between the last look and this line has left a token that makes park return at once.
            std::thread::park();
        }
    }

    /// The tasks that a thread takes first: those of the same rows fall to the same thread in op after op, whose caches then have them.
    fn stretch(&self, job: Job, thread: usize) -> Range<usize> {
        let threads = self.next.len();
        job.tasks * thread / threads..job.tasks * (thread + 1) / threads
    }

    /// Takes the tasks of a thread's own stretch, then what others have left of theirs.
    fn take_tasks(&self, job: Job, thread: usize) {
        IN_TASK.set(true);
        let threads = self.next.len();
        for other in (thread..threads).chain(0..thread) {
            let (next, end) = (&self.next[other].0, self.stretch(job, other).end);
            // Looked at before it is changed, so that a stretch that is done costs the others nothing.
            while next.load(Ordering::Relaxed) < end {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= end {
                    break;
                }
                // SAFETY: the body outlives the run, and this thread is inside it.
                let body = unsafe { &*job.body };
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| body(task, thread))) {
                    lock(&self.panic).get_or_insert(payload);
                }
            }
        }
        IN_TASK.set(false);
    }

    fn wait_until_left(&self) {
        if spin_until(|| self.inside.0.load(Ordering::SeqCst) == 0) {
            return;
        }
        let mut guard = lock(&self.left);
        while self.inside.0.load(Ordering::SeqCst) != 0 {
            guard = self.all_left.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Spins until `condition` holds (true) or [`SPIN`] has passed (false).
fn spin_until(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        for _ in 0..64 {
            if condition() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.elapsed() > SPIN {
            return false;
        }
    }
}

/// No invariant of these mutexes can be broken by a panic of their holder.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `body(start, end)` over `0..len` cut into ranges of `grain` (the last one may be shorter).
pub fn run_ranges(pool: &Pool, len: usize, grain: usize, body: &(dyn Fn(usize, usize) + Sync)) {
    let grain = grain.max(1);
    pool.run(len.div_ceil(grain), &|task| body(task * grain, ((task + 1) * grain).min(len)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_on_any_number_of_threads() {
        for threads in 1..=4 {
            let pool = Pool::new(threads).unwrap();
            assert_eq!(pool.threads(), threads);
            for tasks in [0, 1, 2, 7, 1000] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, &|task| {
                    counts[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn a_thread_takes_its_own_stretch_and_what_a_slower_one_leaves() {
        let pool = Pool::new(2).unwrap();
        let barrier = std::sync::Barrier::new(2);
        let begun: [AtomicUsize; 2] = [const { AtomicUsize::new(usize::MAX) }; 2];
        pool.run_on_threads(10, &|task, thread| {
            if begun[thread].load(Ordering::SeqCst) == usize::MAX {
                begun[thread].store(task, Ordering::SeqCst);
                barrier.wait();
            }
        });
        assert_eq!([0, 1].map(|thread| begun[thread].load(Ordering::SeqCst)), [0, 5]);
        // Then one waits in its first task until all others are done, which only the other thread can do.
        let takers: Vec<AtomicUsize> = (0..10).map(|_| AtomicUsize::new(usize::MAX)).collect();
        let waiting = AtomicUsize::new(usize::MAX);
        pool.run_on_threads(10, &|task, thread| {
            takers[task].store(thread, Ordering::SeqCst);
            let is_first = waiting.compare_exchange(usize::MAX, task, Ordering::SeqCst, Ordering::SeqCst).is_ok();
            while is_first && takers.iter().any(|taker| taker.load(Ordering::SeqCst) == usize::MAX) {
                std::thread::yield_now();
            }
        });
        let waited = waiting.load(Ordering::SeqCst);
        let taker = takers[waited].load(Ordering::SeqCst);
        assert!(
            takers.iter().enumerate().all(|(task, other)| task == waited || other.load(Ordering::SeqCst) == 1 - taker)
        );
    }

    #[test]
    fn many_short_runs_from_several_callers_neither_lose_nor_repeat_a_task() {
        let (pool, total) = (Pool::new(3).unwrap(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        pool.run(5, &|task| {
                            total.fetch_add(task + 1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(total.load(Ordering::Relaxed), 3 * 2000 * 15);
    }

    #[test]
    fn a_panic_reaches_the_caller_after_the_other_tasks_and_the_pool_lives_on() {
        let (pool, finished) = (Pool::new(2).unwrap(), AtomicUsize::new(0));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.run(100, &|task| {
                assert!(task != 3, "task three");
                finished.fetch_add(1, Ordering::Relaxed);
            });
        }));
        let payload = outcome.unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"task three"));
        assert_eq!(finished.load(Ordering::Relaxed), 99);
        pool.run(10, &|_| {
            finished.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(finished.load(Ordering::Relaxed), 109);
    }

    #[test]
    fn a_run_inside_a_task_is_done_by_its_thread() {
        let (pool, total) = (Pool::new(2).unwrap(), AtomicUsize::new(0));
        pool.run(8, &|_| {
            pool.run(8, &|_| {
                total.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(total.load(Ordering::Relaxed), 64);
    }

    #[test]
    fn every_thread_flushes_denormals_and_workers_block_signals() {
        let pool = Pool::new(2).unwrap();
        let caller = std::thread::current().id();
        let (by_worker, flushed, blocked) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicBool::new(false));
        while !by_worker.load(Ordering::SeqCst) {
            flushed.store(0, Ordering::SeqCst);
            pool.run(64, &|_| {
                let half = std::hint::black_box(f32::MIN_POSITIVE) * std::hint::black_box(0.5);
                flushed.fetch_add(usize::from(half == 0.0), Ordering::SeqCst);
                if std::thread::current().id() != caller {
                    by_worker.store(true, Ordering::SeqCst);
                    blocked.store(signal_is_blocked(libc::SIGINT), Ordering::SeqCst);
                }
                std::thread::yield_now();
            });
            assert_eq!(flushed.load(Ordering::SeqCst), if cfg!(target_arch = "x86_64") { 64 } else { 0 });
        }
        assert!(blocked.load(Ordering::SeqCst));
        assert!(!signal_is_blocked(libc::SIGINT));
    }

    fn signal_is_blocked(signal: i32) -> bool {
        // SAFETY: reads this thread's mask into a live set.
        unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut mask);
            libc::sigismember(&raw const mask, signal) == 1
        }
    }
}
