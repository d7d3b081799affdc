//! Prints how fast sequences of a random model are decoded, without the SDK around the engine: for profiles of a decode step.
//! `cargo run --release -p gradus-engine --example decode_rate -- [T|S|M] [f32|bf16|q8_0] [BATCH] [PROMPT] [RESPONSE] [REPEATS]`.
#![allow(clippy::print_stdout)]

use gradus_cpu::CpuBackend;
use gradus_engine::{Engine, EngineOptions, Request, SamplingOptions};
use gradus_model::{Model, ModelConfig};
use gradus_ops::{Backend, PAGE_TOKENS, Precision};
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let word = |index: usize, otherwise: &str| arguments.get(index).cloned().unwrap_or(otherwise.into());
    let number = |index: usize, otherwise: &str| word(index, otherwise).parse::<usize>();
    let (shape, dtype) = (word(0, "T"), word(1, "f32"));
    let (batch, prompt, response, repeats) = (number(2, "64")?, number(3, "32")?, number(4, "128")?, number(5, "5")?);
    let precision = Precision::ALL.into_iter().find(|precision| precision.name() == dtype).ok_or("no such dtype")?;
    let backend = Arc::new(CpuBackend::new(None)?);
    println!("level {}, {} threads", backend.level(), backend.threads());
    let model = Model::random(ModelConfig::from_json(&config(&shape).to_string())?, backend, 1, precision)?;
    let pages = batch * (prompt + response).div_ceil(PAGE_TOKENS);
    let mut engine = Engine::new(&model, EngineOptions::of(model.backend.as_ref(), pages))?;
    let (mut rates, mut fastest) = (Vec::new(), vec![f64::INFINITY; response]);
    for repeat in 0..=repeats {
        for index in 0..batch {
            engine.submit(request(index + repeat * batch, prompt, response, model.config.vocab_size as u32))?;
        }
        while engine.step(&model)?.len() < batch {}
        let mut whole = 0.0;
        for fastest in &mut fastest[1..] {
            let begin = Instant::now();
            engine.step(&model)?;
            let seconds = begin.elapsed().as_secs_f64();
            whole += seconds;
            *fastest = fastest.min(seconds);
        }
        rates.push((batch * (response - 1)) as f64 / whole);
    }
    // Others may be using the machine: of each step the fastest repeat.
    let undisturbed = (batch * (response - 1)) as f64 / fastest[1..].iter().sum::<f64>();
    // The first one touches the memory.
    rates.remove(0);
    rates.sort_by(f64::total_cmp);
    let [least, median, most] = [0, rates.len() / 2, rates.len() - 1].map(|index| rates[index]);
    println!(
        "{shape} {dtype}, batch {batch}: {median:.1} tokens/s, {least:.1} to {most:.1}, undisturbed {undisturbed:.1}"
    );
    Ok(())
}

fn request(id: usize, prompt: usize, response: usize, vocab: u32) -> Request {
    Request {
        id: id as u64,
        prompt: (0..prompt).map(|index| (index * 7919 + id * 104_729) as u32 % vocab).collect(),
        max_tokens: response,
        temperature: 1.0,
        sampling: SamplingOptions::default(),
        key: 1,
        stream: id as u64,
        stop_tokens: Vec::new(),
        group: None,
    }
}

/// The shapes of the benchmarks.
fn config(shape: &str) -> serde_json::Value {
    let (hidden, layers, heads, ffn, vocab) = match shape {
        "S" => (512, 8, 8, 1408, 4096),
        "M" => (896, 24, 14, 4864, 151_936),
        _ => (256, 4, 4, 688, 512),
    };
    serde_json::json!({
        "architectures": ["Qwen2ForCausalLM"], "vocab_size": vocab, "hidden_size": hidden, "intermediate_size": ffn,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": 2, "max_position_embeddings": 32768,
        "tie_word_embeddings": true, "rope_theta": 1e4, "rms_norm_eps": 1e-6, "initializer_range": 0.02
    })
}
