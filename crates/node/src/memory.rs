//! Bytes that a policy holds, by class, and those that the machine has.

use crate::fault::{Fault, Result};
use crate::inputs::NativeStageShape;
use crate::outputs::{NativeMemory, NativeMemoryPlan};
use crate::worker::Worker;
use gradus_engine::pages_needed;
use gradus_model::{Model, PagedWorkspace, PassPlan, Recompute};
use gradus_ops::Backend;
use gradus_train::{TrainerMemory, optimizer_bytes};
use std::fs;

/// What a stage of training will ask of the memory.
pub struct StageShape {
    /// Of its longest sequence.
    pub sequence_tokens: usize,
    /// Of a step.
    pub sequences: usize,
    pub micro_batch_tokens: usize,
    /// The sequences are sampled first, all of a step at once.
    pub is_sampled: bool,
}

impl From<NativeStageShape> for StageShape {
    fn from(shape: NativeStageShape) -> Self {
        StageShape {
            sequence_tokens: shape.sequence_tokens as usize,
            sequences: shape.sequences as usize,
            micro_batch_tokens: shape.micro_batch_tokens as usize,
            is_sampled: shape.is_sampled,
        }
    }
}

/// What `worker` holds now.
pub fn memory_report<B: Backend>(worker: &Worker<B>) -> NativeMemory {
    let TrainerMemory { gradients, optimizer, activations } = worker.trainer.memory();
    let (gate_up, layers) = worker.trainer.recomputed_layers();
    let backend = worker.model.backend.as_ref();
    let kv_pages = worker.generation.kv_bytes() as u64;
    NativeMemory {
        weights: worker.model.parameters.bytes() as f64,
        gradients: gradients as f64,
        optimizer: optimizer as f64,
        activations: (activations + worker.scoring.bytes() + worker.generation.activation_bytes()) as f64,
        kv_pages: kv_pages as f64,
        scratch: backend.scratch_bytes() as f64,
        idle: (backend.region_bytes(&worker.region) as u64).saturating_sub(gradients + activations + kv_pages) as f64,
        activations_max: worker.activation_bytes_max.map(|bytes| bytes as f64),
        gate_up_recomputed: gate_up as u32,
        layers_recomputed: layers as u32,
    }
}

/// Bytes of gradients and of optimizer state of any policy like `model`.
fn training_bytes<B: Backend>(model: &Model<B>) -> (u64, u64) {
    (4 * model.parameters.elements() as u64, optimizer_bytes(model))
}

/// Most bytes of activations, decided once: as given, else half of what is free now beside gradients and optimizer state.
pub fn decided_activation_bytes<B: Backend>(worker: &mut Worker<B>) -> Result<u64> {
    if let Some(bytes) = worker.activation_bytes_max {
        return Ok(bytes);
    }
    let available = available_for_phases(worker)?;
    let bytes = activation_bytes(&worker.model, worker.trainer.memory().optimizer, available)?;
    worker.activation_bytes_max = Some(bytes);
    Ok(bytes)
}

/// What a stage will take, term by term; refused where it cannot fit, with the largest term and what would help.
pub fn plan_memory<B: Backend>(worker: &mut Worker<B>, stage: &StageShape) -> Result<NativeMemoryPlan> {
    worker.model.refuse_quantised("trained")?;
    let activations_max = decided_activation_bytes(worker)?;
    let available = available_for_phases(worker)?;
    let Worker { model, generation, trainer, .. } = &*worker;
    let StageShape { sequence_tokens, sequences, micro_batch_tokens, is_sampled } = *stage;
    let tokens = micro_batch_tokens.min(sequences.saturating_mul(sequence_tokens)).max(sequence_tokens);
    let pass = PassPlan::within(model, activations_max, tokens, sequences)?;
    let (gradients, optimizer) = training_bytes(model);
    let kv_pages = if is_sampled {
        generation.check_pages(sequence_tokens)?;
        generation.kv_bytes_of(sequences, sequence_tokens)
    } else {
        0
    };
    let scratch =
        model.backend.scratch_bytes() as u64 + inference_bytes(model, stage)?.max(generation.activation_bytes());
    let terms = MemoryTerms { gradients, optimizer, activations: pass.bytes, kv_pages, scratch };
    let held = trainer.memory().optimizer + generation.activation_bytes() + model.backend.scratch_bytes() as u64;
    terms.check(available + held)?;
    let weights = model.parameters.bytes();
    Ok(NativeMemoryPlan {
        weights: weights as f64,
        gradients: gradients as f64,
        optimizer: optimizer as f64,
        activations: pass.bytes as f64,
        kv_pages: kv_pages as f64,
        scratch: scratch as f64,
        total: (weights + terms.needed()) as f64,
        activations_max: activations_max as f64,
        gate_up_recomputed: pass.count(Recompute::GateUp) as u32,
        layers_recomputed: pass.count(Recompute::Layer) as u32,
    })
}

/// Activations of the largest scheduler step of a stage.
fn inference_bytes<B: Backend>(model: &Model<B>, stage: &StageShape) -> Result<u64> {
    if !stage.is_sampled {
        return Ok(0);
    }
    let tokens = model.backend.step_tokens();
    let rows = stage.sequences.min(tokens);
    Ok(PagedWorkspace::bytes_of(model, tokens, rows, rows * pages_needed(stage.sequence_tokens, 1))?)
}

/// Bytes beside the weights.
#[derive(Clone, Copy)]
struct MemoryTerms {
    gradients: u64,
    optimizer: u64,
    activations: u64,
    kv_pages: u64,
    scratch: u64,
}

impl MemoryTerms {
    /// KV pages have the memory of gradients and activations in turn.
    fn needed(&self) -> u64 {
        self.optimizer + self.scratch + (self.gradients + self.activations).max(self.kv_pages)
    }

    fn check(&self, available: u64) -> Result<()> {
        let needed = self.needed();
        if needed <= available {
            return Ok(());
        }
        let smaller = "train a smaller policy";
        let (largest, bytes, remedy) = [
            ("gradients", self.gradients, smaller),
            ("optimizer state", self.optimizer, smaller),
            ("activations", self.activations, "lower microBatchTokens or activationBytesMax, or shorten the sequences"),
            ("KV pages", self.kv_pages, "lower kvBytesMax, or sample fewer or shorter sequences at once"),
            ("scratch memory", self.scratch, "sample fewer sequences at once"),
        ]
        .into_iter()
        .max_by_key(|term| term.1)
        .unwrap_or_default();
        Err(Fault::new(
            "out-of-memory",
            format!(
                "the stage needs {needed} bytes beside the weights, {available} bytes are free; the largest term is the {largest} with {bytes} bytes: {remedy}, or end other programs"
            ),
        ))
    }
}

/// Most bytes of activations: half of what `available` leaves beside gradients and the optimizer state that is not there yet.
fn activation_bytes<B: Backend>(model: &Model<B>, held: u64, available: u64) -> Result<u64> {
    let (gradients, optimizer) = training_bytes(model);
    let optimizer = optimizer.saturating_sub(held);
    match available.checked_sub(gradients + optimizer) {
        Some(left) => Ok(left / 2),
        None => Err(Fault::new(
            "out-of-memory",
            format!(
                "a step needs {gradients} bytes of gradients and {optimizer} bytes of optimizer state, {available} bytes are free; end other programs, or train a smaller policy"
            ),
        )),
    }
}

/// The memory that is free when no phase has any: what KV pages and a training pass hold goes back first.
fn available_for_phases<B: Backend>(worker: &mut Worker<B>) -> Result<u64> {
    worker.generation.give_back();
    worker.trainer.give_back();
    let backend = worker.model.backend.as_ref();
    let free = backend.device_memory()?.map_or_else(available_bytes, |memory| memory.free);
    Ok(free + backend.region_bytes(&worker.region) as u64)
}

/// Most bytes of KV pages where the caller names none: a quarter of the device's memory.
pub fn kv_bytes_default<B: Backend>(backend: &B) -> Result<u64> {
    Ok(backend.device_memory()?.map_or_else(machine_bytes, |memory| memory.total) / 4)
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
    use gradus_ops::Precision;
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
            assert_eq!(activation_bytes(&model, 0, lists * values + 100).unwrap(), 50);
            let fault = activation_bytes(&model, 0, lists * values - 1).unwrap_err();
            assert_eq!(fault.code, "out-of-memory");
            assert_eq!(activation_bytes(&model, (lists - 1) * values, values + 100).unwrap(), 50);
        }
    }

    #[test]
    fn the_largest_term_is_named_with_what_would_help() {
        let fits = MemoryTerms { gradients: 40, optimizer: 80, activations: 30, kv_pages: 60, scratch: 1 };
        assert_eq!(fits.needed(), 151);
        assert!(fits.check(151).is_ok());
        for (terms, words) in [
            (MemoryTerms { kv_pages: 900, ..fits }, ["KV pages with 900 bytes", "lower kvBytesMax"]),
            (MemoryTerms { activations: 900, ..fits }, ["activations with 900 bytes", "lower microBatchTokens"]),
            (MemoryTerms { optimizer: 900, ..fits }, ["optimizer state with 900 bytes", "train a smaller policy"]),
        ] {
            let fault = terms.check(terms.needed() - 1).unwrap_err();
            assert_eq!(fault.code, "out-of-memory");
            assert!(words.iter().all(|word| fault.message.contains(word)), "{}", fault.message);
        }
    }

    #[test]
    fn the_machine_has_more_than_is_free() {
        assert!(available_bytes() > 0 && available_bytes() <= machine_bytes());
    }
}
