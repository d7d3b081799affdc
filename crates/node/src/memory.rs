//! Bytes that a policy holds, by class, and those that the machine has.

use crate::fault::{Fault, Result};
use crate::outputs::NativeMemory;
use crate::worker::Worker;
use gradus_model::Model;
use gradus_ops::{Backend, Precision};
use gradus_train::TrainerMemory;
use std::fs;

/// What `worker` holds now.
pub fn memory_report<B: Backend>(worker: &Worker<B>) -> NativeMemory {
    let TrainerMemory { gradients, optimizer, activations } = worker.trainer.memory();
    let (gate_up, layers) = worker.trainer.recomputed_layers();
    NativeMemory {
        weights: worker.model.parameters.bytes() as f64,
        gradients: gradients as f64,
        optimizer: optimizer as f64,
        activations: (activations + worker.scoring.bytes()) as f64,
        kv_pages: worker.generation.kv_bytes() as f64,
        activations_max: worker.activation_bytes_max.map(|bytes| bytes as f64),
        gate_up_recomputed: gate_up as u32,
        layers_recomputed: layers as u32,
    }
}

/// Most bytes of activations: half of what `available` leaves beside the gradients and the optimizer state that are not there yet.
pub fn activation_bytes<B: Backend>(model: &Model<B>, held: TrainerMemory, available: u64) -> Result<u64> {
    let values = 4 * model.parameters.elements() as u64;
    // Two moments, and the masters of a bf16 policy.
    let lists = if model.precision == Precision::Bf16 { 3 } else { 2 };
    let gradients = values - held.gradients.min(values);
    let optimizer = lists * values - held.optimizer.min(lists * values);
    match available.checked_sub(gradients + optimizer) {
        Some(left) => Ok(left / 2),
        None => Err(Fault::new(
            "out-of-memory",
            format!(
                "a step needs {gradients} bytes of gradients and {optimizer} bytes of optimizer state, {available} bytes are free; end other programs, lower kvBytesMax, or train a smaller policy"
            ),
        )),
    }
}

/// Most bytes of KV pages where the caller names none: a quarter of the device's memory.
pub fn kv_bytes_default<B: Backend>(backend: &B) -> Result<u64> {
    Ok(backend.device_memory()?.map_or_else(machine_bytes, |memory| memory.total) / 4)
}

/// The memory that a device has left for activations now.
pub fn device_available_bytes<B: Backend>(backend: &B) -> Result<u64> {
    Ok(backend.device_memory()?.map_or_else(available_bytes, |memory| memory.free))
}

/// The machine's memory: what the control group allows, else what there is.
fn machine_bytes() -> u64 {
    // Without /proc there is no telling; 8 GiB is what small machines have.
    let total = meminfo("MemTotal:").unwrap_or(8 << 30);
    group_limit().map_or(total, |limit| limit.min(total))
}

/// The memory that is free now, or would be for the asking: file pages count as free.
fn available_bytes() -> u64 {
    let available = meminfo("MemAvailable:").unwrap_or_else(machine_bytes);
    let group = group_limit().and_then(|limit| Some(limit.saturating_sub(group_use()?)));
    group.map_or(available, |left| left.min(available))
}

fn meminfo(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn group_limit() -> Option<u64> {
    first_number(["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"])
}

/// Bytes that the control group uses, without file pages that it would give back first.
fn group_use() -> Option<u64> {
    let used = first_number(["/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes"])?;
    let statistics = ["/sys/fs/cgroup/memory.stat", "/sys/fs/cgroup/memory/memory.stat"];
    let text = statistics.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let idle = text.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse::<u64>().ok());
    Some(used.saturating_sub(idle.unwrap_or(0)))
}

fn first_number(paths: [&str; 2]) -> Option<u64> {
    paths.iter().find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus_cpu::CpuBackend;
    use gradus_model::ModelConfig;
    use std::sync::Arc;

    const CONFIG: &str = r#"{
      "model_type": "qwen2", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
      "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 16, "tie_word_embeddings": true
    }"#;

    #[test]
    fn gradients_and_optimizer_come_before_activations() {
        for (precision, lists) in [(Precision::F32, 3), (Precision::Bf16, 4)] {
            let backend = Arc::new(CpuBackend::new(Some(1)).unwrap());
            let model = Model::random(ModelConfig::from_json(CONFIG).unwrap(), backend, 1, precision).unwrap();
            let values = 4 * model.parameters.elements() as u64;
            let nothing = TrainerMemory::default();
            assert_eq!(activation_bytes(&model, nothing, lists * values + 100).unwrap(), 50);
            let fault = activation_bytes(&model, nothing, lists * values - 1).unwrap_err();
            assert_eq!(fault.code, "out-of-memory");
            let held = TrainerMemory { gradients: values, optimizer: (lists - 1) * values, activations: 0 };
            assert_eq!(activation_bytes(&model, held, 100).unwrap(), 50);
        }
    }

    #[test]
    fn the_machine_has_more_than_is_free() {
        assert!(available_bytes() > 0 && available_bytes() <= machine_bytes());
    }
}
