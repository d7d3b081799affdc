//! The CPU backend: every op of `gradus_ops::Backend` on packed weights, a thread pool, and kernels for each instruction level.
//!
//! `model` runs on it; nothing above `crates/node` names it.

// A kernel's body takes on the instructions of the function it is inlined into (`level::dispatch!`); not inlined, it is slow.
#![allow(clippy::inline_always)]
// Loops over [f32; 16] by index are what the compiler turns into vector instructions.
#![allow(clippy::needless_range_loop)]

mod activation;
mod attention;
mod backend;
mod bfloat16;
mod blocked_signals;
mod buffer;
mod disjoint;
mod embedding;
mod floating_point;
mod lanes;
mod level;
mod math;
mod matmul;
mod memory;
mod memory_ops;
mod norm;
mod optimizer;
mod optimizer_state;
mod packing;
mod pool;
mod qk_norm;
mod region;
mod rope;
mod rows;
mod sample;
mod scratch;
mod softmax;
mod swiglu;
mod topology;
mod vector;
mod weight;

pub use buffer::{Buffer, Weight};
pub use level::Level;
pub use optimizer_state::OptimizerState;
pub use region::Region;

use gradus_ops::{Error, KEY_BLOCK, KEY_SPLIT, Result};
use pool::Pool;
use scratch::Scratch;
use std::sync::{Mutex, PoisonError};

/// The CPU as a device: an instruction level and its threads.
pub struct CpuBackend {
    pub(crate) level: Level,
    pub(crate) pool: Pool,
    /// Held by one op at a time: its tasks have all threads anyway.
    pub(crate) scratch: Mutex<Scratch>,
    /// Of the sampler, one for each thread.
    pub(crate) sampling: Vec<Mutex<sample::RowScratch>>,
    /// Keys in one split of paged attention: KEY_SPLIT, but for a planted fault.
    pub(crate) decode_split: usize,
}

impl CpuBackend {
    /// The fastest level of this machine, or the one that `GRADUS_CPU` names; `threads` is by default the number of
    /// physical cores that this process may use.
    pub fn new(threads: Option<usize>) -> Result<CpuBackend> {
        let forced = std::env::var("GRADUS_CPU").ok();
        CpuBackend::with_level(Level::select(forced.as_deref())?, threads)
    }

    /// A backend of one level, which this machine must have.
    pub fn with_level(level: Level, threads: Option<usize>) -> Result<CpuBackend> {
        let level = level.require()?;
        let threads = threads.unwrap_or_else(topology::usable_cores);
        if threads == 0 {
            return Err(Error::Invalid { op: "cpu", reason: "threads is 0, expected at least 1".into() });
        }
        let pool = Pool::new(threads).map_err(|error| Error::Invalid {
            op: "cpu",
            reason: format!("cannot start {threads} threads ({error}); ask for fewer"),
        })?;
        let sampling = (0..threads).map(|_| Mutex::default()).collect();
        Ok(CpuBackend { level, pool, scratch: Mutex::new(Scratch::new()?), sampling, decode_split: KEY_SPLIT })
    }

    /// Bytes that ops keep from call to call.
    pub(crate) fn scratch_bytes(&self) -> usize {
        let sampling = self.sampling.iter().map(|room| room.lock().unwrap_or_else(PoisonError::into_inner).bytes());
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).bytes() + sampling.sum::<usize>()
    }

    /// Test hook: generation, and it alone, splits attention after one block of keys, against the contract. A logprob difference
    /// of 0 between sampler and trainer proves something only if a fault like this makes it non-zero.
    #[must_use]
    pub fn plant_decode_split(self) -> CpuBackend {
        CpuBackend { decode_split: KEY_BLOCK, ..self }
    }
}
