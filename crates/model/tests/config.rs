//! config.json of every family, old and new, and everything that is refused.

use gradus_model::{Architecture, ModelConfig, RopeScaling};
use serde_json::{Value, json};

/// A small Llama config with `changes` laid over it; a null removes the field.
fn llama(changes: &Value) -> String {
    let mut config = json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "max_position_embeddings": 128
    });
    let fields = config.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => drop(fields.remove(name)),
            value => drop(fields.insert(name.clone(), value.clone())),
        }
    }
    config.to_string()
}

fn parse(changes: &Value) -> ModelConfig {
    ModelConfig::from_json(&llama(changes)).expect("a good config")
}

#[test]
fn rope_is_read_from_both_places() {
    let linear = RopeScaling::Linear { factor: 4.0 };
    let llama3 = |original| RopeScaling::Llama3 {
        factor: 8.0,
        low_frequency_factor: 1.0,
        high_frequency_factor: 4.0,
        original_positions: original,
    };
    let llama3_fields = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32
    });
    let mut llama3_parameters = llama3_fields.clone();
    llama3_parameters["rope_theta"] = json!(500_000.0);
    let cases = [
        (json!({}), 10_000.0, RopeScaling::Default),
        (json!({"rope_theta": 1_000_000, "rope_scaling": null}), 1e6, RopeScaling::Default),
        (json!({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4}}), 5e5, linear),
        (json!({"rope_theta": 5e5, "rope_scaling": llama3_fields}), 5e5, llama3(32.0)),
        (json!({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}), 1e6, RopeScaling::Default),
        (json!({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 2e4}}), 2e4, linear),
        (json!({"rope_parameters": llama3_parameters}), 5e5, llama3(32.0)),
        (
            json!({"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}}),
            1e4,
            llama3(128.0),
        ),
    ];
    for (changes, theta, scaling) in cases {
        let config = parse(&changes);
        assert_eq!((config.rope_theta, config.rope_scaling), (theta, scaling), "{changes}");
    }
}

#[test]
fn families_take_their_defaults() {
    let of = |name: &str| {
        let text = json!({"architectures": [name], "hidden_size": 64, "num_attention_heads": 4}).to_string();
        ModelConfig::from_json(&text)
    };
    // Qwen2 has 32 key-value heads where the field is absent, which 4 heads cannot share.
    assert!(of("Qwen2ForCausalLM").is_err_and(|error| error.to_string().contains("num_key_value_heads")));
    let llama = of("LlamaForCausalLM").expect("Llama");
    assert_eq!((llama.num_key_value_heads, llama.head_dim, llama.max_position_embeddings), (4, 16, 2048));
    assert_eq!((llama.vocab_size, llama.intermediate_size, llama.eos_token_ids), (32_000, 11_008, vec![2]));
    assert!(!llama.qkv_bias && !llama.output_bias && !llama.mlp_bias && !llama.tie_word_embeddings);
    let qwen3 = ModelConfig::from_json(r#"{"model_type": "qwen3"}"#).expect("Qwen3");
    assert_eq!((qwen3.architecture, qwen3.head_dim, qwen3.qk_norm), (Architecture::Qwen3, 128, true));
    assert_eq!((qwen3.qkv_bias, qwen3.output_bias, qwen3.eos_token_ids), (false, false, vec![]));
    let qwen2 = ModelConfig::from_json(r#"{"model_type": "qwen2", "num_key_value_heads": null}"#).expect("Qwen2");
    assert_eq!((qwen2.num_key_value_heads, qwen2.qkv_bias, qwen2.output_bias), (32, true, false));
}

#[test]
fn optional_biases_and_end_tokens_are_read() {
    let config = parse(&json!({"attention_bias": true, "mlp_bias": true, "eos_token_id": [1, 7]}));
    assert!(config.qkv_bias && config.output_bias && config.mlp_bias);
    assert_eq!(config.eos_token_ids, [1, 7]);
    assert_eq!(parse(&json!({"eos_token_id": 5})).eos_token_ids, [5]);
    let qwen3 = parse(&json!({"architectures": ["Qwen3ForCausalLM"], "attention_bias": true, "head_dim": 24}));
    assert_eq!((qwen3.qkv_bias, qwen3.output_bias, qwen3.head_dim), (true, true, 24));
}

#[test]
fn unknown_fields_survive_the_way_through_json() {
    let text = llama(&json!({"made_by": {"someone": [1, 2.5, null]}, "eos_token_id": [1, 7]}));
    let config = ModelConfig::from_json(&text).expect("a good config");
    let written: Value = serde_json::from_str(&config.to_json()).expect("JSON");
    let mut expected: Value = serde_json::from_str(&text).expect("JSON");
    expected["model_type"] = json!("llama");
    assert_eq!(written, expected);
    assert_eq!(
        ModelConfig::from_json(&config.to_json()).expect("what was written").eos_token_ids,
        config.eos_token_ids
    );
}

#[test]
fn what_would_be_computed_wrongly_is_refused_by_name() {
    let rope = |rope_type: &str| json!({"rope_scaling": {"rope_type": rope_type, "factor": 2.0}});
    let cases = [
        (json!({"architectures": ["MistralForCausalLM"]}), "architectures: is \"MistralForCausalLM\""),
        (
            json!({"architectures": ["MistralForCausalLM"]}),
            "supported: Qwen2ForCausalLM, Qwen3ForCausalLM, LlamaForCausalLM",
        ),
        (json!({"architectures": null}), "architectures: is missing"),
        (json!({"architectures": null, "model_type": "gemma"}), "model_type: is \"gemma\""),
        (rope("dynamic"), "rope_scaling.rope_type: is \"dynamic\""),
        (rope("yarn"), "rope_scaling.rope_type: is \"yarn\""),
        (rope("longrope"), "rope_scaling.rope_type: is \"longrope\""),
        (json!({"rope_parameters": {"rope_type": "yarn"}}), "rope_parameters.rope_type: is \"yarn\""),
        (json!({"rope_scaling": {"rope_type": "linear"}}), "rope_scaling.factor: is missing"),
        (json!({"rope_scaling": {"rope_type": "linear", "factor": -1}}), "rope_scaling.factor: is -1"),
        (json!({"rope_scaling": 3}), "rope_scaling: is 3, expected an object"),
        (json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor"),
        (json!({"use_sliding_window": true}), "use_sliding_window"),
        (json!({"layer_types": ["full_attention", "sliding_attention"]}), "layer_types"),
        (json!({"hidden_act": "gelu"}), "hidden_act: is \"gelu\", expected \"silu\""),
        (json!({"head_dim": 20}), "head_dim: is 20"),
        (json!({"hidden_size": 48}), "expected a multiple of 8 above 0"),
        (json!({"num_key_value_heads": 3}), "num_key_value_heads: is 3, expected a divisor"),
        (json!({"vocab_size": 0}), "vocab_size: is 0"),
        (json!({"hidden_size": 0}), "hidden_size: is 0"),
        (json!({"intermediate_size": 0}), "intermediate_size: is 0"),
        (json!({"num_hidden_layers": 0}), "num_hidden_layers: is 0"),
        (json!({"num_attention_heads": 0}), "num_attention_heads: is 0"),
        (json!({"num_key_value_heads": 0}), "num_key_value_heads: is 0"),
        (json!({"max_position_embeddings": 0}), "max_position_embeddings: is 0"),
        (json!({"head_dim": 0}), "head_dim: is 0"),
        (json!({"hidden_size": 8, "num_attention_heads": 16, "num_key_value_heads": 16}), "head_dim: is 0 (8 / 16"),
        (json!({"vocab_size": "many"}), "vocab_size: is \"many\""),
        (json!({"hidden_size": 64.5}), "hidden_size: is 64.5"),
        (json!({"rms_norm_eps": 0}), "rms_norm_eps: is 0"),
        (json!({"tie_word_embeddings": 1}), "tie_word_embeddings: is 1, expected true or false"),
        (json!({"eos_token_id": 100}), "eos_token_id: is 100"),
        (json!({"eos_token_id": ["</s>"]}), "eos_token_id"),
    ];
    for (changes, expected) in cases {
        let error = ModelConfig::from_json(&llama(&changes)).expect_err(&changes.to_string()).to_string();
        assert!(error.contains(expected), "{changes}: {error:?} does not say {expected:?}");
        assert!(!error.contains('\n'), "{error:?} is more than a line");
    }
    for text in ["", "[1, 2]", "{\"architectures\": "] {
        assert!(ModelConfig::from_json(text).is_err(), "{text:?}");
    }
}

#[test]
fn an_inactive_sliding_window_is_no_reason_to_refuse() {
    let layers = json!(["full_attention", "full_attention"]);
    parse(&json!({"use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 1, "layer_types": layers}));
}
