//! Bytes that a policy holds, by class. Weights, gradients and moments are exact; activations follow from the shapes.

use crate::outputs::NativeMemory;
use crate::worker::Worker;
use gradus_model::ModelConfig;
use gradus_ops::Backend;

const F32_BYTES: usize = size_of::<f32>();

/// What `worker` holds now.
pub fn memory_report<B: Backend>(worker: &Worker<B>) -> NativeMemory {
    let weights = (worker.model.parameters.elements() * F32_BYTES) as f64;
    let has_trained = worker.step_tokens_max > 0;
    let activations = worker.step_tokens_max * activation_bytes(&worker.model.config);
    NativeMemory {
        weights,
        gradients: if has_trained { weights } else { 0.0 },
        optimizer: if worker.trainer.steps() > 0 { 2.0 * weights } else { 0.0 },
        activations: activations as f64,
        kv_pages: worker.generation.kv_bytes() as f64,
    }
}

/// Bytes that a training pass keeps for each token: every layer's activations for the backward.
fn activation_bytes(config: &ModelConfig) -> usize {
    let attention = config.attention();
    let qkv = attention.qkv_dim() * if config.qk_norm { 2 } else { 1 };
    let layer = 2 * config.hidden_size + qkv + attention.q_dim() + attention.heads + 2 * config.intermediate_size;
    layer * config.num_hidden_layers * F32_BYTES
}

/// The machine's memory: what the control group allows, else what there is.
pub fn machine_bytes() -> u64 {
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = group.iter().find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    });
    // Without /proc there is no telling; 8 GiB is what small machines have.
    let total = total.unwrap_or(8 << 30);
    limit.map_or(total, |limit| limit.min(total))
}
