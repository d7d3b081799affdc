//! The driver of a real GPU, loaded at run time: one library serves machines with and without one.
//!
//! Every call makes the device's context the thread's own, so that any thread may call. Kernels are loaded from the pack at their first
//! launch. A failure inside a kernel is reported by a later call: CUDA_LAUNCH_BLOCKING=1 makes it the launch's own.

use crate::driver::{Address, DeviceProperties, Driver, DriverError, Event, Launch, Status, Stream};
use crate::pack::{KernelPack, PACK_VARIABLE, PackError};
use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::{result, sys};
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Mutex, PoisonError};

/// CUDA 13.0: what the cubins of a pack need.
const DRIVER_VERSION_MIN: i32 = 13_000;
const COMPUTE_CAPABILITY_MIN: u32 = 8;

/// Why device "cuda" cannot be had here, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("there is no NVIDIA driver (libcuda.so.1); install driver 580 or newer")]
    NoDriver,
    #[error("the NVIDIA driver is for CUDA {major}.{minor}, expected 13.0 or newer; install driver 580 or newer")]
    OldDriver { major: i32, minor: i32 },
    #[error("the NVIDIA driver found no GPU ({status}); check nvidia-smi and CUDA_VISIBLE_DEVICES")]
    NoGpu { status: String },
    #[error("{name} is of compute capability {major}.{minor}, expected 8.0 (Ampere) or newer")]
    OldGpu { name: String, major: u32, minor: u32 },
    #[error(
        "this build has no GPU kernels, because nvcc was missing; install CUDA 13 (nvcc on PATH or CUDA_HOME) and run `bun run setup`, or name a kernel pack with {PACK_VARIABLE}"
    )]
    NoKernels,
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error("the NVIDIA driver failed to open the GPU: {0}")]
    Failed(#[from] DriverError),
}

/// One GPU with its primary context.
pub struct CudaDriver {
    device: sys::CUdevice,
    context: Context,
    stream: Stream,
    properties: DeviceProperties,
    pack: KernelPack,
    loaded: Mutex<Loaded>,
}

/// A handle of the driver, which any thread may use once the context is its own.
#[derive(Clone, Copy)]
struct Context(sys::CUcontext);
// SAFETY: the driver's functions may be called from every thread.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

/// Modules by name, and functions with the bytes of their parameters by name.
#[derive(Default)]
struct Loaded {
    modules: HashMap<String, sys::CUmodule>,
    functions: HashMap<&'static str, (sys::CUfunction, usize)>,
}
// SAFETY: handles of the driver, as above.
unsafe impl Send for Loaded {}

/// The driver's answer as ours: the status by name and in words.
fn status<T>(result: Result<T, result::DriverError>) -> Status<T> {
    result.map_err(|error| {
        if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            return DriverError::OutOfMemory;
        }
        let text = error.error_string().map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
        DriverError::failed(format_args!("{:?} ({text})", error.0))
    })
}

/// (name, compute capability, driver version) of the first GPU, or why there is none. Looks at no kernel.
fn first_gpu() -> Result<(sys::CUdevice, DeviceProperties), Unavailable> {
    // SAFETY: it looks for a library, and runs the initialisers of NVIDIA's if it is there.
    if !unsafe { sys::is_culib_present() } {
        return Err(Unavailable::NoDriver);
    }
    let mut version = 0;
    // SAFETY: it writes one integer, and needs no initialisation.
    status(unsafe { sys::cuDriverGetVersion(&raw mut version) }.result())?;
    // An older driver lacks functions, and cudarc panics where it does not find one.
    if version < DRIVER_VERSION_MIN {
        return Err(Unavailable::OldDriver { major: version / 1000, minor: version % 1000 / 10 });
    }
    let no_gpu = |status: String| Unavailable::NoGpu { status };
    status(result::init()).map_err(|error| no_gpu(error.to_string()))?;
    if status(result::device::get_count())? == 0 {
        return Err(no_gpu("0 devices".to_owned()));
    }
    let device = status(result::device::get(0))?;
    let attribute = |which| {
        // SAFETY: the device is the driver's own.
        status(unsafe { result::device::get_attribute(device, which) }).map(|value| value as u32)
    };
    let properties = DeviceProperties {
        name: status(result::device::get_name(device))?,
        compute_capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared_bytes_max: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        driver_version: version as u32,
    };
    Ok((device, properties))
}

/// The first GPU, whether or not there are kernels for it.
pub fn gpu_properties() -> Result<DeviceProperties, Unavailable> {
    first_gpu().map(|(_, properties)| properties)
}

impl CudaDriver {
    /// Opens the first GPU (CUDA_VISIBLE_DEVICES says which that is) with the kernels of `GRADUS_KERNELS` or of this build.
    pub fn open() -> Result<CudaDriver, Unavailable> {
        let (device, properties) = first_gpu()?;
        let (major, minor) = properties.compute_capability;
        if major < COMPUTE_CAPABILITY_MIN {
            return Err(Unavailable::OldGpu { name: properties.name, major, minor });
        }
        let pack = KernelPack::open()?;
        if pack.modules.is_empty() {
            return Err(Unavailable::NoKernels);
        }
        // SAFETY: the device is the driver's own; the context is released when self is dropped.
        let context = Context(status(unsafe { result::primary_ctx::retain(device) })?);
        // SAFETY: a context that was just retained.
        status(unsafe { result::ctx::set_current(context.0) })?;
        let stream = status(result::stream::create(result::stream::StreamKind::NonBlocking))?;
        let stream = Stream(stream as u64);
        Ok(CudaDriver { device, context, stream, properties, pack, loaded: Mutex::default() })
    }

    /// Makes the device's context the thread's.
    fn enter(&self) -> Status<()> {
        // SAFETY: the context lives as long as self.
        status(unsafe { result::ctx::set_current(self.context.0) })
    }

    /// The function of a kernel and the bytes of its parameters; its module is loaded now if it was not before.
    fn function(&self, kernel: &'static str) -> Status<(sys::CUfunction, usize)> {
        // What a panic left behind is a whole entry or none.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = loaded.functions.get(kernel) {
            return Ok(*found);
        }
        let module = self.pack.find(kernel, self.properties.compute_capability).ok_or_else(|| {
            let (major, minor) = self.properties.compute_capability;
            let (from, archs) = (&self.pack.from, self.pack.archs().join(", "));
            DriverError::failed(format_args!(
                "the kernel pack {from} ({archs}) has no {kernel} for compute capability {major}.{minor}; make it again with `bun scripts/kernels.ts`"
            ))
        })?;
        let handle = if let Some(handle) = loaded.modules.get(&module.name) {
            *handle
        } else {
            let image = self.pack.image(module);
            // SAFETY: an image that nvcc made, whole by its hash; PTX ends in a zero.
            let handle = status(unsafe { result::module::load_data(image.as_ptr().cast::<c_void>()) })?;
            loaded.modules.insert(module.name.clone(), handle);
            handle
        };
        let name = CString::new(kernel).map_err(DriverError::failed)?;
        // SAFETY: a module that is loaded, and never unloaded before self is dropped.
        let function = status(unsafe { result::module::get_function(handle, name) })?;
        let (mut offset, mut bytes) = (0, 0);
        // SAFETY: a function of the module, and two integers to write to.
        status(unsafe { sys::cuFuncGetParamInfo(function, 0, &raw mut offset, &raw mut bytes) }.result())?;
        let largest = self.properties.shared_bytes_max as i32;
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: as above. Kernels have no static shared memory, so that all of it may be dynamic.
        status(unsafe { result::function::set_function_attribute(function, attribute, largest) })?;
        loaded.functions.insert(kernel, (function, bytes));
        Ok((function, bytes))
    }
}

fn handle(stream: Stream) -> sys::CUstream {
    stream.0 as sys::CUstream
}

fn mark(event: Event) -> sys::CUevent {
    event.0 as sys::CUevent
}

// In every function: the context is current, handles are this driver's own, and ranges are the caller's promise.
impl Driver for CudaDriver {
    fn kind(&self) -> &'static str {
        "cuda"
    }

    fn properties(&self) -> &DeviceProperties {
        &self.properties
    }

    fn memory(&self) -> Status<Option<(u64, u64)>> {
        self.enter()?;
        let (free, total) = status(result::mem_get_info())?;
        Ok(Some((free as u64, total as u64)))
    }

    fn stream(&self) -> Stream {
        self.stream
    }

    fn alloc(&self, bytes: usize) -> Status<Address> {
        self.enter()?;
        // SAFETY: see above.
        status(unsafe { result::malloc_sync(bytes) }).map(Address)
    }

    unsafe fn free(&self, address: Address) -> Status<()> {
        self.enter()?;
        // SAFETY: see above. It waits for work that still uses the memory.
        status(unsafe { result::free_sync(address.0) })
    }

    unsafe fn write(&self, stream: Stream, dst: Address, src: &[u8]) -> Status<()> {
        self.enter()?;
        // SAFETY: see above. Of pageable memory the driver takes a copy before it returns.
        status(unsafe { result::memcpy_htod_async(dst.0, src, handle(stream)) })
    }

    unsafe fn read(&self, stream: Stream, src: Address, dst: &mut [u8]) -> Status<()> {
        self.enter()?;
        // SAFETY: see above; `dst` is borrowed until the stream has done it.
        status(unsafe { result::memcpy_dtoh_async(dst, src.0, handle(stream)) })?;
        self.synchronize(stream)
    }

    unsafe fn copy(&self, stream: Stream, dst: Address, src: Address, bytes: usize) -> Status<()> {
        self.enter()?;
        // SAFETY: see above.
        status(unsafe { result::memcpy_dtod_async(dst.0, src.0, bytes, handle(stream)) })
    }

    unsafe fn fill(&self, stream: Stream, dst: Address, value: u8, bytes: usize) -> Status<()> {
        self.enter()?;
        // SAFETY: see above.
        status(unsafe { result::memset_d8_async(dst.0, value, bytes, handle(stream)) })
    }

    unsafe fn launch(&self, stream: Stream, launch: &Launch<'_>) -> Status<()> {
        self.enter()?;
        let (function, params_bytes) = self.function(launch.kernel)?;
        if params_bytes != launch.params.len() {
            let found = launch.params.len();
            return Err(DriverError::failed(format_args!(
                "{} takes {params_bytes} bytes of parameters and was given {found}; the kernel pack is not of this version",
                launch.kernel
            )));
        }
        let [grid, block] = [launch.grid, launch.block].map(|[x, y, z]| (x, y, z));
        let mut params = [launch.params.as_ptr().cast::<c_void>().cast_mut()];
        // SAFETY: see above; the driver reads the one parameter, whose size was checked, before it returns.
        status(unsafe {
            result::launch_kernel(function, grid, block, launch.shared_bytes, handle(stream), &mut params)
        })
    }

    fn synchronize(&self, stream: Stream) -> Status<()> {
        self.enter()?;
        // SAFETY: see above.
        status(unsafe { result::stream::synchronize(handle(stream)) })
    }

    fn create_event(&self) -> Status<Event> {
        self.enter()?;
        let event = status(result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT))?;
        Ok(Event(event as u64))
    }

    fn record(&self, event: Event, stream: Stream) -> Status<()> {
        self.enter()?;
        // SAFETY: see above.
        status(unsafe { result::event::record(mark(event), handle(stream)) })
    }

    fn elapsed_ms(&self, start: Event, end: Event) -> Status<f32> {
        self.enter()?;
        // SAFETY: see above.
        status(unsafe { result::event::synchronize(mark(end)) })?;
        // SAFETY: see above.
        status(unsafe { result::event::elapsed(mark(start), mark(end)) })
    }
}

impl Drop for CudaDriver {
    /// Another policy may hold the same context, so that modules and the stream do not go with it. A failure has nobody to tell.
    fn drop(&mut self) {
        if self.enter().is_ok() {
            let loaded = self.loaded.get_mut().unwrap_or_else(PoisonError::into_inner);
            for module in loaded.modules.values() {
                // SAFETY: loaded by self; nothing runs any more, because whoever launched has waited or is gone.
                let _ = unsafe { result::module::unload(*module) };
            }
            // SAFETY: created in `open`, destroyed once.
            let _ = unsafe { result::stream::destroy(handle(self.stream)) };
        }
        // SAFETY: retained in `open`, released once.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}
