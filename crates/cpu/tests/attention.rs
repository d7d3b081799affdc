//! Attention over packed sequences against f64, forward and backward, across the borders of blocks and splits.

#![allow(clippy::unwrap_used)] // A test may panic.

mod device;
mod reference;

use device::{
    assert_same_bits, differences, doubles, fastest, floats, halves, poisoned, poisoned_halves, read, read_halves,
    rounded, same_everywhere, weighted_sum, words,
};
use gradus_cpu::{Buffer, CpuBackend};
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
    /// Whether qkv and out are bf16.
    half: bool,
}

impl Case {
    fn new(shape: AttentionShape, lengths: &[u32]) -> Case {
        let tokens = lengths.iter().sum::<u32>() as usize;
        // Large enough scores that some keys matter and most do not.
        let qkv = uniform(1, tokens * shape.qkv_dim()).iter().map(|x| x * 3.0).collect();
        Case { shape, cu_seqlens: cumulative(lengths), qkv, d_out: uniform(2, tokens * shape.q_dim()), half: false }
    }

    /// The same with qkv rounded to bf16, in f32 or bf16 memory.
    fn rounded(&self, half: bool) -> Case {
        let (cu_seqlens, d_out) = (self.cu_seqlens.clone(), self.d_out.clone());
        Case { shape: self.shape, cu_seqlens, qkv: rounded(&self.qkv), d_out, half }
    }

    fn activations(&self, backend: &CpuBackend, values: &[f32]) -> Buffer {
        if self.half { halves(backend, values) } else { floats(backend, values) }
    }

    fn tokens(&self) -> usize {
        self.qkv.len() / self.shape.qkv_dim()
    }

    /// out, lse
    fn forward(&self, backend: &CpuBackend) -> Vec<Vec<f32>> {
        let (qkv, cu_seqlens) = (self.activations(backend, &self.qkv), words(backend, &self.cu_seqlens));
        let len = self.tokens() * self.shape.q_dim();
        let mut out = if self.half { poisoned_halves(backend, len) } else { poisoned(backend, len) };
        let mut lse = poisoned(backend, self.tokens() * self.shape.heads);
        let sequences = self.cu_seqlens.len() - 1;
        backend.attention(self.shape, &qkv, &cu_seqlens, sequences, &mut out, &mut lse).unwrap();
        vec![if self.half { read_halves(backend, &out) } else { read(backend, &out) }, read(backend, &lse)]
    }

    fn backward(&self, backend: &CpuBackend) -> Vec<f32> {
        let forward = self.forward(backend);
        self.backward_of(backend, &forward[0], &forward[1])
    }

    fn backward_of(&self, backend: &CpuBackend, out: &[f32], lse: &[f32]) -> Vec<f32> {
        let (out, lse) = (self.activations(backend, out), floats(backend, lse));
        let (qkv, cu_seqlens) = (self.activations(backend, &self.qkv), words(backend, &self.cu_seqlens));
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

const SHAPES: [AttentionShape; 9] = [
    heads(4, 2, 8),
    heads(7, 1, 24),
    heads(3, 3, 40),
    heads(2, 2, 64),
    heads(6, 2, 80),
    heads(14, 2, 16),
    heads(1, 1, 128),
    heads(9, 1, 56),
    heads(65, 1, 8),
];

#[test]
fn forward_agrees_with_f64() {
    for shape in SHAPES {
        let case = Case::new(shape, &[1, 5, 0, 63, 64, 65, 99, 130]);
        case.check_forward(&same_everywhere(|backend| case.forward(backend)));
    }
}

#[test]
fn forward_never_reads_what_an_earlier_batch_left() {
    let case = Case::new(heads(4, 2, 8), &[5, 99]);
    let mut other = Case::new(heads(4, 2, 8), &[300]);
    other.qkv.fill(f32::NAN);
    let (fresh, used) = (fastest(), fastest());
    other.backward(&used);
    assert_same_bits(&case.forward(&used).concat(), &case.forward(&fresh).concat(), "after a batch of NaN");
    other.backward(&used);
    assert_same_bits(&case.backward(&used), &case.backward(&fresh), "gradients after a batch of NaN");
}

#[test]
fn long_batches_agree_with_f64() {
    // More tokens than one turn of the caches takes, in sequences of very different lengths.
    let case = Case::new(heads(2, 1, 8), &[989, 1, 700, 0, 600, 3, 1100]);
    case.check_forward(&same_everywhere(|backend| case.forward(backend)));
    let found = same_everywhere(|backend| vec![case.backward(backend)]).remove(0);
    let expected = reference::backward(case.shape, &doubles(&case.qkv), &case.cu_seqlens, &doubles(&case.d_out));
    let distance = relative_l2(&found, &expected);
    assert!(distance < 5e-6, "{distance}");
}

#[test]
fn bf16_computes_in_f32_and_rounds_the_output_once() {
    for shape in SHAPES {
        let case = Case::new(shape, &[1, 5, 0, 64, 99, 130]);
        let [half, single] = [true, false].map(|half| case.rounded(half));
        let found = same_everywhere(|backend| half.forward(backend));
        let expected = single.forward(&fastest());
        assert_same_bits(&found[0], &rounded(&expected[0]), "out");
        assert_same_bits(&found[1], &expected[1], "lse");
        let gradient = same_everywhere(|backend| vec![half.backward(backend)]).remove(0);
        let expected = single.backward_of(&fastest(), &found[0], &found[1]);
        assert_same_bits(&gradient, &expected, "d_qkv");
    }
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
            half: false,
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
        let case = Case::new(shape, &[1, 5, 0, 63, 64, 65, 130]);
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
