//! Attention over packed sequences against f64, forward and backward, across the borders of blocks and splits.

#![allow(clippy::unwrap_used)] // A test may panic.

mod device;
mod reference;

use device::{
    assert_same_bits, differences, doubles, fastest, floats, poisoned, read, same_everywhere, weighted_sum, words,
};
use gradus_cpu::CpuBackend;
use gradus_ops::{AttentionShape, Backend};
use gradus_testing::{relative_l2, uniform};

const fn heads(heads: usize, kv_heads: usize, head_dim: usize) -> AttentionShape {
    AttentionShape { heads, kv_heads, head_dim }
}

fn cumulative(lengths: &[u32]) -> Vec<u32> {
    let sums = lengths.iter().scan(0, |sum, length| {
        *sum += length;
        Some(*sum)
    });
    std::iter::once(0).chain(sums).collect()
}

struct Case {
    shape: AttentionShape,
    cu_seqlens: Vec<u32>,
    qkv: Vec<f32>,
    d_out: Vec<f32>,
}

impl Case {
    fn new(shape: AttentionShape, lengths: &[u32]) -> Case {
        let tokens = lengths.iter().sum::<u32>() as usize;
        // Large enough scores that some keys matter and most do not.
        let qkv = uniform(1, tokens * shape.qkv_dim()).iter().map(|x| x * 3.0).collect();
        Case { shape, cu_seqlens: cumulative(lengths), qkv, d_out: uniform(2, tokens * shape.q_dim()) }
    }

    fn tokens(&self) -> usize {
        self.qkv.len() / self.shape.qkv_dim()
    }

    /// out, lse
    fn forward(&self, backend: &CpuBackend) -> Vec<Vec<f32>> {
        let (qkv, cu_seqlens) = (floats(backend, &self.qkv), words(backend, &self.cu_seqlens));
        let mut out = poisoned(backend, self.tokens() * self.shape.q_dim());
        let mut lse = poisoned(backend, self.tokens() * self.shape.heads);
        let sequences = self.cu_seqlens.len() - 1;
        backend.attention(self.shape, &qkv, &cu_seqlens, sequences, &mut out, &mut lse).unwrap();
        vec![read(backend, &out), read(backend, &lse)]
    }

    fn backward(&self, backend: &CpuBackend) -> Vec<f32> {
        let forward = self.forward(backend);
        let (out, lse) = (floats(backend, &forward[0]), floats(backend, &forward[1]));
        let (qkv, cu_seqlens) = (floats(backend, &self.qkv), words(backend, &self.cu_seqlens));
        let (d_out, mut d_qkv) = (floats(backend, &self.d_out), poisoned(backend, self.qkv.len()));
        let sequences = self.cu_seqlens.len() - 1;
        backend.attention_backward(self.shape, &qkv, &cu_seqlens, sequences, &out, &lse, &d_out, &mut d_qkv).unwrap();
        read(backend, &d_qkv)
    }

    fn check_forward(&self, found: &[Vec<f32>]) {
        let expected = reference::attention(self.shape, &doubles(&self.qkv), &self.cu_seqlens);
        let distances = [relative_l2(&found[0], &expected.out), relative_l2(&found[1], &expected.lse)];
        assert!(distances.iter().all(|distance| *distance < 2e-6), "{:?}: {distances:?}", self.shape);
    }
}

const SHAPES: [AttentionShape; 6] =
    [heads(4, 2, 8), heads(7, 1, 24), heads(2, 2, 64), heads(14, 2, 16), heads(1, 1, 128), heads(65, 1, 8)];

#[test]
fn forward_agrees_with_f64() {
    for shape in SHAPES {
        let case = Case::new(shape, &[1, 5, 0, 64, 99, 130]);
        case.check_forward(&same_everywhere(|backend| case.forward(backend)));
    }
}

#[test]
fn forward_never_reads_what_an_earlier_batch_left() {
    let case = Case::new(heads(4, 2, 8), &[5, 99]);
    let mut other = Case::new(heads(4, 2, 8), &[300]);
    other.qkv.fill(f32::NAN);
    let (fresh, used) = (fastest(), fastest());
    other.forward(&used);
    assert_same_bits(&case.forward(&used).concat(), &case.forward(&fresh).concat(), "after a batch of NaN");
}

#[test]
fn forward_agrees_with_f64_across_splits() {
    let case = Case::new(heads(1, 1, 8), &[2049, 3]);
    case.check_forward(&same_everywhere(|backend| case.forward(backend)));
    let case = Case::new(heads(2, 1, 8), &[2047, 2048, 4200]);
    case.check_forward(&case.forward(&fastest()));
}

#[test]
fn a_sequence_is_the_same_alone() {
    let lengths = [17, 200, 64, 1, 129];
    let case = Case::new(heads(6, 2, 16), &lengths);
    let backend = fastest();
    let (together, gradient) = (case.forward(&backend), case.backward(&backend));
    for (index, length) in lengths.iter().enumerate() {
        let first = case.cu_seqlens[index] as usize;
        let part = |values: &[f32], width: usize| values[first * width..][..*length as usize * width].to_vec();
        let alone = Case {
            shape: case.shape,
            cu_seqlens: vec![0, *length],
            qkv: part(&case.qkv, case.shape.qkv_dim()),
            d_out: part(&case.d_out, case.shape.q_dim()),
        };
        let found = alone.forward(&backend);
        assert_same_bits(&found[0], &part(&together[0], case.shape.q_dim()), "out");
        assert_same_bits(&found[1], &part(&together[1], case.shape.heads), "lse");
        assert_same_bits(&alone.backward(&backend), &part(&gradient, case.shape.qkv_dim()), "d_qkv");
    }
}

#[test]
fn later_tokens_do_not_change_earlier_rows() {
    for length in [70, 200] {
        let mut case = Case::new(heads(3, 1, 8), &[length]);
        let backend = fastest();
        let clean = case.forward(&backend);
        for last in [length as usize - 1, 66, 33] {
            let (from, width) = (last * case.shape.qkv_dim(), case.shape.q_dim());
            case.qkv[from..].fill(f32::NAN);
            let found = case.forward(&backend);
            assert_same_bits(&found[0][..last * width], &clean[0][..last * width], "out");
            assert!(found[0][last * width..].iter().all(|value| value.is_nan()));
        }
    }
}

#[test]
fn the_reference_backward_equals_differences() {
    let case = Case::new(heads(4, 2, 8), &[3, 9]);
    let (qkv, d_out) = (doubles(&case.qkv), doubles(&case.d_out));
    let expected = differences(&qkv, |qkv| {
        weighted_sum(&reference::attention(case.shape, qkv, &case.cu_seqlens).out, &case.d_out)
    });
    let found: Vec<f32> =
        reference::backward(case.shape, &qkv, &case.cu_seqlens, &d_out).iter().map(|value| *value as f32).collect();
    assert!(relative_l2(&found, &expected) < 1e-7);
}

#[test]
fn backward_agrees_with_f64() {
    for shape in SHAPES {
        let case = Case::new(shape, &[1, 5, 0, 64, 130]);
        let found = same_everywhere(|backend| vec![case.backward(backend)]).remove(0);
        let expected = reference::backward(shape, &doubles(&case.qkv), &case.cu_seqlens, &doubles(&case.d_out));
        let distance = relative_l2(&found, &expected);
        assert!(distance < 5e-6, "{shape:?}: {distance}");
    }
}

#[test]
fn backward_agrees_with_f64_across_splits() {
    let case = Case::new(heads(2, 1, 8), &[2100, 7]);
    let found = case.backward(&fastest());
    let expected = reference::backward(case.shape, &doubles(&case.qkv), &case.cu_seqlens, &doubles(&case.d_out));
    let distance = relative_l2(&found, &expected);
    assert!(distance < 5e-6, "{distance}");
}
