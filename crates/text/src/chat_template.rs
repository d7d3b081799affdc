//! Chat templates: messages -> the text that the model was trained on, by the Jinja template of the model's own folder.
//!
//! The environment is the one in which transformers renders templates: trimmed blocks, `tojson` in Python's spelling,
//! printed constants in Python's spelling, `raise_exception`, `strftime_now`, loop controls, Python's string methods, and `generation` blocks (which render as their content).

use crate::strftime::strftime;
use crate::{Error, Result};
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// One turn of a conversation; `role` is "system", "user" or "assistant".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    pub role: String,
    pub content: String,
}

/// The part of tokenizer_config.json that templates need.
pub(crate) struct ChatConfig {
    pub bos_token: Option<String>,
    pub eos_token: Option<String>,
    environment: Option<Environment<'static>>,
}

const NAME: &str = "chat_template";

impl ChatConfig {
    /// Reads tokenizer_config.json and chat_template.jinja; the latter wins where both hold a template.
    pub fn new(folder: &Path, config: Option<&[u8]>, template: Option<&[u8]>) -> Result<Self> {
        let config_path = folder.join("tokenizer_config.json");
        let invalid_config = |reason: String| Error::Invalid { path: config_path.clone(), reason };
        let config: RawConfig = match config {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|error| invalid_config(error.to_string()))?,
            None => RawConfig::default(),
        };
        let (source, path) = match template {
            Some(bytes) => {
                let path = folder.join("chat_template.jinja");
                let text = std::str::from_utf8(bytes)
                    .map_err(|error| Error::Invalid { path: path.clone(), reason: error.to_string() })?;
                (Some(text.to_string()), path)
            }
            None => (config.chat_template.map(|raw| raw.source().map_err(invalid_config)).transpose()?, config_path),
        };
        let environment = source
            .map(|source| compile(&source))
            .transpose()
            .map_err(|error| Error::Invalid { path, reason: format!("the chat template does not compile: {error}") })?;
        let text = |token: Option<RawToken>| token.map(RawToken::content);
        Ok(Self { bos_token: text(config.bos_token), eos_token: text(config.eos_token), environment })
    }

    /// Renders a conversation; `None` without a template. The error is the template's own message.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Option<std::result::Result<String, String>> {
        let environment = self.environment.as_ref()?;
        // Like transformers: a special token that is not set is undefined (prints nothing), `tools` and `documents` are none.
        let token = |token: &Option<String>| token.as_ref().map_or(Value::UNDEFINED, Value::from);
        let values = context! {
            messages => messages,
            tools => (),
            documents => (),
            add_generation_prompt => add_generation_prompt,
            bos_token => token(&self.bos_token),
            eos_token => token(&self.eos_token),
        };
        let rendered = environment.get_template(NAME).and_then(|template| template.render(values));
        Some(rendered.map_err(|error| error.to_string()))
    }
}

#[derive(Default, Deserialize)]
struct RawConfig {
    bos_token: Option<RawToken>,
    eos_token: Option<RawToken>,
    chat_template: Option<RawTemplate>,
}

/// A special token: its text, or an object that holds it.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawToken {
    Text(String),
    Added { content: String },
}

impl RawToken {
    fn content(self) -> String {
        match self {
            Self::Text(content) | Self::Added { content } => content,
        }
    }
}

/// A template, or a list of named ones of which "default" is the one for conversations.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawTemplate {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl RawTemplate {
    fn source(self) -> std::result::Result<String, String> {
        let named = match self {
            Self::One(source) => return Ok(source),
            Self::Named(named) => named,
        };
        let names = named.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = named.iter().find(|entry| entry.name == "default");
        found
            .map(|entry| entry.template.clone())
            .ok_or_else(|| format!("`chat_template` names {names} but no \"default\": add one"))
    }
}

fn compile(source: &str) -> std::result::Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(|out, state, value| match value.kind() {
        // Python's spelling where a template prints a constant.
        ValueKind::Bool => out.write_str(if value.is_true() { "True" } else { "False" }).map_err(Into::into),
        ValueKind::None => out.write_str("None").map_err(Into::into),
        _ => minijinja::escape_formatter(out, state, value),
    });
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", |message: String| -> std::result::Result<Value, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        strftime(&format, now).map_err(|reason| minijinja::Error::new(ErrorKind::InvalidOperation, reason))
    });
    environment.add_template_owned(NAME, without_generation_tags(source))?;
    Ok(environment)
}

/// `{% generation %}` marks the trained part of a conversation for transformers; here it is a block that always renders.
fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{%") {
        let Some(length) = rest[open..].find("%}") else { break };
        let tag = &rest[open..open + length];
        text.push_str(&rest[..open]);
        match tag.trim_start_matches("{%").trim_matches(['-', '+', ' ', '\n']) {
            "generation" => text.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => text.push_str(&tag.replace("endgeneration", "endif")),
            _ => text.push_str(tag),
        }
        rest = &rest[open + length..];
    }
    text.push_str(rest);
    text
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`.
// Filters take their keyword arguments by value.
#[allow(clippy::needless_pass_by_value)]
fn to_json(value: &Value, options: Kwargs) -> std::result::Result<String, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let fail = |error: serde_json::Error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string());
    let mut bytes = Vec::new();
    if let Some(width) = indent {
        let spaces = " ".repeat(width);
        let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter)).map_err(fail)?;
    } else {
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, PythonFormatter)).map_err(fail)?;
    }
    String::from_utf8(bytes).map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// JSON on one line with Python's separators ", " and ": ".
struct PythonFormatter;

impl serde_json::ser::Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }
    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }
    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}
