//! What a step of generation asks of the driver: its budget of launches, transfers and waits, and lists that arrive as they were sent.
#![allow(clippy::unwrap_used)]

mod device;

use device::counting::{Counter, Counting, Counts};
use gradus_cuda::CudaBackend;
use gradus_model::{
    KvCache, LogitAdjustment, Model, PagedInputs, PagedWorkspace, SampleLimits, SampleRow, ScoreRow, TokenBatch,
    TrainingWorkspace,
};
use gradus_ops::{Backend, PAGE_TOKENS, Precision, Words, WordsMut};
use gradus_testing::on_backend::{buffer, read};
use gradus_testing::{Golden, integers, uniform};
use std::sync::Arc;

fn counting() -> (CudaBackend, Counter) {
    let counter = Counter::default();
    (CudaBackend::new(Counting { driver: device::driver(1), counter: counter.clone() }), counter)
}

fn tiny() -> (Model<CudaBackend>, Counter) {
    let (backend, counter) = counting();
    let model = Model::load(&Golden::open("qwen2-tied").folder, Arc::new(backend), Precision::Bf16).unwrap();
    (model, counter)
}

/// The tokens of two sequences from `position` on, `count` each; the last one's logits are wanted.
fn inputs(position: u32, count: u32) -> PagedInputs {
    let mut inputs = PagedInputs { pages_max: 1, page_table: vec![1, 0], ..PagedInputs::default() };
    for sequence in 0..2 {
        for position in position..position + count {
            inputs.tokens.push(3 * position + sequence);
            inputs.positions.push(position);
            inputs.sequences.push(sequence);
            inputs.slots.push((1 - sequence) * PAGE_TOKENS as u32 + position);
        }
        inputs.logit_rows.push(inputs.tokens.len() as u32 - 1);
    }
    inputs
}

/// The calls of the third decode step after a prefill, all rows at `inv_t`.
fn decode(inv_t: f32, adjustments: &[LogitAdjustment]) -> (Counts, usize) {
    let (model, counter) = tiny();
    let (mut cache, mut workspace) = (KvCache::new(&model, 2).unwrap(), PagedWorkspace::new());
    for (position, count) in [(0, 5), (5, 1), (6, 1), (7, 1)] {
        counter.take();
        model.forward_paged(&inputs(position, count), &mut cache, &mut workspace).unwrap();
        let row = SampleRow {
            inv_t,
            greedy: false,
            key: 5,
            stream: 6,
            position: position + count,
            limits: SampleLimits::NONE,
        };
        let ends = if adjustments.is_empty() { vec![] } else { vec![0, adjustments.len()] };
        assert_eq!(model.sample_rows(&mut workspace, &[row; 2], adjustments, &ends).unwrap().len(), 2);
    }
    (counter.take(), model.config.num_hidden_layers)
}

#[test]
fn a_decode_step_has_two_uploads_and_one_read() {
    let (found, layers) = decode(1.0, &[]);
    let Counts { allocations, writes, reads, copies, fills, waits, launches } = &found;
    // The tokens before the forward, and how to draw from their logits: that one is on its way while the layers run.
    assert_eq!((*writes, *reads), (2, 1), "{found:?}");
    assert_eq!((*allocations, *copies, *fills, *waits), (0, 0, 0, 0), "{found:?}");
    // A layer: two norms, four products, rope, the keys' and values' places, attention, silu · up. Beside them the embedding, two gathers,
    // the last norm, the head, the draw, and a launch for each transfer.
    assert_eq!(launches.len(), 10 * layers + 6 + 3, "{found:?}");
    assert_eq!(found.launches_of("move_words"), 3);
    assert_eq!(found.launches_of("paged_attention"), layers);
}

#[test]
fn another_temperature_costs_a_launch_and_changed_logits_an_upload() {
    let (raw, _) = decode(1.0, &[]);
    let (heated, _) = decode(0.8, &[]);
    assert_eq!((heated.writes, heated.reads), (2, 1), "{heated:?}");
    assert_eq!(heated.launches.len(), raw.launches.len() + 1);
    assert_eq!(heated.launches_of("softmax_statistics"), 1);
    let adjustment = LogitAdjustment { id: 7, bias: -1.0, repetition_penalty: 1.0, reduction: 0.0 };
    let (adjusted, _) = decode(1.0, &[adjustment]);
    assert_eq!((adjusted.writes, adjusted.reads, adjusted.allocations), (3, 1, 0), "{adjusted:?}");
    // Its transfer, the change, the way back, and the statistics of the unchanged logits.
    assert_eq!(adjusted.launches.len(), raw.launches.len() + 4);
}

#[test]
fn the_head_takes_as_many_rows_at_once_as_the_backend_says() {
    let (model, counter) = tiny();
    let length = model.config.max_position_embeddings.min(64);
    let sequences: Vec<Vec<u32>> =
        (0..600_usize.div_ceil(length)).map(|seed| integers(seed as u64, length, 32)).collect();
    let batch = TokenBatch::pack(sequences.iter());
    let mut workspace = TrainingWorkspace::new();
    model.forward(&batch, &mut workspace).unwrap();
    let rows: Vec<ScoreRow> = (0..600).map(|row| ScoreRow { row, target: row % 32, inv_t: 1.0 }).collect();
    counter.take();
    model.score_rows(&rows, &mut workspace).unwrap();
    assert_eq!((counter.take().launches_of("softmax_statistics"), model.backend.head_rows()), (1, 4096));
}

#[test]
fn lists_arrive_as_they_were_sent() {
    let (backend, counter) = counting();
    let lengths = [1, 0, 300, 7, 256, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 513, 3];
    let lists: Vec<Vec<u32>> = lengths.iter().enumerate().map(|(i, len)| integers(i as u64, *len, 1 << 30)).collect();
    let mut buffers: Vec<_> = lengths.iter().map(|len| buffer(&backend, &vec![9_u32; len + 2])).collect();
    let floats = uniform(1, 70);
    let mut float_buffer = buffer(&backend, &[0.5_f32; 71]);
    counter.take();
    let mut sent: Vec<_> = buffers.iter_mut().zip(&lists).map(|(buffer, list)| (buffer, Words::U32(list))).collect();
    sent.push((&mut float_buffer, Words::F32(&floats)));
    backend.write_all(&mut sent).unwrap();
    let found = counter.take();
    // 19 lists: 16 of one transfer, three of the next.
    assert_eq!((found.writes, found.launches_of("move_words")), (2, 2), "{found:?}");
    for (list, buffer) in lists.iter().zip(&buffers) {
        let found = read::<_, u32>(&backend, buffer);
        assert_eq!((&found[..list.len()], &found[list.len()..]), (list.as_slice(), [9; 2].as_slice()));
    }
    let mut back: Vec<Vec<u32>> = lengths.iter().map(|len| vec![0; *len]).collect();
    let mut floats_back = vec![0.0; 70];
    counter.take();
    let mut received: Vec<_> =
        buffers.iter().zip(&mut back).map(|(buffer, list)| (buffer, WordsMut::U32(list))).collect();
    received.push((&float_buffer, WordsMut::F32(&mut floats_back)));
    backend.read_all(&mut received).unwrap();
    assert_eq!(counter.take().reads, 2);
    assert!(back == lists && floats_back == floats);
    let mut long = vec![0; 73];
    let error = backend.read_all(&mut [(&float_buffer, WordsMut::F32(&mut [0.0; 72]))]).unwrap_err();
    assert_eq!(error.to_string(), "read_all: src has 71 elements, expected at least 72");
    let error = backend.read_all(&mut [(&float_buffer, WordsMut::U32(&mut long))]).unwrap_err();
    assert_eq!(error.to_string(), "read_all: src has dtype F32, expected U32");
}
