//! The backend on the simulator, or on a GPU that a test is told to take, for the tests of this crate.
#![allow(dead_code)] // Each test file uses its own part.

pub mod counting;

use gradus_cuda::{CudaBackend, CudaDriver, SimDriver};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The library that `bun scripts/kernels.ts --sim` builds.
pub fn library() -> PathBuf {
    std::env::var_os(gradus_cuda::SIM_VARIABLE).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../build/kernels/libgradus_cuda_sim.so"),
        PathBuf::from,
    )
}

pub fn driver(seed: u64) -> SimDriver {
    SimDriver::open(&library(), seed).unwrap_or_else(|error| panic!("{error}"))
}

/// A backend whose threads run in an order of `seed`. GRADUS_TEST_DEVICE=cuda takes the GPU instead: the GPU bundle runs the tests there.
pub fn backend(seed: u64) -> CudaBackend {
    if std::env::var_os("GRADUS_TEST_DEVICE").is_some_and(|device| device == "cuda") {
        // One stays open: a GPU's context takes long to make, and many tests open it.
        static KEPT: OnceLock<CudaDriver> = OnceLock::new();
        let open = || CudaDriver::open().unwrap_or_else(|error| panic!("{error}"));
        KEPT.get_or_init(open);
        return CudaBackend::new(open());
    }
    CudaBackend::new(driver(seed))
}
