//! `check_large [--small] [--device cuda-sim]`: ops of a GPU at sizes that the simulator has no time for, against the CPU backend and f64:
//! every tile, long rows, a real vocabulary. A JSON line a check; exit code 1 where one failed. --small runs the same code in no time.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)] // A program of tests: what fails is caught and printed.

use gradus_cpu::CpuBackend;
use gradus_cuda::{CudaBackend, CudaDriver, SimDriver};
use gradus_ops::{AttentionShape, Backend, KvPageShape, LossRows, PAGE_TOKENS, RmsNormShape, SampleRows};
use gradus_tensor::DType;
use gradus_testing::on_backend::{buffer, halves, poisoned, read, read_floats, weight};
use gradus_testing::{check_bf16_matmul, integers, relative_l2, uniform};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// Relative L2 distance of bf16 results, and of f32 ones, that is allowed.
const BF16: f64 = 1e-2;
const F32: f64 = 1e-5;

fn main() -> ExitCode {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    let opened = if has("cuda-sim") {
        SimDriver::find()
            .and_then(|path| SimDriver::open(&path, 1))
            .map(CudaBackend::new)
            .map_err(|error| error.to_string())
    } else {
        CudaDriver::open().map(CudaBackend::new).map_err(|error| error.to_string())
    };
    let backend = match opened {
        Ok(backend) => backend,
        Err(reason) => {
            eprintln!("check_large: {reason}");
            return ExitCode::from(3);
        }
    };
    let small = has("--small");
    let size = |large: usize, small_one: usize| if small { small_one } else { large };
    let cpu = CpuBackend::new(None).unwrap();
    let checks: [(&str, &dyn Fn()); 6] = [
        // Enough tiles for the widest kernel, with tails in every direction.
        ("matmul against f64, 4361 x 1031 x 99", &|| {
            check_bf16_matmul(&backend, (size(4361, 33), size(1031, 65), size(99, 24)));
        }),
        ("matmul against f64, 65 x 9001 x 130", &|| {
            check_bf16_matmul(&backend, (size(65, 9), size(9001, 65), size(130, 24)));
        }),
        ("attention, 4 and 2 heads of 128, 1, 1999 and 333 tokens", &|| {
            let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim: size(128, 64) };
            let lengths = [1, size(1999, 70), size(333, 33)];
            let run = |results: [Vec<Vec<f32>>; 2]| compare(&results, &[BF16, F32, BF16]);
            run([attention(&backend, shape, &lengths), attention(&cpu, shape, &lengths)]);
        }),
        ("paged attention has the bits of the packed one, 5003 tokens", &|| {
            paged(&backend, AttentionShape { heads: 4, kv_heads: 2, head_dim: size(128, 64) }, size(5003, 70));
        }),
        ("softmax and draws over 151,936 ids; the sampler's numbers are the trainer's", &|| {
            let (rows, vocab) = (size(37, 5), size(151_936, 989));
            compare_draws(draws(&backend, rows, vocab), draws(&cpu, rows, vocab));
        }),
        ("RMSNorm of rows of 3584", &|| {
            let (rows, dim) = (size(4099, 9), size(3584, 99));
            compare(&[norms(&backend, rows, dim), norms(&cpu, rows, dim)], &[BF16, BF16, 1e-4]);
        }),
    ];
    let mut failed = false;
    for (name, check) in checks {
        let error = catch_unwind(AssertUnwindSafe(check)).err().map(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        });
        failed |= error.is_some();
        let work = format!("{name}{}", if small { ", in small" } else { "" });
        println!("{}", serde_json::json!({ "check": work, "ok": error.is_none(), "note": error }));
    }
    ExitCode::from(u8::from(failed))
}

/// Fails where a result of the first is farther from the second's than its tolerance.
fn compare([found, expected]: &[Vec<Vec<f32>>; 2], tolerances: &[f64]) {
    for (index, ((found, expected), tolerance)) in found.iter().zip(expected).zip(tolerances).enumerate() {
        let expected: Vec<f64> = expected.iter().copied().map(f64::from).collect();
        let distance = relative_l2(found, &expected);
        assert!(distance <= *tolerance, "result {index} is {distance:e} from the CPU's, at most {tolerance:e}");
    }
}

/// Draws that may differ: shares are added up in another order on either side, so one near a border may fall on its other side.
const DRAWS_APART_MAX: usize = 2;

/// Ids, and lse, logprob and entropy; logprobs of equal ids.
fn compare_draws(found: [Vec<f32>; 4], expected: [Vec<f32>; 4]) {
    let rows: Vec<usize> = (0..found[0].len()).filter(|&row| found[0][row] == expected[0][row]).collect();
    let apart = found[0].len() - rows.len();
    assert!(apart <= DRAWS_APART_MAX, "{apart} draws differ from the CPU's, at most {DRAWS_APART_MAX}");
    let results = [found, expected].map(|[_, lse, logprob, entropy]| {
        let logprob = rows.iter().map(|&row| logprob[row]).collect();
        vec![lse, logprob, entropy]
    });
    compare(&results, &[F32, 1e-4, 1e-4]);
}

fn attention<B: Backend>(backend: &B, shape: AttentionShape, lengths: &[usize]) -> Vec<Vec<f32>> {
    let ends = lengths.iter().scan(0, |end, length| {
        *end += *length as u32;
        Some(*end)
    });
    let ends: Vec<u32> = [0].into_iter().chain(ends).collect();
    let tokens: usize = lengths.iter().sum();
    let qkv = halves(backend, &uniform(1, tokens * shape.qkv_dim()));
    let ends = buffer(backend, &ends);
    let mut out = poisoned(backend, DType::BF16, tokens * shape.q_dim());
    let mut lse = poisoned(backend, DType::F32, tokens * shape.heads);
    backend.attention(shape, &qkv, &ends, lengths.len(), &mut out, &mut lse).unwrap();
    let d_out = buffer(backend, &uniform(2, tokens * shape.q_dim()));
    let mut d_qkv = poisoned(backend, DType::F32, tokens * shape.qkv_dim());
    backend.attention_backward(shape, &qkv, &ends, lengths.len(), &out, &lse, &d_out, &mut d_qkv).unwrap();
    vec![read_floats(backend, DType::BF16, &out), read(backend, &lse), read(backend, &d_qkv)]
}

fn paged(backend: &CudaBackend, shape: AttentionShape, tokens: usize) {
    let qkv = halves(backend, &uniform(1, tokens * shape.qkv_dim()));
    let mut out = poisoned(backend, DType::BF16, tokens * shape.q_dim());
    let mut lse = poisoned(backend, DType::F32, tokens * shape.heads);
    backend.attention(shape, &qkv, &buffer(backend, &[0, tokens as u32]), 1, &mut out, &mut lse).unwrap();
    let count = tokens.div_ceil(PAGE_TOKENS);
    let pages = KvPageShape { attention: shape, pages: count };
    let table: Vec<u32> = (0..count as u32).rev().collect();
    let slots: Vec<u32> = (0..tokens)
        .map(|token| table[token / PAGE_TOKENS] * PAGE_TOKENS as u32 + (token % PAGE_TOKENS) as u32)
        .collect();
    let [mut keys, mut values] = [(); 2].map(|()| backend.alloc(DType::BF16, pages.elements()).unwrap());
    backend.kv_append(pages, &qkv, &buffer(backend, &slots), tokens, &mut keys, &mut values).unwrap();
    let positions = buffer(backend, &(0..tokens as u32).collect::<Vec<_>>());
    let (sequences, table) = (buffer(backend, &vec![0_u32; tokens]), buffer(backend, &table));
    let mut again = poisoned(backend, DType::BF16, tokens * shape.q_dim());
    backend
        .paged_attention(pages, &qkv, tokens, &positions, &sequences, &table, count, &keys, &values, &mut again)
        .unwrap();
    assert!(read::<_, half::bf16>(backend, &again) == read::<_, half::bf16>(backend, &out), "the bits differ");
}

/// Ids, lse, logprobs and entropies of draws of free rows and of limited ones; fails where the sampler's numbers are not those of the loss.
fn draws<B: Backend>(backend: &B, rows: usize, vocab: usize) -> [Vec<f32>; 4] {
    let values: Vec<f32> = uniform(1, rows * vocab).iter().map(|value| 9.0 * value).collect();
    let logits = buffer(backend, &values);
    let inv_t = buffer(backend, &vec![1.25_f32; rows]);
    let limited =
        |value: f32, none: f32| -> Vec<f32> { (0..rows).map(|row| if row % 3 == 1 { value } else { none }).collect() };
    let top_k: Vec<u32> = (0..rows).map(|row| if row % 3 == 2 { 50 } else { 0 }).collect();
    let (greedy, streams) = (buffer(backend, &vec![0_u32; rows]), buffer(backend, &integers(2, 4 * rows, u32::MAX)));
    let (positions, top_k) = (buffer(backend, &integers(3, rows, 100)), buffer(backend, &top_k));
    let (top_p, min_p) = (buffer(backend, &limited(0.9, 1.0)), buffer(backend, &limited(0.01, 0.0)));
    let sampled = SampleRows {
        rows,
        vocab,
        inv_t: &inv_t,
        greedy: &greedy,
        streams: &streams,
        positions: &positions,
        top_k: &top_k,
        top_p: &top_p,
        min_p: &min_p,
    };
    let mut ids = buffer(backend, &vec![u32::MAX; rows]);
    let [mut lse, mut logprob, mut entropy] = [(); 3].map(|()| poisoned(backend, DType::F32, rows));
    backend.sample(&logits, sampled, &mut ids, &mut lse, &mut logprob, &mut entropy).unwrap();
    let of_draws = [read::<_, f32>(backend, &lse), read(backend, &logprob), read(backend, &entropy)];
    let targets = LossRows { rows, vocab, targets: &ids, inv_t: &inv_t };
    backend.softmax_statistics(&logits, targets, &mut lse, &mut logprob, &mut entropy).unwrap();
    let of_loss = [read::<_, f32>(backend, &lse), read(backend, &logprob), read(backend, &entropy)];
    assert!(of_draws == of_loss, "the sampler's numbers are not the trainer's");
    let ids: Vec<f32> = read::<_, u32>(backend, &ids).into_iter().map(|id| id as f32).collect();
    let [lse, logprob, entropy] = of_draws;
    [ids, lse, logprob, entropy]
}

fn norms<B: Backend>(backend: &B, rows: usize, dim: usize) -> Vec<Vec<f32>> {
    let shape = RmsNormShape { rows, dim, eps: 1e-6 };
    let len = rows * dim;
    let (residual, delta) = (halves(backend, &uniform(1, len)), buffer(backend, &uniform(2, len)));
    let norm_weight = weight(backend, gradus_ops::Precision::Bf16, (dim, 1), &uniform(3, dim));
    let [mut sum, mut out] = [(); 2].map(|()| poisoned(backend, DType::BF16, len));
    let mut rstd = poisoned(backend, DType::F32, rows);
    backend.rms_norm(shape, &residual, Some(&delta), &norm_weight, &mut sum, &mut rstd, &mut out).unwrap();
    vec![read_floats(backend, DType::BF16, &sum), read_floats(backend, DType::BF16, &out), read(backend, &rstd)]
}
