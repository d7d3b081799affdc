//! The driver of the simulator: kernels/sim, compiled with every kernel into one library, loaded at run time and never linked.
//!
//! Work is done when a call returns. Threads of a launch run in an order that a seed shuffles: the driver counts launches from its own seed,
//! so that a run repeats and no two launches have the same order.

use crate::driver::{Address, DeviceProperties, Driver, DriverError, Event, Launch, Status, Stream};
use libloading::Library;
use std::ffi::{CStr, CString, OsString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Names the library where it lies elsewhere.
pub const SIM_VARIABLE: &str = "GRADUS_CUDA_SIM";
/// Of kernels/sim/sim.h.
const VERSION: u32 = 1;
const FILE: &str = "libgradus_cuda_sim.so";
/// Shared memory of a block on an sm_80 GPU that asks for all.
const SHARED_BYTES_MAX: u32 = 163 << 10;

/// Why device "cuda-sim" cannot be had here, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum SimUnavailable {
    #[error(
        "there is no simulator {path}; build it with `bun scripts/kernels.ts --sim` (needs g++), or name it with {SIM_VARIABLE}",
        path = path.display()
    )]
    Missing { path: PathBuf },
    #[error("the simulator {path} cannot be used ({reason}); build it again with `bun scripts/kernels.ts --sim`", path = path.display())]
    Unusable { path: PathBuf, reason: String },
}

type Failure = *const c_char;

/// A row of the library's table, as kernels/sim/sim.h declares it.
#[repr(C)]
struct Row {
    name: *const c_char,
    params_bytes: u32,
    threads_max: u32,
    shared_bytes: u32,
}

/// A kernel of the library: what a launch of it takes.
#[derive(Clone, Debug)]
pub struct SimKernel {
    pub name: String,
    pub params_bytes: u32,
    pub threads_max: u32,
    pub shared_bytes: u32,
}

/// The functions of kernels/sim/sim.h.
struct Functions {
    alloc: unsafe extern "C" fn(u64, *mut u64) -> Failure,
    free: unsafe extern "C" fn(u64) -> Failure,
    copy_to_device: unsafe extern "C" fn(u64, *const c_void, u64) -> Failure,
    copy_to_host: unsafe extern "C" fn(*mut c_void, u64, u64) -> Failure,
    copy_on_device: unsafe extern "C" fn(u64, u64, u64) -> Failure,
    fill: unsafe extern "C" fn(u64, u8, u64) -> Failure,
    kernel: unsafe extern "C" fn(u32) -> *const Row,
    launch: unsafe extern "C" fn(*const c_char, *const u32, *const u32, u32, *const c_void, u32, u64) -> Failure,
}

/// The simulator as a device.
pub struct SimDriver {
    functions: Functions,
    properties: DeviceProperties,
    seed: AtomicU64,
    /// When each event was recorded.
    events: Mutex<Vec<Option<Instant>>>,
    /// Keeps the code of `functions` in memory: dropped last.
    _library: Library,
}

impl SimDriver {
    /// Where the library is: as `GRADUS_CUDA_SIM` says, else beside the library that this code is in, else in the repository's build folder.
    pub fn find() -> Result<PathBuf, SimUnavailable> {
        if let Some(path) = std::env::var_os(SIM_VARIABLE) {
            return Ok(PathBuf::from(path));
        }
        let own = own_library().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
        let beside = own.join(FILE);
        // The native library is packages/native/*.node.
        let built = own.join("../../build/kernels").join(FILE);
        let found = [&beside, &built].into_iter().find_map(|path| path.canonicalize().ok());
        found.ok_or(SimUnavailable::Missing { path: built })
    }

    /// Loads the library; `seed` shuffles the order of threads.
    pub fn open(path: &Path, seed: u64) -> Result<SimDriver, SimUnavailable> {
        if !path.is_file() {
            return Err(SimUnavailable::Missing { path: path.to_owned() });
        }
        let unusable = |reason: String| SimUnavailable::Unusable { path: path.to_owned(), reason };
        // SAFETY: a library of this repository, whose initialisers touch nothing of ours.
        let library = unsafe { Library::new(path) }.map_err(|error| unusable(error.to_string()))?;
        let version: unsafe extern "C" fn() -> u32 = symbol(&library, "gradus_sim_version").map_err(unusable)?;
        // SAFETY: as kernels/sim/sim.h declares it.
        let version = unsafe { version() };
        if version != VERSION {
            return Err(unusable(format!("its interface is version {version}, expected {VERSION}")));
        }
        let functions = Functions {
            alloc: symbol(&library, "gradus_sim_alloc").map_err(unusable)?,
            free: symbol(&library, "gradus_sim_free").map_err(unusable)?,
            copy_to_device: symbol(&library, "gradus_sim_copy_to_device").map_err(unusable)?,
            copy_to_host: symbol(&library, "gradus_sim_copy_to_host").map_err(unusable)?,
            copy_on_device: symbol(&library, "gradus_sim_copy_on_device").map_err(unusable)?,
            fill: symbol(&library, "gradus_sim_fill").map_err(unusable)?,
            kernel: symbol(&library, "gradus_sim_kernel").map_err(unusable)?,
            launch: symbol(&library, "gradus_sim_launch").map_err(unusable)?,
        };
        let properties = DeviceProperties {
            name: "simulator".to_owned(),
            compute_capability: (8, 0),
            multiprocessors: 1,
            shared_bytes_max: SHARED_BYTES_MAX,
            driver_version: 0,
        };
        Ok(SimDriver { functions, properties, seed: AtomicU64::new(seed), events: Mutex::default(), _library: library })
    }

    /// Every kernel of the library.
    pub fn kernels(&self) -> Vec<SimKernel> {
        let row = |index| {
            // SAFETY: the library's own table, which lives as long as it; null is its end.
            let row = unsafe { (self.functions.kernel)(index).as_ref() }?;
            // SAFETY: a name in the library's read-only memory.
            let name = unsafe { CStr::from_ptr(row.name) }.to_string_lossy().into_owned();
            let Row { params_bytes, threads_max, shared_bytes, .. } = *row;
            Some(SimKernel { name, params_bytes, threads_max, shared_bytes })
        };
        (0..).map_while(row).collect()
    }

    fn marks(&self) -> std::sync::MutexGuard<'_, Vec<Option<Instant>>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, event: Event) -> Status<Instant> {
        let mark = self.marks().get(event.0 as usize).copied().flatten();
        mark.ok_or_else(|| DriverError::failed("the event was never recorded"))
    }
}

/// One function by name. Its type is that of kernels/sim/sim.h.
fn symbol<F: Copy>(library: &Library, name: &str) -> Result<F, String> {
    // SAFETY: the caller names the type that kernels/sim/sim.h declares for this version of it.
    unsafe { library.get::<F>(name.as_bytes()) }.map(|function| *function).map_err(|error| error.to_string())
}

/// The file that this code was loaded from: the native library, or a test's own executable.
fn own_library() -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    let here = own_library as fn() -> Option<PathBuf> as *const c_void;
    // SAFETY: an address in this code, and a struct to write to.
    let found = unsafe { libc::dladdr(here, info.as_mut_ptr()) } != 0;
    // SAFETY: zeros are a whole Dl_info.
    let name = unsafe { info.assume_init() }.dli_fname;
    if !found || name.is_null() {
        return None;
    }
    // SAFETY: the loader's own text, which lives as long as the library.
    let name = unsafe { CStr::from_ptr(name) };
    let path = PathBuf::from(OsString::from_vec(name.to_bytes().to_vec()));
    path.canonicalize().ok()
}

/// A null pointer is success, else it is one line of text.
fn status(failure: Failure) -> Status<()> {
    if failure.is_null() {
        return Ok(());
    }
    // SAFETY: the library's text of this thread's last call.
    let text = unsafe { CStr::from_ptr(failure) }.to_string_lossy();
    Err(DriverError::failed(text))
}

// In every function: the library's own functions as kernels/sim/sim.h declares them; it checks every range itself.
impl Driver for SimDriver {
    fn kind(&self) -> &'static str {
        "cuda-sim"
    }

    fn properties(&self) -> &DeviceProperties {
        &self.properties
    }

    fn memory(&self) -> Status<Option<(u64, u64)>> {
        Ok(None)
    }

    fn stream(&self) -> Stream {
        Stream(0)
    }

    fn alloc(&self, bytes: usize) -> Status<Address> {
        let mut address = 0;
        // SAFETY: see above.
        status(unsafe { (self.functions.alloc)(bytes as u64, &raw mut address) })?;
        Ok(Address(address))
    }

    unsafe fn free(&self, address: Address) -> Status<()> {
        // SAFETY: see above.
        status(unsafe { (self.functions.free)(address.0) })
    }

    unsafe fn write(&self, _: Stream, dst: Address, src: &[u8]) -> Status<()> {
        // SAFETY: see above.
        status(unsafe { (self.functions.copy_to_device)(dst.0, src.as_ptr().cast(), src.len() as u64) })
    }

    unsafe fn read(&self, _: Stream, src: Address, dst: &mut [u8]) -> Status<()> {
        // SAFETY: see above.
        status(unsafe { (self.functions.copy_to_host)(dst.as_mut_ptr().cast(), src.0, dst.len() as u64) })
    }

    unsafe fn copy(&self, _: Stream, dst: Address, src: Address, bytes: usize) -> Status<()> {
        // SAFETY: see above.
        status(unsafe { (self.functions.copy_on_device)(dst.0, src.0, bytes as u64) })
    }

    unsafe fn fill(&self, _: Stream, dst: Address, value: u8, bytes: usize) -> Status<()> {
        // SAFETY: see above.
        status(unsafe { (self.functions.fill)(dst.0, value, bytes as u64) })
    }

    unsafe fn launch(&self, _: Stream, launch: &Launch<'_>) -> Status<()> {
        let name = CString::new(launch.kernel).map_err(DriverError::failed)?;
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        // SAFETY: see above; grid and block are three numbers each.
        status(unsafe {
            (self.functions.launch)(
                name.as_ptr(),
                launch.grid.as_ptr(),
                launch.block.as_ptr(),
                launch.shared_bytes,
                launch.params.as_ptr().cast(),
                launch.params.len() as u32,
                seed,
            )
        })
    }

    fn synchronize(&self, _: Stream) -> Status<()> {
        Ok(())
    }

    fn create_event(&self) -> Status<Event> {
        let mut marks = self.marks();
        marks.push(None);
        Ok(Event(marks.len() as u64 - 1))
    }

    fn record(&self, event: Event, _: Stream) -> Status<()> {
        match self.marks().get_mut(event.0 as usize) {
            Some(mark) => *mark = Some(Instant::now()),
            None => return Err(DriverError::failed("the event is not of this driver")),
        }
        Ok(())
    }

    fn elapsed_ms(&self, start: Event, end: Event) -> Status<f32> {
        let (start, end) = (self.mark(start)?, self.mark(end)?);
        Ok(end.saturating_duration_since(start).as_secs_f32() * 1e3)
    }
}
