//! The policy's shape, read from a Hugging Face `config.json` as transformers 4 and 5 write it.
//!
//! First thing read of a model folder: every size of parameters, workspaces and caches follows from it. What the engine
//! would compute differently from transformers (another architecture, rope type or activation, an active sliding
//! window) is refused by name.

use gradus_ops::AttentionShape;
use gradus_tensor::DType;
use serde_json::{Map, Value};

use crate::config_fields::Fields;
use crate::rope::RopeScaling;
use crate::{Error, Result};

/// The families whose layers this engine computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    Qwen2,
    Qwen3,
    Llama,
}

/// (architecture, its name in `architectures`, its `model_type`)
const ARCHITECTURES: [(Architecture, &str, &str); 3] = [
    (Architecture::Qwen2, "Qwen2ForCausalLM", "qwen2"),
    (Architecture::Qwen3, "Qwen3ForCausalLM", "qwen3"),
    (Architecture::Llama, "LlamaForCausalLM", "llama"),
];

impl Architecture {
    /// The class name in transformers.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    fn model_type(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> &'static (Architecture, &'static str, &'static str) {
        ARCHITECTURES.iter().find(|row| row.0 == self).expect("every architecture has its row in the table")
    }
}

/// A parsed config.json. Fields carry Hugging Face's names; a change of a field goes through the JSON.
// The flags are the config's own fields.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    pub architecture: Architecture,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
    pub rope_scaling: RopeScaling,
    pub tie_word_embeddings: bool,
    pub initializer_range: f64,
    /// Bias of the fused query, key and value projection.
    pub qkv_bias: bool,
    /// Bias of the attention's output projection.
    pub output_bias: bool,
    /// Bias of gate, up and down.
    pub mlp_bias: bool,
    /// Qwen3's norm of query and key heads.
    pub qk_norm: bool,
    pub eos_token_ids: Vec<u32>,
    /// The JSON object as it was read, unknown fields included.
    json: Map<String, Value>,
}

impl ModelConfig {
    /// Parses the text of a config.json; absent fields take their family's defaults in transformers.
    pub fn from_json(text: &str) -> Result<ModelConfig> {
        let value: Value = serde_json::from_str(text)
            .map_err(|e| Error::config("the file", format!("is not JSON ({e}); copy or download it again")))?;
        let Value::Object(json) = value else {
            return Err(Error::config("the file", "expected one JSON object"));
        };
        let fields = Fields::new(&json);
        let architecture = architecture_of(&fields)?;
        refuse_other_layers(&fields)?;
        let family = FamilyDefaults::of(architecture);
        let hidden_size = fields.size("hidden_size", 4096)?;
        let num_attention_heads = fields.size("num_attention_heads", 32)?;
        let num_key_value_heads = match fields.optional_size("num_key_value_heads")? {
            Some(n) => n,
            None if fields.is_null("num_key_value_heads") => num_attention_heads,
            None => family.num_key_value_heads.unwrap_or(num_attention_heads),
        };
        let head_dim = match (fields.optional_size("head_dim")?, family.head_dim) {
            (Some(n), _) => n,
            (None, Some(n)) if !fields.is_null("head_dim") => n,
            _ => hidden_size / num_attention_heads,
        };
        let max_position_embeddings = fields.size("max_position_embeddings", family.max_position_embeddings)?;
        let attention_bias = fields.flag("attention_bias", false)?;
        let is_qwen2 = architecture == Architecture::Qwen2;
        let config = ModelConfig {
            architecture,
            vocab_size: fields.size("vocab_size", family.vocab_size)?,
            hidden_size,
            intermediate_size: fields.size("intermediate_size", family.intermediate_size)?,
            num_hidden_layers: fields.size("num_hidden_layers", 32)?,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            max_position_embeddings,
            rms_norm_eps: fields.positive("rms_norm_eps", 1e-6)?,
            rope_theta: fields.rope_theta()?,
            rope_scaling: fields.rope_scaling(max_position_embeddings)?,
            tie_word_embeddings: fields.flag("tie_word_embeddings", false)?,
            initializer_range: fields.positive("initializer_range", 0.02)?,
            // Qwen2 has its biases whatever the config says: transformers hard-codes them.
            qkv_bias: is_qwen2 || attention_bias,
            output_bias: !is_qwen2 && attention_bias,
            mlp_bias: architecture == Architecture::Llama && fields.flag("mlp_bias", false)?,
            qk_norm: architecture == Architecture::Qwen3,
            eos_token_ids: fields.token_ids("eos_token_id", family.eos_token_id)?,
            json,
        };
        config.check_sizes()?;
        Ok(config)
    }

    /// The JSON this config was read from, unknown fields kept, with `architectures` and `model_type` filled in.
    pub fn to_json(&self) -> String {
        let mut json = self.json.clone();
        json.entry("architectures").or_insert_with(|| Value::from(vec![self.architecture.name()]));
        json.entry("model_type").or_insert_with(|| Value::from(self.architecture.model_type()));
        serde_json::to_string_pretty(&json).expect("a JSON map with string keys always serialises")
    }

    /// [`ModelConfig::to_json`] with the dtype of saved weights: transformers loads in the dtype it names.
    pub(crate) fn to_json_of_weights(&self, dtype: DType) -> String {
        let dtype = if dtype == DType::BF16 { "bfloat16" } else { "float32" };
        let mut config = self.clone();
        config.json.shift_remove("torch_dtype");
        config.json.insert("dtype".to_owned(), Value::from(dtype));
        config.json.insert("torch_dtype".to_owned(), Value::from(dtype));
        config.to_json()
    }

    pub fn attention(&self) -> AttentionShape {
        AttentionShape { heads: self.num_attention_heads, kv_heads: self.num_key_value_heads, head_dim: self.head_dim }
    }

    fn check_sizes(&self) -> Result<()> {
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(8) {
            return Err(Error::config(
                "head_dim",
                format!(
                    "is {} ({} / {} where it is not given), expected a multiple of 8 above 0",
                    self.head_dim, self.hidden_size, self.num_attention_heads
                ),
            ));
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return Err(Error::config(
                "num_key_value_heads",
                format!(
                    "is {}, expected a divisor of num_attention_heads = {}",
                    self.num_key_value_heads, self.num_attention_heads
                ),
            ));
        }
        match self.eos_token_ids.iter().find(|&&id| id as usize >= self.vocab_size) {
            Some(id) => Err(Error::config(
                "eos_token_id",
                format!("is {id}, expected an id below vocab_size = {}", self.vocab_size),
            )),
            None => Ok(()),
        }
    }
}

/// Defaults that differ between the families' configuration classes in transformers.
struct FamilyDefaults {
    vocab_size: usize,
    intermediate_size: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    eos_token_id: Option<u32>,
}

impl FamilyDefaults {
    fn of(architecture: Architecture) -> FamilyDefaults {
        let qwen = FamilyDefaults {
            vocab_size: 151_936,
            intermediate_size: 22_016,
            num_key_value_heads: Some(32),
            head_dim: None,
            max_position_embeddings: 32_768,
            eos_token_id: None,
        };
        match architecture {
            Architecture::Qwen2 => qwen,
            Architecture::Qwen3 => FamilyDefaults { head_dim: Some(128), ..qwen },
            Architecture::Llama => FamilyDefaults {
                vocab_size: 32_000,
                intermediate_size: 11_008,
                num_key_value_heads: None,
                head_dim: None,
                max_position_embeddings: 2_048,
                eos_token_id: Some(2),
            },
        }
    }
}

fn architecture_of(fields: &Fields<'_>) -> Result<Architecture> {
    let supported = ARCHITECTURES.map(|row| row.1).join(", ");
    let (field, found) = match (fields.first_string("architectures")?, fields.string("model_type")?) {
        (Some(name), _) => ("architectures", name),
        (None, Some(name)) => ("model_type", name),
        (None, None) => {
            return Err(Error::config("architectures", format!("is missing, expected one of {supported}")));
        }
    };
    ARCHITECTURES
        .iter()
        .find(|row| row.1 == found || (field == "model_type" && row.2 == found))
        .map(|row| row.0)
        .ok_or_else(|| Error::config(field, format!("is {found:?}, which is not supported; supported: {supported}")))
}

/// Refuses what transformers would compute differently from this engine.
fn refuse_other_layers(fields: &Fields<'_>) -> Result<()> {
    if let Some(activation) = fields.string("hidden_act")?
        && activation != "silu"
    {
        return Err(Error::config("hidden_act", format!("is {activation:?}, expected \"silu\"")));
    }
    if fields.flag("use_sliding_window", false)? {
        return Err(Error::config(
            "use_sliding_window",
            "is true: sliding-window attention is not supported; expected false",
        ));
    }
    if fields.strings("layer_types")?.iter().any(|layer| *layer != "full_attention") {
        return Err(Error::config("layer_types", "names a layer other than full_attention, which is not supported"));
    }
    Ok(())
}
