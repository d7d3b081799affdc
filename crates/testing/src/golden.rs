//! The golden files under crates/testing/golden, or in GRADUS_GOLDEN where that is set (the GPU bundle carries them): what PyTorch and
//! transformers computed for tiny models of each family.
//!
//! Made by scripts/golden/model.py, which says what they hold. Read by the tests of `model` and `train`.

use std::path::{Path, PathBuf};

use gradus_tensor::Checkpoint;
use serde_json::Value;

/// Every case: a Hugging Face folder with expected.json and expected.safetensors.
pub const GOLDEN_CASES: [&str; 5] = ["qwen2-tied", "qwen2-untied", "qwen3", "llama3-scaled", "llama-biases"];
/// The case that also holds the policy-gradient losses.
pub const GOLDEN_POLICY_CASE: &str = "qwen2-tied";

/// One case. Its accessors panic on a damaged file, naming the entry: tests have no better answer.
pub struct Golden {
    /// The Hugging Face folder.
    pub folder: PathBuf,
    /// A packed batch: sequence i is `tokens[cu_seqlens[i]..cu_seqlens[i + 1]]`.
    pub tokens: Vec<u32>,
    pub cu_seqlens: Vec<u32>,
    /// Mean of −logprob over every token that follows another of its sequence.
    pub loss: f64,
    /// The losses before each of ten AdamW steps on that batch (learning rate 1e-3, betas 0.9 and 0.95, eps 1e-8,
    /// weight decay 0.01 but on norms and biases, gradient clipped to 1), and the norms before clipping.
    pub step_losses: Vec<f64>,
    pub step_gradient_norms: Vec<f64>,
    expected: Value,
    tensors: Checkpoint,
}

impl Golden {
    pub fn open(case: &str) -> Golden {
        let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
        let folder = std::env::var_os("GRADUS_GOLDEN").map_or_else(own, PathBuf::from).join(case);
        let path = folder.join("expected.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let expected: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let tensors = Checkpoint::open_file(&folder.join("expected.safetensors"))
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        let ids = |name: &str| numbers(&expected, name).iter().map(|id| *id as u32).collect();
        Golden {
            tokens: ids("/tokens"),
            cu_seqlens: ids("/cu_seqlens"),
            loss: number(&expected, "/loss"),
            step_losses: numbers(&expected, "/step_losses"),
            step_gradient_norms: numbers(&expected, "/step_gradient_norms"),
            folder,
            expected,
            tensors,
        }
    }

    /// (row of the packed batch, token it predicts) of every token that follows another of its sequence.
    pub fn loss_rows(&self) -> Vec<(u32, u32)> {
        let rows_of = |ends: &[u32]| (ends[0] + 1..ends[1]).map(|token| (token - 1, self.tokens[token as usize]));
        self.cu_seqlens.windows(2).flat_map(rows_of).collect()
    }

    /// A list of the policy losses: weights, logprobs, entropies, old_logprobs (one a loss row) or clip (low, high).
    pub fn policy_numbers(&self, name: &str) -> Vec<f64> {
        numbers(&self.expected, &format!("/policy/{name}"))
    }

    /// A number of the policy losses: temperature, loss or clipped_loss.
    pub fn policy_number(&self, name: &str) -> f64 {
        number(&self.expected, &format!("/policy/{name}"))
    }

    /// A tensor of expected.safetensors, for [`crate::relative_l2`].
    pub fn tensor(&self, name: &str) -> Vec<f64> {
        let values =
            self.tensors.shape(name).map(<[usize]>::to_vec).and_then(|shape| self.tensors.read_f32(name, &shape));
        values.unwrap_or_else(|error| panic!("{error}")).into_iter().map(f64::from).collect()
    }

    /// The names behind `prefix` ("gradient.", "policy.", "clipped."): every parameter under its Hugging Face name.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.tensors.names().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect()
    }
}

fn number(json: &Value, pointer: &str) -> f64 {
    json.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("expected.json: {pointer} is no number"))
}

fn numbers(json: &Value, pointer: &str) -> Vec<f64> {
    let list = json.pointer(pointer).and_then(Value::as_array);
    let list = list.unwrap_or_else(|| panic!("expected.json: {pointer} is no list"));
    list.iter().map(|item| item.as_f64().unwrap_or_else(|| panic!("expected.json: {pointer} holds {item}"))).collect()
}
