//! Inputs that the ops would take amiss are refused before any work, in one line that names them.

use std::sync::Arc;

use gradus_cpu::CpuBackend;
use gradus_model::{
    KvCache, LossRow, Model, PagedInputs, PagedWorkspace, Result, SampleLimits, SampleRow, ScoreRow, TokenBatch,
    TrainingWorkspace,
};
use gradus_ops::Precision;
use gradus_testing::Golden;

const CONTEXT: usize = 256;

fn model() -> Model<CpuBackend> {
    let backend = Arc::new(CpuBackend::new(Some(1)).expect("a backend"));
    Model::load(&Golden::open("qwen2-tied").folder, backend, Precision::F32).expect("the golden model")
}

fn check<T>(result: Result<T>, expected: &str) {
    let error = result.err().unwrap_or_else(|| panic!("{expected}: was taken")).to_string();
    assert!(error.contains(expected) && !error.contains('\n'), "{error:?} does not say {expected:?}");
}

fn loss_row(row: u32, target: u32) -> LossRow {
    LossRow { row, target, weight: 1.0, inv_t: 1.0, old_logprob: None }
}

#[test]
fn batches() {
    let model = model();
    let forward = |tokens: Vec<u32>, cu_seqlens: Vec<u32>| {
        model.forward(&TokenBatch { tokens, cu_seqlens }, &mut TrainingWorkspace::new())
    };
    check(forward(vec![], vec![]), "cu_seqlens must go from 0");
    check(forward(vec![], vec![0]), "cu_seqlens must go from 0");
    check(forward(vec![1, 2], vec![0, 1]), "cu_seqlens must go from 0 to the number of tokens, 2");
    check(forward(vec![1, 2], vec![1, 2]), "cu_seqlens must go from 0");
    check(forward(vec![1, 2], vec![0, 1, 1, 2]), "sequence 1 is empty");
    check(forward(vec![1, 2], vec![0, 2, 1, 2]), "sequence 1 is empty or ends before it begins");
    check(forward(vec![1, 131], vec![0, 2]), "id 131 is not below vocab_size = 131");
    check(
        forward(vec![1; CONTEXT + 1], vec![0, CONTEXT as u32 + 1]),
        "257 tokens, more than max_position_embeddings = 256",
    );
    forward(vec![1; CONTEXT], vec![0, CONTEXT as u32]).expect("a whole context");
}

#[test]
fn rows() {
    let model = model();
    let batch = TokenBatch::pack([[1, 2, 3]]);
    let mut workspace = TrainingWorkspace::new();
    let mut gradients = model.parameters.like(&model.backend).expect("gradients");
    let one = ScoreRow { row: 0, target: 0, inv_t: 1.0 };
    check(model.score_rows(&[one], &mut workspace), "run forward first");
    check(model.loss_backward(&batch, &[], None, &mut gradients, &mut workspace), "run forward over it first");
    model.forward(&batch, &mut workspace).expect("forward");
    assert_eq!(model.score_rows(&[], &mut workspace).expect("no rows"), []);
    check(model.score_rows(&[ScoreRow { row: 3, ..one }], &mut workspace), "row 3, target 0: the batch has 3 tokens");
    check(model.score_rows(&[ScoreRow { target: 131, ..one }], &mut workspace), "row 0, target 131");
    for inv_t in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        check(model.score_rows(&[ScoreRow { inv_t, ..one }], &mut workspace), "inv_t: is");
    }
    let mut backward =
        |rows: &[LossRow], clip| model.loss_backward(&batch, rows, clip, &mut gradients, &mut workspace).cloned();
    check(backward(&[loss_row(1, 0), loss_row(0, 0)], None), "ascend by row");
    check(backward(&[loss_row(1, 0), loss_row(1, 2)], None), "ascend by row");
    check(backward(&[loss_row(3, 0)], None), "row 3");
    check(backward(&[loss_row(0, 0)], Some((-0.1, 0.2))), "clip: (-0.1, 0.2)");
    let masked = backward(&[LossRow { weight: 0.0, ..loss_row(0, 0) }], None).expect("no row with weight");
    assert_eq!(masked.loss, 0.0);
}

#[test]
fn paged_inputs() {
    let model = model();
    let good = PagedInputs {
        tokens: vec![1, 2],
        positions: vec![15, 16],
        sequences: vec![0, 0],
        slots: vec![15, 16],
        page_table: vec![0, 1],
        pages_max: 2,
        logit_rows: vec![1],
    };
    let forward = |inputs: PagedInputs| {
        let mut cache = KvCache::new(&model, 2).expect("a cache");
        model.forward_paged(&inputs, &mut cache, &mut PagedWorkspace::new())
    };
    forward(good.clone()).expect("good inputs");
    check(forward(PagedInputs::default()), "at least one token");
    check(forward(PagedInputs { positions: vec![15], ..good.clone() }), "one entry for each of 2 tokens");
    check(forward(PagedInputs { positions: vec![15, 256], ..good.clone() }), "position 256 is not below");
    check(forward(PagedInputs { positions: vec![15, 32], ..good.clone() }), "sequence 0 at position 32 is outside");
    check(forward(PagedInputs { sequences: vec![0, 1], ..good.clone() }), "sequence 1 at position 16 is outside");
    check(forward(PagedInputs { sequences: vec![1, 0], ..good.clone() }), "sequence 1 at position 15 is outside");
    check(forward(PagedInputs { page_table: vec![0, 2], ..good.clone() }), "pages of sequence 0 are not all below 2");
    check(forward(PagedInputs { slots: vec![15, 32], ..good.clone() }), "a slot is not below 2 pages");
    check(forward(PagedInputs { logit_rows: vec![2], ..good.clone() }), "a logit row is not below");
    check(forward(PagedInputs { tokens: vec![1, 131], ..good }), "id 131");
}

#[test]
fn sample_rows() {
    let model = model();
    let mut workspace = PagedWorkspace::new();
    let row = SampleRow { inv_t: 1.0, greedy: false, key: 0, stream: 0, position: 1, limits: SampleLimits::NONE };
    assert_eq!(model.sample_rows(&mut workspace, &[], &[], &[]).expect("no rows"), []);
    check(model.sample_rows(&mut workspace, &[row], &[], &[]), "1 rows for 0 rows of logits");
    let inputs = PagedInputs {
        tokens: vec![1],
        positions: vec![0],
        sequences: vec![0],
        slots: vec![0],
        page_table: vec![0],
        pages_max: 1,
        logit_rows: vec![0],
    };
    let mut cache = KvCache::new(&model, 1).expect("a cache");
    model.forward_paged(&inputs, &mut cache, &mut workspace).expect("forward");
    check(model.sample_rows(&mut workspace, &[SampleRow { inv_t: 0.0, ..row }], &[], &[]), "inv_t: is 0");
    model.sample_rows(&mut workspace, &[SampleRow { inv_t: 0.0, greedy: true, ..row }], &[], &[]).expect("greedy");
}
