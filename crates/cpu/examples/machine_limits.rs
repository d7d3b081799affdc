//! What this machine can do at most, and how near to it a product of this crate comes: a child of `bun run bench cpu`.
//!
//! `machine_limits limits`, `machine_limits matmul f32|bf16 M K N THREADS`, `machine_limits gemv f32|bf16|q8_0 N K THREADS`.
//! It says that it is ready in one line of JSON, measures once for each line on stdin, and ends with stdin.
#![allow(clippy::print_stdout)]
// A body that takes on the instructions of the function around it must be inlined there.
#![allow(clippy::inline_always)]

use gradus_cpu::{CpuBackend, Level};
use gradus_ops::{Backend, Precision};
use gradus_tensor::DType;
use gradus_testing::uniform;
use serde_json::{Value, json};
use std::error::Error;
use std::io::BufRead;
use std::sync::Barrier;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Time that one figure takes; what is shorter is repeated and its median taken.
const TIME_PER_FIGURE: Duration = Duration::from_millis(150);
/// Bytes read in one pass of the bandwidth: far more than any cache.
const READ_BYTES: usize = 1 << 29;
const READ_PASSES: usize = 9;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut measure = match prepare(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(measure) => measure,
        Err(error) => {
            println!("{}", json!({ "error": error.to_string() }));
            return Ok(());
        }
    };
    let backend = CpuBackend::new(None)?;
    println!("{}", json!({ "ok": { "level": backend.level(), "threads": backend.threads() } }));
    drop(backend);
    for line in std::io::stdin().lock().lines() {
        line?;
        println!("{}", measure().map_or_else(|error| json!({ "error": error.to_string() }), |ok| json!({ "ok": ok })));
    }
    Ok(())
}

type Measure = Box<dyn FnMut() -> Result<Value>>;

/// The work named by the arguments, as a function of one repeat.
fn prepare(arguments: &[&str]) -> Result<Measure> {
    match arguments {
        ["limits"] => {
            let threads = CpuBackend::new(None)?.threads();
            let memory = touched_memory();
            Ok(Box::new(move || {
                Ok(json!({
                    "f32_gflops": peak(threads, f32_peak()),
                    "bf16_gflops": peak(threads, bf16_peak()),
                    "int8_gops": peak(threads, int8_peak()),
                    "read_gbps": read_bandwidth(threads, &memory),
                }))
            }))
        }
        ["matmul", precision, m, k, n, threads] => {
            let (m, k, n, threads) = (m.parse()?, k.parse()?, n.parse()?, threads.parse()?);
            let precision = precision_named(precision)?;
            let mut product = Product::new(precision, m, k, n, threads)?;
            let kind = if precision == Precision::F32 { f32_peak() } else { bf16_peak() };
            Ok(Box::new(move || {
                // The peak before and after, so that a machine that slows down does so for both.
                let before = peak(threads, kind);
                let seconds = product.seconds()?;
                let after = peak(threads, kind);
                let limit = before.zip(after).map(|(before, after)| f64::midpoint(before, after));
                Ok(json!({ "gflops": 2e-9 * (m * n * k) as f64 / seconds, "peak_gflops": limit }))
            }))
        }
        ["gemv", precision, n, k, threads] => {
            let (k, n, threads) = (k.parse()?, n.parse()?, threads.parse()?);
            let precision = precision_named(precision)?;
            let mut product = Product::new(precision, 1, k, n, threads)?;
            let memory = touched_memory();
            let bytes = match precision {
                Precision::F32 => 4 * n * k,
                Precision::Bf16 => 2 * n * k,
                // A byte an element, and an f32 scale for every 32 of them.
                Precision::Q8 => n * k + n * k / 8,
            };
            Ok(Box::new(move || {
                let before = read_bandwidth(threads, &memory);
                let seconds = product.seconds()?;
                let limit = f64::midpoint(before, read_bandwidth(threads, &memory));
                Ok(json!({ "gbps": 1e-9 * bytes as f64 / seconds, "read_gbps": limit }))
            }))
        }
        _ => Err("expected limits, matmul PRECISION M K N THREADS or gemv PRECISION N K THREADS".into()),
    }
}

fn precision_named(name: &str) -> Result<Precision> {
    match name {
        "f32" => Ok(Precision::F32),
        "bf16" => Ok(Precision::Bf16),
        "q8_0" => Ok(Precision::Q8),
        _ => Err(format!("{name} is not a precision; there are f32, bf16, q8_0").into()),
    }
}

/// One matmul of the backend with its memory.
struct Product {
    backend: CpuBackend,
    weight: <CpuBackend as Backend>::Weight,
    x: <CpuBackend as Backend>::Buffer,
    y: <CpuBackend as Backend>::Buffer,
    m: usize,
}

impl Product {
    fn new(precision: Precision, m: usize, k: usize, n: usize, threads: usize) -> Result<Product> {
        let backend = CpuBackend::new(Some(threads))?;
        let mut weight = backend.alloc_weight(n, k, precision)?;
        let (w, x) = (uniform(1, n * k), uniform(2, m * k));
        backend.load_row_major(&mut weight, 0, &w)?;
        let mut wide = backend.alloc(DType::F32, m * k)?;
        backend.write(&mut wide, 0, &x)?;
        let y = backend.alloc(DType::F32, m * n)?;
        let mut product = Product { backend, weight, x: wide, y, m };
        product.check(&x, k, n)?;
        Ok(product)
    }

    /// A few elements against f64 over the weight as it is stored; bf16 and q8_0 round x as well.
    fn check(&mut self, x: &[f32], k: usize, n: usize) -> Result<()> {
        self.backend.matmul(&self.x, self.m, &self.weight, None, &mut self.y)?;
        let mut w = vec![0.0; n * k];
        self.backend.store_row_major(&self.weight, 0, &mut w)?;
        let mut y = vec![0.0_f32; self.m * n];
        self.backend.read(&self.y, 0, &mut y)?;
        let tolerance = if self.backend.weight_precision(&self.weight) == Precision::F32 { 1e-5 } else { 1e-2 };
        for (row, column) in [(0, 0), (self.m - 1, n - 1), (self.m / 2, n / 3)] {
            let products =
                x[row * k..][..k].iter().zip(&w[column * k..][..k]).map(|(x, w)| f64::from(*x) * f64::from(*w));
            let (expected, scale) =
                products.fold((0.0, 0.0), |(sum, scale), product| (sum + product, scale + product * product));
            let found = f64::from(y[row * n + column]);
            if (found - expected).abs() > tolerance * scale.sqrt() * 4.0 {
                return Err(
                    format!("the product is wrong: element ({row}, {column}) is {found}, expected {expected}").into()
                );
            }
        }
        Ok(())
    }

    /// Median seconds of a call.
    fn seconds(&mut self) -> Result<f64> {
        let (begin, mut seconds) = (Instant::now(), Vec::new());
        while begin.elapsed() < TIME_PER_FIGURE || seconds.len() < 3 {
            let start = Instant::now();
            self.backend.matmul(&self.x, self.m, &self.weight, None, &mut self.y)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok(median(&mut seconds))
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds and operations of some thousand instructions that only compute in registers.
type Burst = fn() -> (f64, f64);

/// 1e9 operations a second of all threads together; none where the machine lacks the instruction.
fn peak(threads: usize, burst: Option<Burst>) -> Option<f64> {
    let burst = burst?;
    let barrier = Barrier::new(threads);
    let rate = || {
        barrier.wait();
        let (begin, mut rates) = (Instant::now(), Vec::new());
        while begin.elapsed() < TIME_PER_FIGURE {
            let (seconds, operations) = burst();
            rates.push(1e-9 * operations / seconds);
        }
        median(&mut rates)
    };
    Some(on_threads(threads, |_| rate()).iter().sum())
}

/// Memory on huge pages where there are any, as the backend's own is: address translation would else be the limit.
fn touched_memory() -> Vec<u64> {
    const PAGE: usize = 2 << 20;
    let mut memory: Vec<u64> = Vec::with_capacity(READ_BYTES / 8);
    #[cfg(target_os = "linux")]
    {
        let start = memory.as_mut_ptr();
        let skip = start.cast::<u8>().align_offset(PAGE);
        // SAFETY: the range is inside the vector's own memory, and the advice changes no byte of it.
        unsafe { libc::madvise(start.cast::<u8>().add(skip).cast(), READ_BYTES - PAGE, libc::MADV_HUGEPAGE) };
    }
    memory.resize(READ_BYTES / 8, 1);
    memory
}

/// 1e9 bytes a second that all threads together read from memory, each its own part.
fn read_bandwidth(threads: usize, memory: &[u64]) -> f64 {
    let part = memory.len() / threads;
    let barrier = Barrier::new(threads);
    let passes = on_threads(threads, |thread| {
        let mine = &memory[thread * part..(thread + 1) * part];
        let mut seconds = Vec::new();
        for _ in 0..READ_PASSES {
            barrier.wait();
            let start = Instant::now();
            std::hint::black_box(sum(mine));
            barrier.wait();
            seconds.push(start.elapsed().as_secs_f64());
        }
        median(&mut seconds)
    });
    1e-9 * (part * threads * 8) as f64 / passes[0]
}

fn on_threads(threads: usize, body: impl Fn(usize) -> f64 + Sync) -> Vec<f64> {
    std::thread::scope(|scope| {
        let body = &body;
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || body(thread))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).collect()
    })
}

/// Sums 32 words at a time, so that the additions never wait for each other.
#[inline(always)]
fn sum_body(memory: &[u64]) -> u64 {
    let mut sums = [0_u64; 32];
    for words in memory.chunks_exact(32) {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |sum, part| sum.wrapping_add(*part))
}

#[cfg(target_arch = "x86_64")]
fn sum(memory: &[u64]) -> u64 {
    #[target_feature(enable = "avx2")]
    fn avx2(memory: &[u64]) -> u64 {
        sum_body(memory)
    }
    // SAFETY: entered only where the machine has AVX2.
    if is_x86_feature_detected!("avx2") { unsafe { avx2(memory) } } else { sum_body(memory) }
}

#[cfg(target_arch = "x86_64")]
mod bursts {
    use std::arch::x86_64::{
        _mm256_add_epi32, _mm256_fmadd_ps, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8,
        _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
        _mm512_set1_epi32, _mm512_set1_ps,
    };
    use std::hint::black_box;
    use std::time::Instant;

    const STEPS: usize = 100_000;

    /// Times `chains` independent sums of `STEPS` instructions of `operations` each.
    macro_rules! burst {
        ($name:ident, $features:literal, $chains:literal, $operations:literal, $zero:expr, |$sum:ident| $step:expr) => {
            pub fn $name() -> (f64, f64) {
                #[target_feature(enable = $features)]
                fn spin() -> (f64, f64) {
                    let mut sums = [black_box($zero); $chains];
                    let start = Instant::now();
                    for _ in 0..STEPS {
                        for $sum in &mut sums {
                            *$sum = $step;
                        }
                    }
                    let seconds = start.elapsed().as_secs_f64();
                    black_box(sums);
                    (seconds, ($chains * STEPS) as f64 * f64::from($operations))
                }
                // SAFETY: `f32_peak` and its like hand this function out only where the machine has the instructions.
                unsafe { spin() }
            }
        };
    }

    burst!(fma_avx2, "avx2,fma", 12, 16, _mm256_set1_ps(0.5), |sum| _mm256_fmadd_ps(
        *sum,
        _mm256_set1_ps(0.999),
        _mm256_set1_ps(0.999)
    ));
    burst!(fma_avx512, "avx512f", 16, 32, _mm512_set1_ps(0.5), |sum| _mm512_fmadd_ps(
        *sum,
        _mm512_set1_ps(0.999),
        _mm512_set1_ps(0.999)
    ));
    burst!(dot_bf16, "avx512f,avx512bf16", 16, 64, _mm512_set1_ps(0.5), |sum| {
        // SAFETY: both are 64 bytes for which every pattern is a value; 0x3f00 is 0.5.
        let x = unsafe {
            std::mem::transmute::<std::arch::x86_64::__m512i, std::arch::x86_64::__m512bh>(_mm512_set1_epi32(
                0x3f00_3f00,
            ))
        };
        _mm512_dpbf16_ps(*sum, x, x)
    });
    burst!(dot_int8, "avx512f,avx512vnni", 16, 128, _mm512_set1_epi32(1), |sum| _mm512_dpbusd_epi32(
        *sum,
        _mm512_set1_epi32(0x0101_0101),
        _mm512_set1_epi32(0x0101_0101)
    ));
    burst!(dot_int8_avx2, "avx2", 8, 64, _mm256_set1_epi32(1), |sum| {
        let pairs = _mm256_maddubs_epi16(*sum, _mm256_set1_epi8(1));
        _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    });
}

#[cfg(target_arch = "x86_64")]
fn f32_peak() -> Option<Burst> {
    match () {
        () if Level::Avx512.is_available() => Some(bursts::fma_avx512),
        () if Level::Avx2.is_available() => Some(bursts::fma_avx2),
        () => None,
    }
}

#[cfg(target_arch = "x86_64")]
fn bf16_peak() -> Option<Burst> {
    Level::Avx512Bf16.is_available().then_some(bursts::dot_bf16 as Burst)
}

#[cfg(target_arch = "x86_64")]
fn int8_peak() -> Option<Burst> {
    match () {
        () if Level::Avx512Vnni.is_available() => Some(bursts::dot_int8),
        () if Level::Avx2.is_available() => Some(bursts::dot_int8_avx2),
        () => None,
    }
}
