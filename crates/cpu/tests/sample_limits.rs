//! Draws within top-k, top-p and min-p against a reference in f64 that sorts, and what a draw reports of the whole distribution.

#![allow(clippy::unwrap_used)] // A test may panic.

mod device;

use device::{floats, poisoned, read, read_words, same_everywhere, words};
use gradus_cpu::CpuBackend;
use gradus_ops::philox::{number, uniform as philox_uniform};
use gradus_ops::{Backend, LossRows, SampleRows};
use gradus_tensor::DType;
use gradus_testing::uniform;

const KEY: u64 = 0x0123_4567_89ab_cdef;
const STREAM: u64 = 0xfeed_face_cafe_f00d;

/// How one row is drawn.
#[derive(Clone, Copy, Debug)]
struct Settings {
    inv_t: f32,
    greedy: bool,
    top_k: u32,
    top_p: f32,
    min_p: f32,
}

const ALL: Settings = Settings { inv_t: 1.0, greedy: false, top_k: 0, top_p: 1.0, min_p: 0.0 };

/// Each limit alone, and all that meet.
fn kinds() -> Vec<Settings> {
    let mut kinds = vec![ALL, Settings { greedy: true, ..ALL }];
    for inv_t in [1.0, 1.0 / 0.6, 1.0 / 1.5] {
        for (top_k, top_p, min_p) in [
            (20, 1.0, 0.0),
            (1, 1.0, 0.0),
            (0, 0.95, 0.0),
            (0, 0.5, 0.0),
            (0, 1e-6, 0.0),
            (0, 1.0, 0.1),
            (40, 0.9, 0.0),
            (40, 1.0, 0.05),
            (0, 0.9, 0.02),
            (30, 0.8, 0.2),
        ] {
            kinds.push(Settings { inv_t, top_k, top_p, min_p, ..ALL });
        }
    }
    kinds
}

struct Drawn {
    ids: Vec<u32>,
    /// lse, logprob, entropy.
    statistics: [Vec<f32>; 3],
}

/// Samples a row for each of `settings`, at positions `first`, `first + 1`, …
fn draw(backend: &CpuBackend, logits: &[f32], settings: &[Settings], first: u32) -> Drawn {
    let rows = settings.len();
    let words_of_row = [KEY as u32, (KEY >> 32) as u32, STREAM as u32, (STREAM >> 32) as u32];
    let f32s = |value: fn(&Settings) -> f32| floats(backend, &settings.iter().map(value).collect::<Vec<_>>());
    let u32s = |value: fn(&Settings) -> u32| words(backend, &settings.iter().map(value).collect::<Vec<_>>());
    let (inv_t, top_p, min_p) = (f32s(|row| row.inv_t), f32s(|row| row.top_p), f32s(|row| row.min_p));
    let (greedy, top_k) = (u32s(|row| u32::from(row.greedy)), u32s(|row| row.top_k));
    let streams = words(backend, &words_of_row.repeat(rows));
    let positions = words(backend, &(first..first + rows as u32).collect::<Vec<_>>());
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
    let mut ids = backend.alloc(DType::U32, rows).unwrap();
    let [mut lse, mut logprob, mut entropy] = [(); 3].map(|()| poisoned(backend, rows));
    backend.sample(&floats(backend, logits), shape, &mut ids, &mut lse, &mut logprob, &mut entropy).unwrap();
    let statistics = [&lse, &logprob, &entropy].map(|buffer| read(backend, buffer));
    Drawn { ids: read_words(backend, &ids), statistics }
}

/// The probability of each id after the limits, in f64, by sorting: 0 where it may not be drawn.
fn reference(logits: &[f32], settings: Settings) -> Vec<f64> {
    let Settings { inv_t, top_k, top_p, min_p, .. } = settings;
    let z: Vec<f64> = logits.iter().map(|logit| f64::from(logit * inv_t)).collect();
    let mut order: Vec<usize> = (0..z.len()).collect();
    // A stable sort: equal ids stay in order.
    order.sort_by(|a, b| z[*b].total_cmp(&z[*a]));
    if settings.greedy || top_k > 0 {
        order.truncate(if settings.greedy { 1 } else { top_k as usize });
    }
    let share = |id: &usize| (z[*id] - z[order[0]]).exp();
    let total: f64 = order.iter().map(share).sum();
    let mut sum = 0.0;
    let before: Vec<f64> = order
        .iter()
        .map(|id| {
            sum += share(id) / total;
            sum - share(id) / total
        })
        .collect();
    let kept = |place: usize, id: &usize| before[place] < f64::from(top_p) && share(id) >= f64::from(min_p);
    let mut probabilities = vec![0.0; z.len()];
    for (place, id) in order.iter().enumerate() {
        if top_p >= 1.0 && share(id) >= f64::from(min_p) || kept(place, id) {
            probabilities[*id] = share(id);
        }
    }
    let total: f64 = probabilities.iter().sum();
    probabilities.iter().map(|share| share / total).collect()
}

/// The id that `u` falls on, by the reference.
fn inverse(probabilities: &[f64], u: f64) -> Option<usize> {
    let mut sum = 0.0;
    probabilities.iter().position(|p| {
        sum += p;
        sum > u
    })
}

#[test]
fn draws_follow_the_limited_distribution() {
    let (vocab, rows, batches) = (300, 400, 25);
    let backend = device::fastest();
    let mut logits: Vec<f32> = uniform(1, vocab).iter().map(|x| x * 3.0).collect();
    for id in (0..vocab).step_by(7) {
        logits[id] = f32::NEG_INFINITY;
    }
    let repeated = logits.repeat(rows);
    for settings in kinds() {
        let expected = reference(&logits, settings);
        let mut counts = vec![0.0; vocab];
        for batch in 0..batches {
            for id in draw(&backend, &repeated, &vec![settings; rows], batch * rows as u32).ids {
                counts[id as usize] += 1.0;
            }
        }
        let draws = f64::from(batches) * rows as f64;
        let (mut chi_square, mut cells) = (0.0, 0.0);
        for (id, (count, probability)) in counts.iter().zip(&expected).enumerate() {
            assert!(*probability > 0.0 || *count == 0.0, "{settings:?}: id {id} lies outside the limits");
            if probability * draws >= 5.0 {
                chi_square += (count - probability * draws).powi(2) / (probability * draws);
                cells += 1.0;
            }
        }
        // Mean `cells`, standard deviation sqrt(2·cells): five of them either way.
        let bound = 5.0 * f64::sqrt(2.0 * cells);
        assert!((chi_square - cells).abs() <= bound, "{settings:?}: {chi_square} over {cells} cells");
    }
}

#[test]
fn a_draw_is_the_inverse_of_the_limited_cumulative_sum_everywhere() {
    let (vocab, kinds) = (1003, kinds());
    let rows = kinds.len() * 20;
    let settings: Vec<Settings> = kinds.iter().copied().cycle().take(rows).collect();
    let logits: Vec<f32> = uniform(2, rows * vocab).iter().map(|x| x * 6.0).collect();
    let results = same_everywhere(|backend| {
        let drawn = draw(backend, &logits, &settings, 0);
        let [lse, logprob, entropy] = drawn.statistics;
        vec![drawn.ids.iter().map(|id| *id as f32).collect(), lse, logprob, entropy]
    });
    let mut differing = 0;
    for (row, (logits, id)) in logits.chunks(vocab).zip(&results[0]).enumerate() {
        let probabilities = reference(logits, settings[row]);
        let u = f64::from(philox_uniform(number(KEY, STREAM, row as u32, 0)[0]));
        differing += usize::from(inverse(&probabilities, u) != Some(*id as usize));
        assert!(probabilities[*id as usize] > 0.0, "row {row} {:?}: id {id} lies outside the limits", settings[row]);
    }
    // Only where u lies within rounding of a border between two ids.
    assert!(differing <= 2, "{differing} of {rows} draws differ from f64");
}

#[test]
fn large_vocabularies_are_cut_where_the_reference_cuts() {
    let vocab = 151_936;
    let backend = device::fastest();
    let nearly_one = 1.0f32.next_down();
    // Peaked as a trained model is, flat, and flat with ties.
    let peaked: Vec<f32> =
        uniform(3, vocab).iter().map(|x| 2.5 * x.signum() * (1.0 / (1.0001 - x.abs())).ln()).collect();
    let flat: Vec<f32> = uniform(4, vocab);
    let tied: Vec<f32> = uniform(5, vocab).iter().map(|x| (x * 4.0).round()).collect();
    for logits in [peaked, flat, tied] {
        for (top_k, top_p, min_p) in [
            (50, 1.0, 0.0),
            (20_000, 1.0, 0.0),
            (0, 0.95, 0.0),
            (0, 0.3, 0.0),
            (0, nearly_one, 0.0),
            (1000, 0.9, 0.01),
            (0, 1.0, 0.3),
            (0, nearly_one, 0.3),
        ] {
            let settings = Settings { top_k, top_p, min_p, ..ALL };
            let expected = reference(&logits, settings);
            let rows = 12;
            let ids = draw(&backend, &logits.repeat(rows), &vec![settings; rows], 0).ids;
            for (row, id) in ids.into_iter().enumerate() {
                let u = f64::from(philox_uniform(number(KEY, STREAM, row as u32, 0)[0]));
                // The cut may lie within rounding of another one, which moves every border a little.
                let near = [-1e-6, 0.0, 1e-6].map(|change| inverse(&expected, (u + change).clamp(0.0, 1.0 - 1e-12)));
                assert!(near.contains(&Some(id as usize)), "{settings:?} row {row}: {id}, expected {near:?}");
            }
        }
    }
}

#[test]
fn limits_that_limit_nothing_change_no_bit() {
    let (vocab, rows) = (500, 64);
    let backend = device::fastest();
    let logits: Vec<f32> = uniform(6, rows * vocab).iter().map(|x| x * 2.0).collect();
    let inv_t = 1.25;
    let expected = draw(&backend, &logits, &vec![Settings { inv_t, ..ALL }; rows], 3).ids;
    for top_k in [vocab as u32, vocab as u32 + 1, u32::MAX] {
        let settings = Settings { inv_t, top_k, ..ALL };
        assert_eq!(draw(&backend, &logits, &vec![settings; rows], 3).ids, expected, "{settings:?}");
    }
    let greedy = draw(&backend, &logits, &vec![Settings { greedy: true, ..ALL }; rows], 3).ids;
    for certain in
        [Settings { top_k: 1, ..ALL }, Settings { min_p: 1.0, ..ALL }, Settings { top_p: f32::MIN_POSITIVE, ..ALL }]
    {
        assert_eq!(draw(&backend, &logits, &vec![certain; rows], 3).ids, greedy, "{certain:?}");
    }
    let limited = Settings { greedy: true, top_k: 3, top_p: 0.5, min_p: 0.5, ..ALL };
    assert_eq!(draw(&backend, &logits, &vec![limited; rows], 3).ids, greedy);
}

/// The ids that 600 draws give.
fn support(logits: &[f32], settings: Settings) -> Vec<u32> {
    let mut ids = draw(&device::fastest(), &logits.repeat(600), &vec![settings; 600], 0).ids;
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[test]
fn ties_at_the_threshold_go_to_the_lowest_ids() {
    for vocab in [8, 40, 1000] {
        let equal = vec![-1.5; vocab];
        assert_eq!(support(&equal, Settings { top_k: 3, ..ALL }), [0, 1, 2]);
        let top_p = 2.0 / vocab as f32;
        assert_eq!(support(&equal, Settings { top_p: top_p.next_down(), ..ALL }), [0, 1]);
        assert_eq!(support(&equal, Settings { top_p: top_p.next_up(), ..ALL }), [0, 1, 2]);
        assert_eq!(support(&equal, Settings { top_k: 4, top_p: 0.5, ..ALL }), [0, 1]);
        assert_eq!(support(&equal, Settings { top_k: 5, min_p: 1.0, ..ALL }), [0, 1, 2, 3, 4]);
    }
    // The two zeros are one number.
    let zeros = [-1.0, -0.0, 0.0, -0.0, 0.0, -1.0];
    assert_eq!(support(&zeros, Settings { top_k: 2, ..ALL }), [1, 2]);
    // One above, a tie below: the lowest of the tie fill up.
    let mut below = vec![0.0; 300];
    (below[120], below[7]) = (1.0, -1.0);
    assert_eq!(support(&below, Settings { top_k: 4, ..ALL }), [0, 1, 2, 120]);
}

#[test]
fn all_mass_on_one_id_is_that_id_within_any_limits() {
    for settings in kinds() {
        for (vocab, id) in [(1, 0), (16, 15), (257, 256), (1000, 511)] {
            let mut logits = vec![f32::NEG_INFINITY; vocab];
            logits[id] = -3.0;
            assert_eq!(support(&logits, settings), [id as u32], "{settings:?}, vocabulary {vocab}");
        }
    }
}

#[test]
fn a_limited_draw_depends_on_its_row_alone_and_reports_the_whole_distribution() {
    let (vocab, kinds) = (700, kinds());
    let rows = kinds.len();
    let backend = device::fastest();
    let logits: Vec<f32> = uniform(7, rows * vocab).iter().map(|x| x * 5.0).collect();
    let together = draw(&backend, &logits, &kinds, 11);
    for (row, logits) in logits.chunks(vocab).enumerate() {
        let alone = draw(&backend, logits, &kinds[row..=row], 11 + row as u32);
        assert_eq!(alone.ids, [together.ids[row]]);
        assert_eq!(alone.statistics.map(|values| values[0]), [0, 1, 2].map(|at| together.statistics[at][row]));
    }
    let (targets, inv_t) =
        (words(&backend, &together.ids), floats(&backend, &kinds.iter().map(|row| row.inv_t).collect::<Vec<_>>()));
    let [mut lse, mut logprob, mut entropy] = [(); 3].map(|()| poisoned(&backend, rows));
    let shape = LossRows { rows, vocab, targets: &targets, inv_t: &inv_t };
    backend.softmax_statistics(&floats(&backend, &logits), shape, &mut lse, &mut logprob, &mut entropy).unwrap();
    let expected = [&lse, &logprob, &entropy].map(|buffer| read(&backend, buffer));
    assert_eq!(together.statistics, expected);
}
