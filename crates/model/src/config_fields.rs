//! Typed access to the fields of a config.json: `null` counts as absent, and every refusal names its field.

use serde_json::{Map, Value};

use crate::rope::RopeScaling;
use crate::{Error, Result};

/// rope_theta where no field gives it: that of every family's configuration class.
const ROPE_THETA: f64 = 10_000.0;

pub(crate) struct Fields<'a> {
    json: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub fn new(json: &'a Map<String, Value>) -> Fields<'a> {
        Fields { json }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.json.get(name).filter(|value| !value.is_null())
    }

    /// True where the field is there and `null`: transformers then derives it instead of taking the default.
    pub fn is_null(&self, name: &str) -> bool {
        self.json.get(name).is_some_and(Value::is_null)
    }

    /// A whole number from 1 to 2^31, or `default` where absent.
    pub fn size(&self, name: &str, default: usize) -> Result<usize> {
        Ok(self.optional_size(name)?.unwrap_or(default))
    }

    pub fn optional_size(&self, name: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_u64() {
            Some(n @ 1..=0x8000_0000) => Ok(Some(n as usize)),
            _ => Err(Error::config(name, format!("is {value}, expected a whole number from 1 to 2147483648"))),
        }
    }

    pub fn positive(&self, name: &str, default: f64) -> Result<f64> {
        self.get(name).map_or(Ok(default), |value| positive(name, value))
    }

    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        self.get(name).map_or(Ok(default), |value| {
            value.as_bool().ok_or_else(|| Error::config(name, format!("is {value}, expected true or false")))
        })
    }

    pub fn string(&self, name: &str) -> Result<Option<&'a str>> {
        self.get(name)
            .map(|value| value.as_str().ok_or_else(|| Error::config(name, format!("is {value}, expected a string"))))
            .transpose()
    }

    /// A list of strings; empty where absent.
    pub fn strings(&self, name: &str) -> Result<Vec<&'a str>> {
        let refuse = |value: &Value| Error::config(name, format!("is {value}, expected a list of strings"));
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let list = value.as_array().ok_or_else(|| refuse(value))?;
        list.iter().map(|item| item.as_str().ok_or_else(|| refuse(value))).collect()
    }

    pub fn first_string(&self, name: &str) -> Result<Option<&'a str>> {
        Ok(self.strings(name)?.first().copied())
    }

    /// One token id, or a list of them.
    pub fn token_ids(&self, name: &str, default: Option<u32>) -> Result<Vec<u32>> {
        let Some(value) = self.get(name) else {
            return Ok(if self.is_null(name) { Vec::new() } else { default.into_iter().collect() });
        };
        let id = |item: &Value| item.as_u64().and_then(|n| u32::try_from(n).ok());
        let ids = match value {
            Value::Array(list) => list.iter().map(id).collect(),
            one => id(one).map(|n| vec![n]),
        };
        ids.ok_or_else(|| Error::config(name, format!("is {value}, expected a token id or a list of token ids")))
    }

    /// The rope base: in `rope_parameters` (transformers 5) or at the top level (4).
    pub fn rope_theta(&self) -> Result<f64> {
        match self.rope_object()?.and_then(|(field, object)| Some((field, object.get("rope_theta")?))) {
            Some((field, theta)) if !theta.is_null() => positive(&format!("{field}.rope_theta"), theta),
            _ => self.positive("rope_theta", ROPE_THETA),
        }
    }

    /// The rope scaling; types whose frequencies depend on the sequence at hand are refused.
    pub fn rope_scaling(&self, max_position_embeddings: usize) -> Result<RopeScaling> {
        if self.positive("partial_rotary_factor", 1.0)? != 1.0 {
            return Err(Error::config("partial_rotary_factor", "is not 1, which is not supported"));
        }
        let Some((field, object)) = self.rope_object()? else { return Ok(RopeScaling::Default) };
        let number = |name: &str| match object.get(name) {
            Some(value) if !value.is_null() => positive(&format!("{field}.{name}"), value),
            _ => Err(Error::config(format!("{field}.{name}"), "is missing, expected a positive number")),
        };
        if object.get("partial_rotary_factor").is_some_and(|factor| factor.as_f64() != Some(1.0)) {
            return Err(Error::config(format!("{field}.partial_rotary_factor"), "is not 1, which is not supported"));
        }
        match object.get("rope_type").or_else(|| object.get("type")).map_or(Some("default"), Value::as_str) {
            Some("default") => Ok(RopeScaling::Default),
            Some("linear") => Ok(RopeScaling::Linear { factor: number("factor")? }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: number("factor")?,
                low_frequency_factor: number("low_freq_factor")?,
                high_frequency_factor: number("high_freq_factor")?,
                original_positions: match object.get("original_max_position_embeddings") {
                    Some(_) => number("original_max_position_embeddings")?,
                    None => max_position_embeddings as f64,
                },
            }),
            found => Err(Error::config(
                format!("{field}.rope_type"),
                format!(
                    "is {:?}, which is not supported; supported: default, linear, llama3",
                    found.unwrap_or("no string")
                ),
            )),
        }
    }

    fn rope_object(&self) -> Result<Option<(&'static str, &'a Map<String, Value>)>> {
        for field in ["rope_parameters", "rope_scaling"] {
            if let Some(value) = self.get(field) {
                let object =
                    value.as_object().ok_or_else(|| Error::config(field, format!("is {value}, expected an object")))?;
                return Ok(Some((field, object)));
            }
        }
        Ok(None)
    }
}

fn positive(name: &str, value: &Value) -> Result<f64> {
    match value.as_f64() {
        Some(x) if x > 0.0 && x.is_finite() => Ok(x),
        _ => Err(Error::config(name, format!("is {value}, expected a positive number"))),
    }
}
