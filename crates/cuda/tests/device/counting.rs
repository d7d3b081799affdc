//! The simulator's driver with every call counted.

use gradus_cuda::{Address, DeviceProperties, Driver, Event, Launch, SimDriver, Status, Stream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Calls since the counts were last taken; launches by kernel, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub allocations: usize,
    pub writes: usize,
    pub reads: usize,
    pub copies: usize,
    pub fills: usize,
    pub waits: usize,
    pub launches: Vec<&'static str>,
}

impl Counts {
    pub fn launches_of(&self, kernel: &str) -> usize {
        self.launches.iter().filter(|launched| launched.starts_with(kernel)).count()
    }
}

/// Where a [`Counting`] driver counts.
#[derive(Clone, Default)]
pub struct Counter(Arc<Mutex<Counts>>);

impl Counter {
    fn note(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.counts());
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted, which begins anew.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut self.counts())
    }
}

pub struct Counting {
    pub driver: SimDriver,
    pub counter: Counter,
}

// In every function: the caller's promise is passed on.
impl Driver for Counting {
    fn kind(&self) -> &'static str {
        self.driver.kind()
    }
    fn properties(&self) -> &DeviceProperties {
        self.driver.properties()
    }
    fn memory(&self) -> Status<Option<(u64, u64)>> {
        self.driver.memory()
    }
    fn stream(&self) -> Stream {
        self.driver.stream()
    }
    fn alloc(&self, bytes: usize) -> Status<Address> {
        self.counter.note(|counts| counts.allocations += 1);
        self.driver.alloc(bytes)
    }
    unsafe fn free(&self, address: Address) -> Status<()> {
        // SAFETY: see above.
        unsafe { self.driver.free(address) }
    }
    unsafe fn write(&self, stream: Stream, dst: Address, src: &[u8]) -> Status<()> {
        self.counter.note(|counts| counts.writes += 1);
        // SAFETY: see above.
        unsafe { self.driver.write(stream, dst, src) }
    }
    unsafe fn read(&self, stream: Stream, src: Address, dst: &mut [u8]) -> Status<()> {
        self.counter.note(|counts| counts.reads += 1);
        // SAFETY: see above.
        unsafe { self.driver.read(stream, src, dst) }
    }
    unsafe fn copy(&self, stream: Stream, dst: Address, src: Address, bytes: usize) -> Status<()> {
        self.counter.note(|counts| counts.copies += 1);
        // SAFETY: see above.
        unsafe { self.driver.copy(stream, dst, src, bytes) }
    }
    unsafe fn fill(&self, stream: Stream, dst: Address, value: u8, bytes: usize) -> Status<()> {
        self.counter.note(|counts| counts.fills += 1);
        // SAFETY: see above.
        unsafe { self.driver.fill(stream, dst, value, bytes) }
    }
    unsafe fn launch(&self, stream: Stream, launch: &Launch<'_>) -> Status<()> {
        self.counter.note(|counts| counts.launches.push(launch.kernel));
        // SAFETY: see above.
        unsafe { self.driver.launch(stream, launch) }
    }
    fn synchronize(&self, stream: Stream) -> Status<()> {
        self.counter.note(|counts| counts.waits += 1);
        self.driver.synchronize(stream)
    }
    fn create_event(&self) -> Status<Event> {
        self.driver.create_event()
    }
    fn record(&self, event: Event, stream: Stream) -> Status<()> {
        self.driver.record(event, stream)
    }
    fn elapsed_ms(&self, start: Event, end: Event) -> Status<f32> {
        self.driver.elapsed_ms(start, end)
    }
}
