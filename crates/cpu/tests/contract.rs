//! Pins the bits of the ops that decide logprobs: whoever changes one changes the numerics contract and raises its version.

#![allow(clippy::unwrap_used)] // A test may panic.

mod device;

use device::{floats, halves, poisoned, poisoned_halves, read, read_halves, same_everywhere, weight, words};
use gradus_cpu::CpuBackend;
use gradus_ops::{AttentionShape, Backend, CONTRACT_VERSION, LossRows, RmsNormShape, RopeShape};
use gradus_testing::{integers, uniform};

/// FNV-1a over the bits.
fn fingerprint(values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Compares the fingerprint of each result with the recorded one.
fn check(run: impl Fn(&CpuBackend) -> Vec<Vec<f32>>, expected: &[u64]) {
    let found: Vec<u64> = same_everywhere(run).iter().map(|values| fingerprint(values)).collect();
    assert_eq!(found, expected, "bits changed under contract version {CONTRACT_VERSION}: {found:#018x?}");
}

#[test]
fn attention() {
    let shape = AttentionShape { heads: 3, kv_heads: 1, head_dim: 8 };
    let (lengths, tokens) = ([0, 70, 2200], 2200);
    let values: Vec<f32> = uniform(1, tokens * shape.qkv_dim()).iter().map(|x| x * 3.0).collect();
    let run = |backend: &CpuBackend| {
        let (qkv, cu_seqlens) = (floats(backend, &values), words(backend, &lengths));
        let (mut out, mut lse) = (poisoned(backend, tokens * shape.q_dim()), poisoned(backend, tokens * shape.heads));
        backend.attention(shape, &qkv, &cu_seqlens, 2, &mut out, &mut lse).unwrap();
        vec![read(backend, &out), read(backend, &lse)]
    };
    check(run, &[0x4194_3fbb_9bc7_273d, 0xbdb5_25e3_d808_936b]);
}

#[test]
fn norm() {
    let shape = RmsNormShape { rows: 7, dim: 99, eps: 1e-6 };
    let (residual, delta, gain) = (uniform(1, 7 * 99), uniform(2, 7 * 99), uniform(3, 99));
    let run = |backend: &CpuBackend| {
        let (mut sum, mut out, mut rstd) = (poisoned(backend, 7 * 99), poisoned(backend, 7 * 99), poisoned(backend, 7));
        let (residual, delta) = (floats(backend, &residual), floats(backend, &delta));
        let gain = weight(backend, 99, 1, &gain);
        backend.rms_norm(shape, &residual, Some(&delta), &gain, &mut sum, &mut rstd, &mut out).unwrap();
        vec![read(backend, &out)]
    };
    check(run, &[0xec40_3a9b_7420_cb9f]);
}

#[test]
fn activation() {
    let values: Vec<f32> = uniform(1, 2 * 1998).iter().map(|x| x * 20.0).collect();
    let run = |backend: &CpuBackend| {
        let mut out = poisoned(backend, 1998);
        backend.swiglu(&floats(backend, &values), 2, 999, &mut out).unwrap();
        vec![read(backend, &out)]
    };
    check(run, &[0xc4b4_92cb_a259_99cc]);
}

#[test]
fn softmax_statistics() {
    let (count, vocab) = (5, 3001);
    let logits: Vec<f32> = uniform(1, count * vocab).iter().map(|x| x * 9.0).collect();
    let targets = integers(2, count, vocab as u32);
    let run = |backend: &CpuBackend| {
        let (targets, inv_t) = (words(backend, &targets), floats(backend, &[1.0 / 0.85; 5]));
        let rows = LossRows { rows: count, vocab, targets: &targets, inv_t: &inv_t };
        let [mut lse, mut logprob, mut entropy] = [(); 3].map(|()| poisoned(backend, count));
        backend.softmax_statistics(&floats(backend, &logits), rows, &mut lse, &mut logprob, &mut entropy).unwrap();
        vec![read(backend, &lse), read(backend, &logprob), read(backend, &entropy)]
    };
    check(run, &[0x36fb_d5bc_d53f_7c5d, 0x9c11_984a_7d4c_fcbf, 0x13dd_3119_2bfc_23b1]);
}

#[test]
fn bf16_activations() {
    let shape = RmsNormShape { rows: 7, dim: 99, eps: 1e-6 };
    let heads = AttentionShape { heads: 3, kv_heads: 1, head_dim: 24 };
    let (residual, delta, gain) = (uniform(1, 7 * 99), uniform(2, 7 * 99), uniform(3, 99));
    let gates: Vec<f32> = uniform(4, 2 * 1998).iter().map(|x| x * 20.0).collect();
    let (qkv, table, positions) = (uniform(5, 9 * heads.qkv_dim()), uniform(6, 50 * 24), integers(7, 9, 50));
    let run = |backend: &CpuBackend| {
        let (mut sum, mut out) = (poisoned_halves(backend, 7 * 99), poisoned_halves(backend, 7 * 99));
        let mut rstd = poisoned(backend, 7);
        let (residual, delta) = (halves(backend, &residual), floats(backend, &delta));
        let weights = weight(backend, 99, 1, &gain);
        backend.rms_norm(shape, &residual, Some(&delta), &weights, &mut sum, &mut rstd, &mut out).unwrap();
        let mut activation = poisoned_halves(backend, 1998);
        backend.swiglu(&halves(backend, &gates), 2, 999, &mut activation).unwrap();
        let (mut normed, mut head_rstd) = (poisoned_halves(backend, qkv.len()), poisoned(backend, 9 * 4));
        let (q, k) = (weight(backend, 24, 1, &gain[..24]), weight(backend, 24, 1, &gain[24..48]));
        backend.qk_norm(heads, 9, 1e-6, &halves(backend, &qkv), &q, &k, &mut head_rstd, &mut normed).unwrap();
        let mut turned = halves(backend, &qkv);
        let rope = RopeShape { attention: heads, rows: 9, positions_max: 50 };
        backend.rope(rope, &floats(backend, &table), &words(backend, &positions), &mut turned).unwrap();
        [sum, out, activation, normed, turned].iter().map(|buffer| read_halves(backend, buffer)).collect()
    };
    let bits = [
        0x4fbc_bf40_9289_16b6,
        0x817c_71e4_d103_6b78,
        0xc854_3412_7eb7_3902,
        0xe896_46d7_8df8_9848,
        0xdbf2_4bb4_bded_5966,
    ];
    check(run, &bits);
}
