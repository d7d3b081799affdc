//! Prints the fused multiply-add peak of this machine and how near to it each matmul comes:
//! `cargo run --release -p gradus-cpu --example matmul_rate`.
#![allow(clippy::print_stdout)]

use gradus_cpu::CpuBackend;
use gradus_ops::{Backend, Precision};
use gradus_tensor::DType;
use gradus_testing::uniform;
use std::time::{Duration, Instant};

/// (m, n, k): decode, small, and the projections of a model of half a billion parameters.
const SHAPES: [(usize, usize, usize); 8] = [
    (1, 4864, 896),
    (1, 151_936, 896),
    (4, 4864, 896),
    (16, 4864, 896),
    (64, 256, 256),
    (512, 4864, 896),
    (512, 896, 4864),
    (2048, 2048, 2048),
];
const TIME_PER_LINE: Duration = Duration::from_millis(300);

fn main() -> gradus_ops::Result<()> {
    let backend = CpuBackend::new(None)?;
    // The fastest of a few tries: others may be using the machine.
    let peak = (0..10).map(|_| peak_gflops()).fold(0.0, f64::max) * backend.threads() as f64;
    println!("level {}, {} threads, peak {peak:.0} GFLOP/s", backend.level(), backend.threads());
    println!("{:>6} {:>7} {:>5}  {:>16} {:>16} {:>16}", "m", "n", "k", "forward", "backward input", "backward weight");
    for (m, n, k) in SHAPES {
        let (mut weight, mut d_weight) =
            (backend.alloc_weight(n, k, Precision::F32)?, backend.alloc_weight(n, k, Precision::F32)?);
        let mut x = backend.alloc(DType::F32, m * k)?;
        // Untouched memory is one page of zeros, which would measure nothing.
        backend.load_row_major(&mut weight, 0, &uniform(1, n * k))?;
        backend.write(&mut x, 0, &uniform(2, m * k))?;
        let (mut y, mut d_x) = (backend.alloc(DType::F32, m * n)?, backend.alloc(DType::F32, m * k)?);
        let forward = seconds(|| backend.matmul(&x, m, &weight, None, &mut y))?;
        let input = seconds(|| backend.matmul_backward_input(&y, m, &weight, &mut d_x))?;
        let gradient = seconds(|| backend.matmul_backward_weight(&y, &x, m, &mut d_weight, None))?;
        let column = |seconds: f64| {
            let rate = 2e-9 * (m * n * k) as f64 / seconds;
            let stream = 4e-9 * (n * k) as f64 / seconds;
            if m < 4 { format!("{stream:.1} GB/s") } else { format!("{rate:.0} ({:.0}%)", 100.0 * rate / peak) }
        };
        println!("{m:>6} {n:>7} {k:>5}  {:>16} {:>16} {:>16}", column(forward), column(input), column(gradient));
    }
    Ok(())
}

/// Seconds of one call: the fastest of those that fit in the time of a line, after one to warm up.
fn seconds(mut call: impl FnMut() -> gradus_ops::Result<()>) -> gradus_ops::Result<f64> {
    call()?;
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed() < TIME_PER_LINE {
        let start = Instant::now();
        call()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// GFLOP/s of one core doing nothing but fused multiply-adds in registers.
#[cfg(target_arch = "x86_64")]
fn peak_gflops() -> f64 {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps};
    const CHAINS: usize = 12;
    const STEPS: usize = 1_000_000;
    #[target_feature(enable = "avx2,fma")]
    fn spin() -> f64 {
        let factor = _mm256_set1_ps(std::hint::black_box(0.999));
        let mut sums = [factor; CHAINS];
        let start = Instant::now();
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        std::hint::black_box(sums);
        2e-9 * (CHAINS * 8 * STEPS) as f64 / start.elapsed().as_secs_f64()
    }
    // SAFETY: entered only where the machine has both extensions.
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") { unsafe { spin() } } else { f64::NAN }
}

#[cfg(not(target_arch = "x86_64"))]
fn peak_gflops() -> f64 {
    f64::NAN
}
