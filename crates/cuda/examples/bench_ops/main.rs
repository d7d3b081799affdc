//! `bench_ops GROUP [--small] [--device cuda-sim]`: times the ops of one group on the device, a JSON line a row.
//!
//! A row tells the op by `kind` and `shape`, so that benchmarks/gpu/torch_ops.py can time the same work of the peers. --small takes shapes
//! that the simulator and compute-sanitizer can run: its figures mean nothing.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)] // A program: what fails ends it, in the op's own words.

mod attention;
mod contract;
mod loss;
mod matmul;
mod memory_bound;

use gradus_cuda::{CudaBackend, CudaDriver, SimDriver};
use gradus_ops::{Backend, Precision, Result};
use gradus_testing::uniform;
use std::process::ExitCode;

/// Values that are repeated to fill large operands: enough to look random to a chip, and made in no time.
const POOL: usize = 1 << 20;
/// Runs before anything is timed: kernels are loaded and scratch grows at an op's first one. And as many that tell how long one takes.
const WARM_UP_RUNS: usize = 2;
const SAMPLES: usize = 7;
/// One sample is at least so long: events tell half a microsecond.
const SAMPLE_MS: f32 = 4.0;

/// What a row's figure counts.
#[derive(Clone, Copy)]
pub enum Amount {
    /// Floating-point operations: TFLOP/s.
    Flops(f64),
    /// Bytes that must move: GB/s.
    Bytes(f64),
    /// Nothing: milliseconds.
    Time,
}

impl Amount {
    fn figure(self, ms: f64) -> f64 {
        match self {
            Amount::Flops(flops) => flops / ms / 1e9,
            Amount::Bytes(bytes) => bytes / ms / 1e6,
            Amount::Time => ms,
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Amount::Flops(_) => "TFLOP/s",
            Amount::Bytes(_) => "GB/s",
            Amount::Time => "ms",
        }
    }
}

/// The device and how to run on it.
pub struct Bench {
    pub backend: CudaBackend,
    pub small: bool,
}

impl Bench {
    /// `large`, or `small` where figures do not matter.
    pub fn size(&self, large: usize, small: usize) -> usize {
        if self.small { small } else { large }
    }

    /// Times `op` and prints its row. `shape` is JSON's inside of an object.
    pub fn row(&self, kind: &str, shape: &str, amount: Amount, op: impl FnMut() -> Result<()>) {
        let figures: Vec<f64> = self.samples_ms(op).into_iter().map(|ms| amount.figure(ms)).collect();
        self.figures(kind, shape, amount.unit(), &figures, "");
    }

    /// Prints a row of figures.
    pub fn figures(&self, kind: &str, shape: &str, unit: &str, figures: &[f64], note: &str) {
        let note = if note.is_empty() { String::new() } else { format!(",\"note\":\"{note}\"") };
        println!("{{\"kind\":\"{kind}\",\"shape\":{{{shape}}},\"unit\":\"{unit}\",\"repeats\":{figures:?}{note}}}");
    }

    /// Milliseconds of one run of `op`, a figure for each sample.
    pub fn samples_ms(&self, mut op: impl FnMut() -> Result<()>) -> Vec<f64> {
        let runs = if self.small { 1 } else { WARM_UP_RUNS };
        if !self.small {
            (0..runs).try_for_each(|_| op()).unwrap();
            self.backend.synchronize().unwrap();
        }
        let once_ms = self.backend.elapsed_ms(|| (0..runs).try_for_each(|_| op())).unwrap() / runs as f32;
        let repeats = if self.small { 1 } else { (SAMPLE_MS / once_ms).ceil().clamp(1.0, 1000.0) as usize };
        let samples = if self.small { 1 } else { SAMPLES };
        let sample = || self.backend.elapsed_ms(|| (0..repeats).try_for_each(|_| op())).unwrap();
        std::iter::repeat_with(sample).take(samples).map(|ms| f64::from(ms) / repeats as f64).collect()
    }

    /// A buffer of random bf16 values.
    pub fn halves(&self, len: usize) -> <CudaBackend as Backend>::Buffer {
        let pool: Vec<half::bf16> = uniform(1, POOL.min(len)).into_iter().map(half::bf16::from_f32).collect();
        let mut buffer = self.backend.alloc(gradus_tensor::DType::BF16, len).unwrap();
        for offset in (0..len).step_by(POOL) {
            self.backend.write(&mut buffer, offset, &pool[..POOL.min(len - offset)]).unwrap();
        }
        buffer
    }

    /// A buffer of random f32 values.
    pub fn floats(&self, len: usize) -> <CudaBackend as Backend>::Buffer {
        let pool = uniform(2, POOL.min(len));
        let mut buffer = self.backend.alloc(gradus_tensor::DType::F32, len).unwrap();
        for offset in (0..len).step_by(POOL) {
            self.backend.write(&mut buffer, offset, &pool[..POOL.min(len - offset)]).unwrap();
        }
        buffer
    }

    /// A random matrix.
    pub fn weight(&self, rows: usize, cols: usize, precision: Precision) -> <CudaBackend as Backend>::Weight {
        let mut weight = self.backend.alloc_weight(rows, cols, precision).unwrap();
        let rows_at_once = (POOL / cols).clamp(1, rows);
        let pool = uniform(3, rows_at_once * cols);
        for row in (0..rows).step_by(rows_at_once) {
            let values = &pool[..rows_at_once.min(rows - row) * cols];
            self.backend.load_row_major(&mut weight, row, values).unwrap();
        }
        weight
    }
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| given.iter().any(|argument| argument == flag);
    let opened = if has("cuda-sim") {
        SimDriver::find()
            .and_then(|path| SimDriver::open(&path, 1))
            .map(CudaBackend::new)
            .map_err(|error| error.to_string())
    } else {
        CudaDriver::open().map(CudaBackend::new).map_err(|error| error.to_string())
    };
    let bench = match opened {
        Ok(backend) => Bench { backend, small: has("--small") },
        Err(reason) => {
            eprintln!("bench_ops: {reason}");
            return ExitCode::from(3);
        }
    };
    match given.first().map(String::as_str) {
        Some("matmul") => matmul::run(&bench),
        Some("contract") => contract::run(&bench),
        Some("attention") => attention::run(&bench),
        Some("loss") => loss::run(&bench),
        Some("memory") => memory_bound::run(&bench),
        _ => {
            eprintln!("usage: bench_ops matmul|contract|attention|loss|memory [--small] [--device cuda-sim]");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
