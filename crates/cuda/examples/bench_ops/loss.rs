//! The lm-head's loss with its gradients in a chunk of 4,096 tokens, and drawing from 64 and 256 rows of logits.

use crate::{Amount, Bench};
use gradus_ops::{Backend, LossRows, Precision, SampleRows};
use gradus_tensor::DType;
use gradus_testing::integers;
use gradus_testing::on_backend::buffer;

pub fn run(bench: &Bench) {
    head_loss(bench);
    for rows in [64, 256] {
        sampling(bench, bench.size(rows, 3));
    }
}

/// Logits, statistics, gradient of the logits, and both products of the backward pass. SFT and policy gradients are the same ops: coefficients
/// and temperatures differ.
fn head_loss(bench: &Bench) {
    let backend = &bench.backend;
    let free = || backend.device_memory().unwrap().map(|memory| memory.free);
    let (rows, vocab, dim) = (bench.size(4096, 9), bench.size(152_064, 260), bench.size(3584, 40));
    let x = bench.halves(rows * dim);
    let weight = bench.weight(vocab, dim, Precision::Bf16);
    let mut d_weight = backend.alloc_weight(vocab, dim, Precision::F32).unwrap();
    let free_before = free();
    let mut logits = backend.alloc(DType::F32, rows * vocab).unwrap();
    let mut d_x = backend.alloc(DType::F32, rows * dim).unwrap();
    let targets = buffer(backend, &integers(1, rows, vocab as u32));
    let coefficient = bench.floats(rows);
    let [mut lse, mut logprob, mut entropy] = [(); 3].map(|()| backend.alloc(DType::F32, rows).unwrap());
    let shape = format!("\"rows\":{rows},\"vocab\":{vocab},\"dim\":{dim}");
    let flops = 6.0 * rows as f64 * vocab as f64 * dim as f64;
    for (loss, inv_t) in [("sft", 1.0_f32), ("policy gradient", 1.25)] {
        let inv_t = buffer(backend, &vec![inv_t; rows]);
        let all = || LossRows { rows, vocab, targets: &targets, inv_t: &inv_t };
        bench.row("head_loss", &format!("{shape},\"loss\":\"{loss}\""), Amount::Flops(flops), || {
            backend.matmul(&x, rows, &weight, None, &mut logits)?;
            backend.softmax_statistics(&logits, all(), &mut lse, &mut logprob, &mut entropy)?;
            backend.softmax_backward(&mut logits, all(), &lse, &coefficient)?;
            backend.matmul_backward_input(&logits, rows, &weight, &mut d_x)?;
            backend.matmul_backward_weight(&logits, &x, rows, &mut d_weight, None)
        });
    }
    if let Some(bytes) = free_before.zip(free()).map(|(before, after)| before.saturating_sub(after)) {
        bench.figures("head_memory", &shape, "GiB", &[bytes as f64 / (1_u64 << 30) as f64], "");
    }
    let inv_t = buffer(backend, &vec![1.0_f32; rows]);
    let all = || LossRows { rows, vocab, targets: &targets, inv_t: &inv_t };
    let bytes = 4.0 * rows as f64 * vocab as f64;
    bench.row("softmax_statistics", &shape, Amount::Bytes(bytes), || {
        backend.softmax_statistics(&logits, all(), &mut lse, &mut logprob, &mut entropy)
    });
    bench.row("softmax_backward", &shape, Amount::Bytes(2.0 * bytes), || {
        backend.softmax_backward(&mut logits, all(), &lse, &coefficient)
    });
}

fn sampling(bench: &Bench, count: usize) {
    let backend = &bench.backend;
    let vocab = bench.size(152_064, 260);
    // As peaked as a language model's, so that limits keep some.
    let values: Vec<f32> = gradus_testing::uniform(1, count * vocab).iter().map(|value| 12.0 * value).collect();
    let logits = buffer(backend, &values);
    let (inv_t, greedy) = (buffer(backend, &vec![1.0_f32; count]), buffer(backend, &vec![0_u32; count]));
    let streams = buffer(backend, &integers(2, 4 * count, u32::MAX));
    let positions = buffer(backend, &integers(3, count, 1000));
    let mut ids = backend.alloc(DType::U32, count).unwrap();
    let [mut lse, mut logprob, mut entropy] = [(); 3].map(|()| backend.alloc(DType::F32, count).unwrap());
    for (limit, k, p) in [("none", 0, 1.0), ("top_k", 50, 1.0), ("top_p", 0, 0.95)] {
        let (top_k, top_p) = (buffer(backend, &vec![k as u32; count]), buffer(backend, &vec![p as f32; count]));
        let min_p = buffer(backend, &vec![0.0_f32; count]);
        let shape = format!("\"rows\":{count},\"vocab\":{vocab},\"limit\":\"{limit}\",\"top_k\":{k},\"top_p\":{p:?}");
        bench.row("sample", &shape, Amount::Time, || {
            let rows = SampleRows {
                rows: count,
                vocab,
                inv_t: &inv_t,
                greedy: &greedy,
                streams: &streams,
                positions: &positions,
                top_k: &top_k,
                top_p: &top_p,
                min_p: &min_p,
            };
            backend.sample(&logits, rows, &mut ids, &mut lse, &mut logprob, &mut entropy)
        });
    }
}
