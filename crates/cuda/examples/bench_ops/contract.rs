//! What the bitwise contract costs: the products of a layer of Qwen2.5-7B in a step that decodes m sequences, as the engine runs them, against
//! the best of every tile with sums split in up to eight parts.

use crate::Bench;
use gradus_cuda::Tile;
use gradus_ops::{Backend, Precision};
use gradus_tensor::DType;

const PARTS: [usize; 4] = [1, 2, 4, 8];

pub fn run(bench: &Bench) {
    let layer = if bench.small {
        vec![(24, 300), (40, 256)]
    } else {
        vec![(4608, 3584), (3584, 3584), (37888, 3584), (3584, 18944)]
    };
    for m in [1, 8, 64, 256] {
        step(bench, bench.size(m, m.min(40)), &layer);
    }
}

/// A row for the products of one step: by how many percent the contract's are slower in all.
fn step(bench: &Bench, m: usize, layer: &[(usize, usize)]) {
    let mut ours = Vec::new();
    let mut free = Vec::new();
    let mut words = Vec::new();
    for &(n, k) in layer {
        let x = bench.halves(m * k);
        let weight = bench.weight(n, k, Precision::Bf16);
        let mut y = bench.backend.alloc(DType::BF16, m * n).unwrap();
        let by_contract = bench.samples_ms(|| bench.backend.matmul(&x, m, &weight, None, &mut y));
        // What the engine runs is one of the free choices.
        let mut best = (by_contract.clone(), "the engine's own".to_owned());
        for (tile, parts) in Tile::ALL.into_iter().flat_map(|tile| PARTS.map(|parts| (tile, parts))) {
            // A part of a sum is a multiple of 128 indices.
            if (parts - 1) * k.div_ceil(parts).next_multiple_of(128) >= k {
                continue;
            }
            let samples = bench.samples_ms(|| bench.backend.matmul_split(&x, m, &weight, &mut y, tile, parts));
            if median(&samples) < median(&best.0) {
                best = (samples, format!("{tile:?} in {parts}"));
            }
        }
        words.push(format!("n {n} k {k}: {:.4} ms, {} {:.4} ms", median(&by_contract), best.1, median(&best.0)));
        ours.push(by_contract);
        free.push(best.0);
    }
    let total = |products: &[Vec<f64>], sample: usize| products.iter().map(|samples| samples[sample]).sum::<f64>();
    let cost: Vec<f64> =
        (0..ours[0].len()).map(|sample| 100.0 * (total(&ours, sample) / total(&free, sample) - 1.0)).collect();
    bench.figures("contract", &format!("\"m\":{m}"), "%", &cost, &words.join("; "));
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
