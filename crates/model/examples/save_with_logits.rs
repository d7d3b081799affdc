//! Loads a Hugging Face folder, saves it again and writes the logits of one sequence beside it, for
//! scripts/golden/check_saved.py.
//!
//! Run: cargo run --release -p gradus-model --example save_with_logits -- FOLDER OUT

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use gradus_cpu::CpuBackend;
use gradus_model::{KvCache, Model, PagedInputs, PagedWorkspace};
use gradus_ops::{Backend, PAGE_TOKENS, Precision};
use gradus_tensor::{SafetensorsWriter, TensorSpec};
use gradus_testing::integers;

/// More than one block of keys.
const TOKENS: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let [folder, out] = &std::env::args().skip(1).map(PathBuf::from).collect::<Vec<_>>()[..] else {
        return Err("usage: save_with_logits FOLDER OUT".into());
    };
    let model = Model::load(folder, Arc::new(CpuBackend::new(None)?), Precision::F32)?;
    std::fs::create_dir_all(out)?;
    model.save_weights(out)?;

    let vocab = model.config.vocab_size;
    let tokens = integers(1, TOKENS, vocab as u32);
    let pages_max = TOKENS.div_ceil(PAGE_TOKENS);
    let all: Vec<u32> = (0..TOKENS as u32).collect();
    let inputs = PagedInputs {
        tokens: tokens.clone(),
        positions: all.clone(),
        sequences: vec![0; TOKENS],
        slots: all.clone(),
        page_table: (0..pages_max as u32).collect(),
        pages_max,
        logit_rows: all,
    };
    let (mut cache, mut workspace) = (KvCache::new(&model, pages_max)?, PagedWorkspace::new());
    model.forward_paged(&inputs, &mut cache, &mut workspace)?;
    let (buffer, rows) = workspace.logits().ok_or("no logits")?;
    let mut logits = vec![0.0; rows * vocab];
    model.backend.read(buffer, 0, &mut logits)?;

    let specs = vec![TensorSpec::new("tokens", [TOKENS]), TensorSpec::new("logits", [TOKENS, vocab])];
    let mut writer = SafetensorsWriter::create(&out.join("logits.safetensors"), specs, &BTreeMap::new())?;
    // Ids are below 2^24, so f32 holds them exactly.
    writer.write_f32("tokens", &tokens.iter().map(|id| *id as f32).collect::<Vec<_>>())?;
    writer.write_f32("logits", &logits)?;
    Ok(writer.finish()?)
}
