//! The devices that a policy can run on: what their names mean on this machine, and the one `enum` over the backends.

use crate::fault::{Fault, Result};
use crate::load::Placement;
use gradus_cpu::CpuBackend;
use gradus_cuda::{CudaBackend, CudaDriver, KernelPack, SimDriver, gpu_properties};
use gradus_ops::Precision;
use napi_derive::napi;
use std::sync::Arc;

/// Orders the simulator's threads: any number does, and a run repeats.
const SIMULATOR_SEED: u64 = 1;

/// Where the caller wants a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// A GPU for bf16 where there is one that this build has kernels for, else the CPU.
    Auto,
    Cpu,
    Cuda,
    CudaSim,
}

/// An open device: each arm is one backend.
pub enum OpenDevice {
    Cpu(Arc<CpuBackend>),
    /// A GPU, or the simulator of one.
    Cuda(Arc<CudaBackend>),
}

impl Device {
    const ALL: [(&str, Device); 4] =
        [("auto", Device::Auto), ("cpu", Device::Cpu), ("cuda", Device::Cuda), ("cuda-sim", Device::CudaSim)];

    pub fn from_name(name: &str) -> Result<Device> {
        let found = Device::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, device)| *device).ok_or_else(|| {
            let available = Device::ALL.map(|(known, _)| format!("{known:?}")).join(", ");
            Fault::unsupported(name, format!("device {name:?} is unknown; available: {available}"))
        })
    }
}

impl OpenDevice {
    /// Opens the device for a policy of `precision`, where one was asked for. Runs on the engine thread: a GPU takes a moment.
    pub fn open(placement: &Placement, precision: Option<Precision>) -> Result<OpenDevice> {
        let cpu = || Ok(OpenDevice::Cpu(Arc::new(CpuBackend::new(placement.threads)?)));
        match placement.device {
            Device::Cpu => cpu(),
            Device::Auto if !matches!(precision, None | Some(Precision::Bf16)) => cpu(),
            Device::Auto => match CudaDriver::open() {
                Ok(driver) => Ok(OpenDevice::Cuda(Arc::new(CudaBackend::new(driver)))),
                Err(_) => cpu(),
            },
            Device::Cuda => {
                require_bf16("cuda", precision)?;
                let driver = CudaDriver::open().map_err(|reason| {
                    Fault::unsupported("cuda", format!("device \"cuda\": {reason}; or take device \"cpu\""))
                })?;
                Ok(OpenDevice::Cuda(Arc::new(CudaBackend::new(driver))))
            }
            Device::CudaSim => {
                require_bf16("cuda-sim", precision)?;
                let driver = SimDriver::find().and_then(|path| SimDriver::open(&path, SIMULATOR_SEED));
                let driver = driver
                    .map_err(|reason| Fault::unsupported("cuda-sim", format!("device \"cuda-sim\": {reason}")))?;
                Ok(OpenDevice::Cuda(Arc::new(CudaBackend::new(driver))))
            }
        }
    }

    /// The precision of a policy here where none was asked for.
    pub fn default_precision(&self) -> Precision {
        match self {
            OpenDevice::Cpu(_) => Precision::F32,
            OpenDevice::Cuda(_) => Precision::Bf16,
        }
    }
}

/// The GPU's kernels multiply bf16 alone.
fn require_bf16(device: &str, precision: Option<Precision>) -> Result<()> {
    match precision {
        None | Some(Precision::Bf16) => Ok(()),
        Some(other) => {
            let name = other.name();
            let message = format!(
                "dtype {name:?} does not run on device {device:?}, which computes in bf16; take dtype \"bf16\", or device \"cpu\""
            );
            Err(Fault::unsupported(name, message))
        }
    }
}

/// What this machine and this build have for GPUs: for `doctor`.
#[napi(object)]
pub struct NativeGpuStatus {
    /// The first GPU with its driver; absent where there is none.
    pub gpu: Option<String>,
    /// Why device "cuda" cannot be had, with the remedy; absent where it can.
    pub unavailable: Option<String>,
    /// The kernel pack, or what is wrong with it.
    pub kernels: String,
    /// The simulator's library; absent where it is not built.
    pub simulator: Option<String>,
}

/// Looks for a GPU, its kernels and the simulator.
#[napi(catch_unwind)]
pub fn gpu_status() -> NativeGpuStatus {
    let gpu = gpu_properties().ok().map(|gpu| {
        let ((major, minor), version) = (gpu.compute_capability, gpu.driver_version);
        let driver = format!("driver for CUDA {}.{}", version / 1000, version % 1000 / 10);
        format!("{}, compute capability {major}.{minor}, {driver}", gpu.name)
    });
    let kernels = match KernelPack::open() {
        Ok(pack) if pack.modules.is_empty() => "none".to_owned(),
        Ok(pack) => format!("{} for {} by nvcc {}", pack.from, pack.archs().join(", "), pack.compiler),
        Err(error) => error.to_string(),
    };
    NativeGpuStatus {
        gpu,
        unavailable: CudaDriver::open().err().map(|reason| reason.to_string()),
        kernels,
        simulator: SimDriver::find().ok().map(|path| path.display().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(device: Device) -> Placement {
        Placement { device, precision: None, threads: Some(1), kv_bytes_max: None, activation_bytes_max: None }
    }

    #[test]
    fn names_are_known_or_refused() {
        assert_eq!(Device::from_name("cuda-sim").unwrap(), Device::CudaSim);
        let fault = Device::from_name("gpu").unwrap_err();
        assert_eq!(fault.code, "unsupported");
        assert!(fault.message.contains(r#""auto", "cpu", "cuda", "cuda-sim""#), "{}", fault.message);
    }

    #[test]
    fn a_gpu_takes_bf16_alone() {
        for device in [Device::Cuda, Device::CudaSim] {
            for precision in [Precision::F32, Precision::Q8] {
                let Err(fault) = OpenDevice::open(&placement(device), Some(precision)) else {
                    panic!("{precision:?} was taken")
                };
                assert!(fault.message.contains("take dtype \"bf16\""), "{}", fault.message);
            }
        }
    }

    #[test]
    fn auto_takes_the_cpu_for_what_a_gpu_does_not_have() {
        for precision in [Precision::F32, Precision::Q8] {
            let open = OpenDevice::open(&placement(Device::Auto), Some(precision)).unwrap();
            assert!(matches!(open, OpenDevice::Cpu(_)));
            assert_eq!(open.default_precision(), Precision::F32);
        }
    }
}
