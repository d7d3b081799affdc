//! Prints how near each matmul comes to what this machine can do: to its multiply-add peak, or, where weights stream from
//! memory, to its read bandwidth, both measured beside:
//! `cargo run --release -p gradus-cpu --example matmul_rate [f32|bf16] [THREADS] [M]`.
#![allow(clippy::print_stdout)]

use gradus_cpu::CpuBackend;
use gradus_ops::{Backend, Precision, Result};
use gradus_tensor::DType;
use gradus_testing::uniform;
use std::time::{Duration, Instant};

/// (m, n, k): the products of a model of half a billion parameters, one row, a few rows, many; then of two small models.
const SHAPES: [(usize, usize, usize); 22] = [
    (1, 9728, 896),
    (1, 896, 4864),
    (1, 151_936, 896),
    (2, 9728, 896),
    (4, 9728, 896),
    (8, 9728, 896),
    (8, 896, 4864),
    (8, 151_936, 896),
    (16, 9728, 896),
    (64, 512, 256),
    (64, 256, 256),
    (64, 1376, 256),
    (64, 256, 688),
    (64, 512, 256),
    (16, 1024, 512),
    (16, 512, 512),
    (16, 2816, 512),
    (16, 512, 1408),
    (16, 4096, 512),
    (512, 4864, 896),
    (512, 896, 4864),
    (2048, 2048, 2048),
];
const TIME_PER_FIGURE: Duration = Duration::from_millis(120);
/// Weights of more bytes than this cannot stay in a cache from one call to the next.
const CACHE_BYTES: usize = 24 << 20;
const READ_BYTES: usize = 1 << 30;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let named = arguments.next();
    let threads: Option<usize> = arguments.next().and_then(|threads| threads.parse().ok());
    let rows: Option<usize> = arguments.next().and_then(|rows| rows.parse().ok());
    let backend = CpuBackend::new(threads)?;
    let threads = backend.threads();
    println!("level {}, {threads} threads; GFLOP/s (% of peak), or GB/s of weights (% of bandwidth)", backend.level());
    for precision in [Precision::F32, Precision::Bf16] {
        if named.as_ref().is_some_and(|name| name != precision.name()) {
            continue;
        }
        // The fastest of a few tries: others may be using the machine.
        let peak = fastest_of(10, || peak(precision, threads));
        let bandwidth = fastest_of(4, || read_bandwidth(threads));
        println!("{}: peak {peak:.0} GFLOP/s, bandwidth {bandwidth:.1} GB/s", precision.name());
        println!(
            "{:>6} {:>7} {:>5}  {:>22} {:>22} {:>22}",
            "m", "n", "k", "forward", "backward input", "backward weight"
        );
        for shape @ (m, n, k) in SHAPES.into_iter().filter(|(m, _, _)| rows.is_none_or(|rows| *m == rows)) {
            let bytes = precision.activations().bytes() * n * k;
            let column = |seconds: f64| {
                let (rate, stream) = (2e-9 * (m * n * k) as f64 / seconds, 1e-9 * bytes as f64 / seconds);
                if bytes > CACHE_BYTES && m <= 16 {
                    format!("{stream:.1} GB/s ({:.0}%, {:.0}%)", 100.0 * stream / bandwidth, 100.0 * rate / peak)
                } else {
                    format!("{rate:.0} ({:.0}%) {:.1} us", 100.0 * rate / peak, 1e6 * seconds)
                }
            };
            let [forward, input, gradient] = seconds(&backend, precision, shape)?.map(column);
            println!("{m:>6} {n:>7} {k:>5}  {forward:>22} {input:>22} {gradient:>22}");
        }
    }
    Ok(())
}

/// Seconds of the three products of one shape, in the dtypes that a policy of this precision has.
fn seconds(backend: &CpuBackend, precision: Precision, (m, n, k): (usize, usize, usize)) -> Result<[f64; 3]> {
    let (mut weight, mut d_weight) =
        (backend.alloc_weight(n, k, precision)?, backend.alloc_weight(n, k, Precision::F32)?);
    // Untouched memory is one page of zeros, which would measure nothing.
    backend.load_row_major(&mut weight, 0, &uniform(1, n * k))?;
    backend.load_row_major(&mut d_weight, 0, &uniform(2, n * k))?;
    let mut x = backend.alloc(precision.activations(), m * k)?;
    let values = uniform(2, m * k);
    match precision.activations() {
        DType::BF16 => {
            let values: Vec<half::bf16> = values.into_iter().map(half::bf16::from_f32).collect();
            backend.write(&mut x, 0, &values)?;
        }
        _ => backend.write(&mut x, 0, &values)?,
    }
    let (mut y, mut d_y, mut d_x) = (
        backend.alloc(precision.activations(), m * n)?,
        backend.alloc(DType::F32, m * n)?,
        backend.alloc(DType::F32, m * k)?,
    );
    backend.write(&mut d_y, 0, &uniform(3, m * n))?;
    let alone = backend.threads() == 1;
    Ok([
        fastest(alone, || backend.matmul(&x, m, &weight, None, &mut y))?,
        fastest(alone, || backend.matmul_backward_input(&d_y, m, &weight, &mut d_x))?,
        fastest(alone, || backend.matmul_backward_weight(&d_y, &x, m, &mut d_weight, None))?,
    ])
}

/// Seconds of the fastest of the calls that fit in the time of a figure, after one to warm up. A single thread's are counted
/// while it runs, so that others on the machine disturb them less.
fn fastest(alone: bool, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    call()?;
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed() < TIME_PER_FIGURE {
        let (start, processor) = (Instant::now(), processor_seconds());
        call()?;
        let passed = if alone { processor_seconds() - processor } else { start.elapsed().as_secs_f64() };
        best = best.min(passed);
    }
    Ok(best)
}

#[cfg(unix)]
fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a live value.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

#[cfg(not(unix))]
fn processor_seconds() -> f64 {
    f64::NAN
}

fn fastest_of(tries: usize, mut rate: impl FnMut() -> f64) -> f64 {
    (0..tries).map(|_| rate()).fold(0.0, f64::max)
}

/// The sum of what each of some threads gives.
fn on_threads(threads: usize, rate: impl Fn(usize) -> f64 + Sync) -> f64 {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|index| {
                scope.spawn({
                    let rate = &rate;
                    move || rate(index)
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
    })
}

/// GB/s of all threads reading their parts of an array that no cache holds.
fn read_bandwidth(threads: usize) -> f64 {
    static MEMORY: std::sync::OnceLock<Vec<f32>> = std::sync::OnceLock::new();
    let memory = MEMORY.get_or_init(touched);
    let part = memory.len() / threads;
    let begin = Instant::now();
    on_threads(threads, |index| f64::from(sum(&memory[index * part..][..part])));
    1e-9 * (4 * part * threads) as f64 / begin.elapsed().as_secs_f64()
}

/// An array on huge pages, as the backend's own memory is.
fn touched() -> Vec<f32> {
    let mut memory: Vec<f32> = Vec::with_capacity(READ_BYTES / 4);
    #[cfg(target_os = "linux")]
    {
        let start = memory.as_mut_ptr().cast::<u8>();
        let start = start.wrapping_add(start.align_offset(2 << 20));
        // SAFETY: inside the vector's own memory but for its first huge page; the advice changes no byte.
        unsafe { libc::madvise(start.cast(), READ_BYTES - (2 << 20), libc::MADV_HUGEPAGE) };
    }
    memory.resize(READ_BYTES / 4, 1.0);
    memory
}

/// One sequential sum with the widest vectors.
fn sum(values: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn wide(values: &[f32]) -> f32 {
            plain(values)
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: just checked.
            return unsafe { wide(values) };
        }
    }
    plain(values)
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn plain(values: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 128];
    for group in values.as_chunks::<128>().0 {
        for (lane, value) in lanes.iter_mut().zip(group) {
            *lane += value;
        }
    }
    std::hint::black_box(lanes).iter().sum()
}

/// GFLOP/s of all threads doing nothing but multiply-adds in registers.
#[cfg(target_arch = "x86_64")]
fn peak(precision: Precision, threads: usize) -> f64 {
    let bf16 = precision == Precision::Bf16 && is_x86_feature_detected!("avx512bf16");
    let one = |_| {
        if bf16 {
            // SAFETY: just checked.
            unsafe { peak::pairs() }
        } else if is_x86_feature_detected!("avx512f") {
            // SAFETY: as above.
            unsafe { peak::wide() }
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            unsafe { peak::narrow() }
        } else {
            f64::NAN
        }
    };
    on_threads(threads, one)
}

#[cfg(not(target_arch = "x86_64"))]
fn peak(_: Precision, _: usize) -> f64 {
    f64::NAN
}

#[cfg(target_arch = "x86_64")]
mod peak {
    use std::arch::x86_64::{
        __m512, __m512bh, _mm256_fmadd_ps, _mm256_set1_ps, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_set1_ps,
    };
    use std::time::Instant;

    const CHAINS: usize = 16;
    const STEPS: usize = 500_000;

    fn rate(operations: usize, begin: Instant) -> f64 {
        1e-9 * (operations * CHAINS * STEPS) as f64 / begin.elapsed().as_secs_f64()
    }

    macro_rules! burst {
        ($name:ident, $features:literal, $operations:literal, $ones:expr, $step:expr) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name() -> f64 {
                let factor = $ones(std::hint::black_box(0.999));
                let mut sums = [factor; CHAINS];
                let begin = Instant::now();
                for _ in 0..STEPS {
                    for sum in &mut sums {
                        *sum = $step(*sum, factor);
                    }
                }
                std::hint::black_box(sums);
                rate($operations, begin)
            }
        };
    }

    // Twelve would do for the latency; sixteen registers are what AVX2 has, so there the compiler keeps some in memory.
    burst!(narrow, "avx2,fma", 16, |x| _mm256_set1_ps(x), |sum, x| _mm256_fmadd_ps(sum, x, x));
    burst!(wide, "avx512f", 32, |x| _mm512_set1_ps(x), |sum, x| _mm512_fmadd_ps(sum, x, x));
    burst!(pairs, "avx512f,avx512bf16", 64, |x| _mm512_set1_ps(x), |sum, x: __m512| {
        // SAFETY: 64 bytes of one register either way.
        let x = unsafe { std::mem::transmute::<__m512, __m512bh>(x) };
        _mm512_dpbf16_ps(sum, x, x)
    });
}
