//! The sampler: its distribution, its exactness at the edges, and that a draw depends on its row alone.

#![allow(clippy::unwrap_used)] // A test may panic.

mod device;

use device::{floats, poisoned, read_words, same_everywhere, words};
use gradus_cpu::CpuBackend;
use gradus_ops::philox::{number, uniform as philox_uniform};
use gradus_ops::{Backend, Result, SampleRows};
use gradus_tensor::DType;
use gradus_testing::uniform;

const KEY: u64 = 0x0123_4567_89ab_cdef;
const STREAM: u64 = 0xfeed_face_cafe_f00d;

/// Samples `rows` rows of `logits` at positions `first`, `first + 1`, …
fn draw(backend: &CpuBackend, logits: &[f32], rows: usize, inv_t: f32, greedy: bool, first: u32) -> Result<Vec<u32>> {
    let words_of_row = [KEY as u32, (KEY >> 32) as u32, STREAM as u32, (STREAM >> 32) as u32];
    let (inv_t, greedy) = (floats(backend, &vec![inv_t; rows]), words(backend, &vec![u32::from(greedy); rows]));
    let streams = words(backend, &words_of_row.repeat(rows));
    let positions = words(backend, &(first..first + rows as u32).collect::<Vec<_>>());
    let top_k = words(backend, &vec![0; rows]);
    let (top_p, min_p) = (floats(backend, &vec![1.0; rows]), floats(backend, &vec![0.0; rows]));
    let shape = SampleRows {
        rows,
        vocab: logits.len() / rows,
        inv_t: &inv_t,
        greedy: &greedy,
        streams: &streams,
        positions: &positions,
        top_k: &top_k,
        top_p: &top_p,
        min_p: &min_p,
    };
    let mut ids = backend.alloc(DType::U32, rows)?;
    let [mut lse, mut logprob, mut entropy] = [(); 3].map(|()| poisoned(backend, rows));
    backend.sample(&floats(backend, logits), shape, &mut ids, &mut lse, &mut logprob, &mut entropy)?;
    Ok(read_words(backend, &ids))
}

/// Softmax probabilities in f64.
fn probabilities(logits: &[f32], inv_t: f32) -> Vec<f64> {
    let z: Vec<f64> = logits.iter().map(|x| f64::from(*x) * f64::from(inv_t)).collect();
    let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = z.iter().map(|z| (z - largest).exp()).sum();
    z.iter().map(|z| (z - largest).exp() / sum).collect()
}

#[test]
fn draws_follow_the_distribution() {
    let (vocab, rows, batches) = (700, 400, 50);
    let backend = device::fastest();
    let mut logits: Vec<f32> = uniform(1, vocab).iter().map(|x| x * 3.0).collect();
    for id in (0..vocab).step_by(7) {
        logits[id] = f32::NEG_INFINITY;
    }
    let repeated = logits.repeat(rows);
    for inv_t in [1.0, 1.0 / 0.6] {
        let mut counts = vec![0.0; vocab];
        for batch in 0..batches {
            for id in draw(&backend, &repeated, rows, inv_t, false, batch * rows as u32).unwrap() {
                counts[id as usize] += 1.0;
            }
        }
        let draws = f64::from(batches) * rows as f64;
        let (mut chi_square, mut cells) = (0.0, 0.0);
        for (count, probability) in counts.iter().zip(probabilities(&logits, inv_t)) {
            assert!(probability > 0.0 || *count == 0.0, "an impossible id was drawn");
            if probability * draws >= 5.0 {
                chi_square += (count - probability * draws).powi(2) / (probability * draws);
                cells += 1.0;
            }
        }
        // Mean `cells`, standard deviation sqrt(2·cells): five of them either way.
        let bound = 5.0 * f64::sqrt(2.0 * cells);
        assert!((chi_square - cells).abs() < bound, "T = {}: {chi_square} over {cells} cells", 1.0 / inv_t);
    }
}

#[test]
fn draws_are_the_inverse_of_the_cumulative_sum() {
    let (vocab, rows) = (1003, 500);
    let logits: Vec<f32> = uniform(2, rows * vocab).iter().map(|x| x * 4.0).collect();
    let results = same_everywhere(|backend| {
        let ids = draw(backend, &logits, rows, 1.0, false, 0).unwrap();
        vec![ids.iter().map(|id| *id as f32).collect()]
    });
    let mut differing = 0;
    for (row, (logits, id)) in logits.chunks(vocab).zip(&results[0]).enumerate() {
        let u = f64::from(philox_uniform(number(KEY, STREAM, row as u32, 0)[0]));
        let mut sum = 0.0;
        let expected = probabilities(logits, 1.0).iter().position(|p| {
            sum += p;
            sum > u
        });
        differing += usize::from(expected != Some(*id as usize));
    }
    // Only where u lies within rounding of a border between two ids.
    assert!(differing <= 2, "{differing} of {rows} draws differ from f64");
}

#[test]
fn a_draw_depends_on_its_row_alone() {
    let (vocab, rows) = (500, 33);
    let backend = device::fastest();
    let logits: Vec<f32> = uniform(3, rows * vocab).iter().map(|x| x * 2.0).collect();
    let together = draw(&backend, &logits, rows, 1.25, false, 7).unwrap();
    for (row, logits) in logits.chunks(vocab).enumerate() {
        assert_eq!(draw(&backend, logits, 1, 1.25, false, 7 + row as u32).unwrap(), [together[row]]);
    }
}

#[test]
fn all_mass_on_one_id_is_always_that_id() {
    for (vocab, id) in [(1, 0), (16, 15), (257, 256), (151_936, 151_935), (151_936, 0), (1000, 511)] {
        let mut logits = vec![f32::NEG_INFINITY; vocab];
        logits[id] = -3.0;
        let repeated = logits.repeat(4);
        let ids = draw(&device::fastest(), &repeated, 4, 1.0, false, 0).unwrap();
        assert_eq!(ids, [id as u32; 4], "vocabulary {vocab}");
    }
}

#[test]
fn greedy_takes_the_lowest_id_of_the_highest_logit() {
    for (vocab, places) in [(5, vec![2, 4]), (99, vec![17, 16, 98]), (1000, vec![999]), (300, vec![0, 299])] {
        let mut logits: Vec<f32> = uniform(4, vocab);
        for place in &places {
            logits[*place] = 2.0;
        }
        let expected = *places.iter().min().unwrap() as u32;
        let results = same_everywhere(|backend| vec![vec![draw(backend, &logits, 1, 1.0, true, 0).unwrap()[0] as f32]]);
        assert_eq!(results[0], [expected as f32]);
    }
}

#[test]
fn damaged_logits_are_refused_with_their_row() {
    let backend = device::fastest();
    for bad in [f32::NAN, f32::INFINITY] {
        let mut logits = uniform(5, 3 * 50);
        logits[2 * 50 + 49] = bad;
        let message = draw(&backend, &logits, 3, 1.0, false, 0).unwrap_err().to_string();
        assert!(message.contains("row 2"), "{message}");
    }
    let nothing = vec![f32::NEG_INFINITY; 50];
    assert!(draw(&backend, &nothing, 1, 1.0, false, 0).is_err());
    assert!(draw(&backend, &nothing, 1, 1.0, true, 0).is_err());
}
