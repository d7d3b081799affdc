//! Prints how near the q8_0 product comes to the 8-bit peak and to the read bandwidth of this machine:
//! `cargo run --release -p gradus-cpu --example quantised_rate`.
#![allow(clippy::print_stdout)]

use gradus_cpu::CpuBackend;
use gradus_ops::{Backend, Precision};
use gradus_tensor::DType;
use gradus_testing::uniform;
use std::time::Instant;

/// (n, k) of the matrices of a model of half a billion parameters: qkv, attention output, gate and up, down, head.
const MATRICES: [(usize, usize); 5] = [(1152, 896), (896, 896), (9728, 896), (896, 4864), (151_936, 896)];
const LAYERS: usize = 24;
/// Rows: a prefill, and decoding one sequence or eight.
const PREFILL: usize = 128;
const ROWS: [usize; 3] = [PREFILL, 1, 8];
/// Larger than any cache.
const STREAM_BYTES: usize = 256 << 20;
/// Calls of one line: the median of them counts.
const CALLS: usize = 5;
/// A weight record: 16 scales and 16 × 32 bytes.
const RECORD: (usize, usize) = (576, 16 * 32);

fn main() -> gradus_ops::Result<()> {
    let backend = CpuBackend::new(None)?;
    let threads = backend.threads();
    let (peak, memory) = (peak_gops() * threads as f64, touched_memory());
    println!("level {}, {threads} threads, 8-bit peak {peak:.0} Gop/s", backend.level());
    for m in ROWS {
        let mut whole = 0.0;
        for (n, k) in MATRICES {
            // So many copies that weights come from memory, as in one pass over a model.
            let copies = STREAM_BYTES.div_ceil(n * k);
            let values = uniform(1, n * k);
            let mut weights = Vec::new();
            for _ in 0..copies {
                let mut weight = backend.alloc_weight(n, k, Precision::Q8)?;
                backend.load_row_major(&mut weight, 0, &values)?;
                weights.push(weight);
            }
            let mut x = backend.alloc(DType::F32, m * k)?;
            backend.write(&mut x, 0, &uniform(2, m * k))?;
            let mut y = backend.alloc(DType::F32, m * n)?;
            let (mut times, mut streams) = (Vec::new(), Vec::new());
            for _ in 0..=CALLS {
                // Beside each call, because a shared machine's bandwidth changes from second to second.
                streams.push(stream_gigabytes(&memory, threads));
                let start = Instant::now();
                for weight in &weights {
                    backend.matmul(&x, m, weight, None, &mut y)?;
                }
                times.push(start.elapsed().as_secs_f64() / copies as f64);
            }
            let (seconds, stream) = (median(&mut times[1..]), median(&mut streams));
            whole += seconds * if n == MATRICES[4].0 { 1.0 } else { LAYERS as f64 };
            let rate = 2e-9 * (m * n * k) as f64 / seconds;
            let read = 1e-9 * (n * k / RECORD.1 * RECORD.0) as f64 / seconds;
            println!(
                "m {m:>3}, {n:>6} x {k:>4}: {:>8.3} ms, {rate:>4.0} Gop/s ({:>2.0}%), {read:>4.1} of {stream:.1} GB/s ({:>2.0}%)",
                seconds * 1e3,
                100.0 * rate / peak,
                100.0 * read / stream
            );
        }
        println!("m {m:>3}, all matrices of {LAYERS} layers and the head: {:.0} tokens/s", m as f64 / whole);
    }
    Ok(())
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// GB/s at which all threads together read memory.
fn stream_gigabytes(memory: &[u64], threads: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for part in memory.chunks(memory.len() / threads) {
            scope.spawn(|| std::hint::black_box(sum(part)));
        }
    });
    1e-9 * size_of_val(memory) as f64 / start.elapsed().as_secs_f64()
}

/// Memory on huge pages where there are any, as the backend's own is.
fn touched_memory() -> Vec<u64> {
    const PAGE: usize = 2 << 20;
    let mut memory: Vec<u64> = Vec::with_capacity(STREAM_BYTES / 8);
    #[cfg(target_os = "linux")]
    {
        let start = memory.as_mut_ptr().cast::<u8>();
        let skip = start.align_offset(PAGE);
        // SAFETY: the range is inside the vector's own memory, and the advice changes no byte of it.
        unsafe { libc::madvise(start.wrapping_add(skip).cast(), STREAM_BYTES - PAGE, libc::MADV_HUGEPAGE) };
    }
    memory.resize(STREAM_BYTES / 8, 1);
    memory
}

fn sum(part: &[u64]) -> u64 {
    let mut lanes = [0_u64; 16];
    for line in part.as_chunks::<16>().0 {
        for (lane, value) in lanes.iter_mut().zip(line) {
            *lane = lane.wrapping_add(*value);
        }
    }
    lanes.into_iter().fold(0, u64::wrapping_add)
}

/// Gop/s of one core doing nothing but 8-bit dot products in registers, the best of a few tries.
#[cfg(target_arch = "x86_64")]
fn peak_gops() -> f64 {
    use std::arch::x86_64::{_mm512_dpbusd_epi32, _mm512_set1_epi32};
    const CHAINS: usize = 12;
    const STEPS: usize = 1_000_000;
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn spin() -> f64 {
        let factor = _mm512_set1_epi32(std::hint::black_box(0x0102_0304));
        let mut sums = [factor; CHAINS];
        let start = Instant::now();
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, factor, factor);
            }
        }
        std::hint::black_box(sums);
        2e-9 * (CHAINS * 64 * STEPS) as f64 / start.elapsed().as_secs_f64()
    }
    if !is_x86_feature_detected!("avx512vnni") {
        return f64::NAN;
    }
    // SAFETY: the machine has the extensions.
    (0..10).map(|_| unsafe { spin() }).fold(0.0, f64::max)
}

#[cfg(not(target_arch = "x86_64"))]
fn peak_gops() -> f64 {
    f64::NAN
}
