//! Bias and penalties on single logits: the arithmetic, its order, and the way back.

#![allow(clippy::unwrap_used)] // A test may panic.

mod device;

use device::{assert_same_bits, floats, poisoned, read, same_everywhere, words};
use gradus_cpu::CpuBackend;
use gradus_ops::{Backend, LogitAdjustments};
use gradus_testing::uniform;

const ROWS: usize = 4;
const VOCAB: usize = 50;
/// Row 0 has none, row 1 three, row 2 none, row 3 two.
const OFFSETS: [u32; 5] = [0, 0, 3, 3, 5];
const IDS: [u32; 5] = [49, 0, 7, 7, 8];
const BIASES: [f32; 5] = [0.5, f32::NEG_INFINITY, 0.0, -4.0, 0.0];
const PENALTIES: [f32; 5] = [1.25, 1.1, 1.3, 2.0, 1.0];
const REDUCTIONS: [f32; 5] = [0.0, 0.3, -1.5, 0.75, 2.0];

/// The logits after the change, what was saved, and the logits after the way back.
fn there_and_back(backend: &CpuBackend, values: &[f32]) -> Vec<Vec<f32>> {
    let (mut logits, mut saved) = (floats(backend, values), poisoned(backend, 5));
    let (offsets, ids) = (words(backend, &OFFSETS), words(backend, &IDS));
    let [biases, repetition_penalties, reductions] =
        [BIASES, PENALTIES, REDUCTIONS].map(|values| floats(backend, &values));
    let changes = || LogitAdjustments {
        rows: ROWS,
        vocab: VOCAB,
        entries: 5,
        offsets: &offsets,
        ids: &ids,
        biases: &biases,
        repetition_penalties: &repetition_penalties,
        reductions: &reductions,
    };
    backend.adjust_logits(&mut logits, changes(), &mut saved).unwrap();
    let adjusted = read(backend, &logits);
    backend.restore_logits(&mut logits, changes(), &saved).unwrap();
    vec![adjusted, read(backend, &saved), read(backend, &logits)]
}

#[test]
fn bias_then_repetition_penalty_then_reduction() {
    let values: Vec<f32> = uniform(1, ROWS * VOCAB).iter().map(|x| x * 4.0).collect();
    let results = same_everywhere(|backend| there_and_back(backend, &values));
    let mut expected = values.clone();
    let row_of = [1, 1, 1, 3, 3];
    for entry in 0..5 {
        let logit = &mut expected[row_of[entry] * VOCAB + IDS[entry] as usize];
        let biased = *logit + BIASES[entry];
        // As transformers and vLLM: a penalty above 1 makes a seen id less likely on either side of 0.
        let penalised = if biased > 0.0 { biased / PENALTIES[entry] } else { biased * PENALTIES[entry] };
        *logit = penalised - REDUCTIONS[entry];
    }
    assert_same_bits(&results[0], &expected, "adjusted");
    assert_same_bits(&results[2], &values, "restored");
    let saved: Vec<f32> = (0..5).map(|entry| values[row_of[entry] * VOCAB + IDS[entry] as usize]).collect();
    assert_eq!(results[1], saved);
    assert_eq!(results[0][VOCAB], f32::NEG_INFINITY);
}

#[test]
fn no_entries_change_nothing() {
    let backend = device::fastest();
    let values = uniform(2, ROWS * VOCAB);
    let mut logits = floats(&backend, &values);
    let (offsets, ids) = (words(&backend, &[0; 5]), words(&backend, &[]));
    let [empty, mut saved] = [(); 2].map(|()| floats(&backend, &[]));
    let changes = LogitAdjustments {
        rows: ROWS,
        vocab: VOCAB,
        entries: 0,
        offsets: &offsets,
        ids: &ids,
        biases: &empty,
        repetition_penalties: &empty,
        reductions: &empty,
    };
    backend.adjust_logits(&mut logits, changes, &mut saved).unwrap();
    assert_same_bits(&read(&backend, &logits), &values, "untouched");
}
