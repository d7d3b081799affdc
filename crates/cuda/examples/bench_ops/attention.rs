//! Causal attention forward and backward over one sequence of 8K, heads of 128, and decode attention over pages.

use crate::{Amount, Bench};
use gradus_ops::{AttentionShape, Backend, KvPageShape, PAGE_TOKENS};
use gradus_tensor::DType;
use gradus_testing::on_backend::buffer;

pub fn run(bench: &Bench) {
    for (heads, kv_heads) in [(16, 16), (28, 4)] {
        let shape = if bench.small {
            AttentionShape { heads: 2, kv_heads: 1, head_dim: 64 }
        } else {
            AttentionShape { heads, kv_heads, head_dim: 128 }
        };
        training(bench, shape, bench.size(8192, 70));
    }
    let shape = if bench.small {
        AttentionShape { heads: 2, kv_heads: 1, head_dim: 64 }
    } else {
        AttentionShape { heads: 28, kv_heads: 4, head_dim: 128 }
    };
    for (sequences, context) in [(64, 1024), (64, 4096), (256, 1024), (8, 32768)] {
        decode(bench, shape, bench.size(sequences, 3), bench.size(context, 40));
    }
}

fn training(bench: &Bench, shape: AttentionShape, tokens: usize) {
    let backend = &bench.backend;
    let AttentionShape { heads, kv_heads, head_dim } = shape;
    let qkv = bench.halves(tokens * shape.qkv_dim());
    let ends = buffer(backend, &[0, tokens as u32]);
    let mut out = backend.alloc(DType::BF16, tokens * shape.q_dim()).unwrap();
    let mut lse = backend.alloc(DType::F32, tokens * heads).unwrap();
    let words = format!("\"tokens\":{tokens},\"heads\":{heads},\"kv_heads\":{kv_heads},\"head_dim\":{head_dim}");
    // Two products of half a square, as FlashAttention counts; five in the backward pass.
    let flops = 2.0 * tokens as f64 * tokens as f64 * shape.q_dim() as f64;
    bench.row("attention_forward", &words, Amount::Flops(flops), || {
        backend.attention(shape, &qkv, &ends, 1, &mut out, &mut lse)
    });
    let d_out = bench.floats(tokens * shape.q_dim());
    let mut d_qkv = backend.alloc(DType::F32, tokens * shape.qkv_dim()).unwrap();
    bench.row("attention_backward", &words, Amount::Flops(2.5 * flops), || {
        backend.attention_backward(shape, &qkv, &ends, 1, &out, &lse, &d_out, &mut d_qkv)
    });
}

fn decode(bench: &Bench, shape: AttentionShape, sequences: usize, context: usize) {
    let backend = &bench.backend;
    let AttentionShape { heads, kv_heads, head_dim } = shape;
    let pages_each = context.div_ceil(PAGE_TOKENS);
    let pages = KvPageShape { attention: shape, pages: sequences * pages_each };
    let (keys, values) = (bench.halves(pages.elements()), bench.halves(pages.elements()));
    // Neighbours in a sequence are not neighbours in memory.
    let table: Vec<u32> =
        (0..pages.pages).map(|page| (page % pages_each * sequences + page / pages_each) as u32).collect();
    let qkv = bench.halves(sequences * shape.qkv_dim());
    let positions = buffer(backend, &vec![context as u32 - 1; sequences]);
    let rows = buffer(backend, &(0..sequences as u32).collect::<Vec<_>>());
    let table = buffer(backend, &table);
    let mut out = backend.alloc(DType::BF16, sequences * shape.q_dim()).unwrap();
    let words = format!(
        "\"sequences\":{sequences},\"context\":{context},\"heads\":{heads},\"kv_heads\":{kv_heads},\"head_dim\":{head_dim}"
    );
    let bytes = 4.0 * (sequences * context * kv_heads * head_dim) as f64;
    bench.row("attention_decode", &words, Amount::Bytes(bytes), || {
        backend.paged_attention(pages, &qkv, sequences, &positions, &rows, &table, pages_each, &keys, &values, &mut out)
    });
}
