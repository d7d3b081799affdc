//! Tokenizer and chat templates against the Python libraries: committed fixtures, and the shared Qwen2.5 files where they are.

// A test's own steps may fail loudly.
#![allow(clippy::unwrap_used)]

use gradus_text::{Error, Message, Tokenizer};
use serde::Deserialize;
use std::io::Read;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The folder of shared data: `GRADUS_SHARED`, else `shared` beside the repository; says so where it is absent.
fn shared(path: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("GRADUS_SHARED").map_or(beside, PathBuf::from);
    let found = Some(root.join(path)).filter(|path| path.exists());
    if found.is_none() {
        eprintln!("{path} is not in {} (set GRADUS_SHARED): only the committed fixtures are tested", root.display());
    }
    found
}

fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Text of all pieces, each of which must be whole characters (they are `String`s), with the rest.
fn streamed(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> String {
    let mut stream = tokenizer.decode_stream(skip_special);
    let mut text: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    text.push_str(&stream.finish().unwrap());
    text
}

#[derive(Deserialize)]
struct Encoding {
    tokenizer: String,
    text: Option<String>,
    ids: Vec<u32>,
    decoded: String,
    decoded_without_special: String,
}

#[test]
fn fixtures_encode_decode_and_stream_as_python_does() {
    let rows: Vec<Encoding> = serde_json::from_slice(&std::fs::read(fixture("encodings.json")).unwrap()).unwrap();
    assert!(rows.len() > 40);
    for row in rows {
        let tokenizer = Tokenizer::from_folder(&fixture(&row.tokenizer)).unwrap().unwrap();
        if let Some(text) = &row.text {
            assert_eq!(tokenizer.encode(text, false).unwrap(), row.ids, "{text:?}");
        }
        for (skip_special, expected) in [(false, &row.decoded), (true, &row.decoded_without_special)] {
            assert_eq!(&tokenizer.decode(&row.ids, skip_special).unwrap(), expected);
            assert_eq!(&streamed(&tokenizer, &row.ids, skip_special), expected, "{:?}", row.ids);
        }
    }
}

#[test]
fn a_tokenizer_without_a_decoder_streams_words() {
    let folder = scratch("words");
    let tokenizer = serde_json::json!({
        "version": "1.0",
        "added_tokens": [
            { "id": 0, "content": "<pad>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true },
        ],
        "pre_tokenizer": { "type": "WhitespaceSplit" },
        "model": { "type": "WordLevel", "unk_token": "<pad>", "vocab": { "<pad>": 0, "one": 1, "zwei": 2, "三": 3, "": 4 } },
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let tokenizer = Tokenizer::from_folder(&folder).unwrap().unwrap();
    for ids in [&[1, 2, 3, 1][..], &[0, 1, 0, 3, 0], &[9, 2, 9, 2], &[4, 4, 1, 4], &[0], &[]] {
        for skip_special in [false, true] {
            let whole = tokenizer.decode(ids, skip_special).unwrap();
            assert_eq!(streamed(&tokenizer, ids, skip_special), whole, "{ids:?} {skip_special}");
        }
    }
    assert_eq!(streamed(&tokenizer, &[0, 1, 3], true), "one 三");
}

#[test]
fn pieces_come_as_soon_as_their_characters_are_whole() {
    let tokenizer = Tokenizer::from_folder(&fixture("byte_level")).unwrap().unwrap();
    let mut stream = tokenizer.decode_stream(true);
    let ids = tokenizer.encode("a😁<|im_end|>", false).unwrap();
    let beyond = tokenizer.vocab_size() as u32;
    let mut pieces: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    pieces.push(stream.push(beyond).unwrap());
    assert_eq!(pieces, ["a", "", "", "😁", "", ""]);
    assert_eq!(stream.push(ids[1]).unwrap(), "");
    assert_eq!(stream.finish().unwrap(), "\u{FFFD}");
}

#[derive(Deserialize)]
struct Rendering {
    file: Option<String>,
    template: Option<String>,
    bos_token: String,
    eos_token: String,
    messages: Vec<Message>,
    add_generation_prompt: bool,
    text: Option<String>,
    error: Option<String>,
}

#[test]
fn chat_templates_render_as_transformers_does() {
    let rows: Vec<Rendering> = serde_json::from_slice(&std::fs::read(fixture("renderings.json")).unwrap()).unwrap();
    let templates = shared("data/tokenizers/chat_templates");
    let folder = scratch("chat_templates");
    std::fs::copy(fixture("byte_level/tokenizer.json"), folder.join("tokenizer.json")).unwrap();
    let mut rendered = 0;
    for row in rows {
        let source = match (&row.file, &templates) {
            (None, _) => row.template.unwrap(),
            (Some(file), Some(templates)) => std::fs::read_to_string(templates.join(file)).unwrap(),
            (Some(_), None) => continue,
        };
        std::fs::write(folder.join("chat_template.jinja"), source).unwrap();
        let tokens = format!(r#"{{"bos_token": {:?}, "eos_token": {:?}}}"#, row.bos_token, row.eos_token);
        std::fs::write(folder.join("tokenizer_config.json"), tokens).unwrap();
        let tokenizer = Tokenizer::from_folder(&folder).unwrap().unwrap();
        let result = tokenizer.apply_chat_template(&row.messages, row.add_generation_prompt);
        match (row.text, row.error) {
            (Some(text), None) => assert_eq!(result.unwrap(), text, "{:?}", row.file),
            (None, Some(error)) => assert!(result.unwrap_err().to_string().contains(&error)),
            other => panic!("a golden row has either text or error, not {other:?}"),
        }
        rendered += 1;
    }
    assert!(rendered >= 18);
}

#[test]
fn configuration_is_read_and_missing_parts_are_named() {
    let tokenizer = Tokenizer::from_file(&fixture("byte_level/tokenizer.json")).unwrap();
    let messages = [Message { role: "user".to_string(), content: "hi".to_string() }];
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(tokenizer.apply_chat_template(&messages, true).unwrap(), expected);
    assert_eq!(tokenizer.eos_token(), Some("<|im_end|>"));
    assert_eq!(tokenizer.token_to_id("<|im_end|>"), Some(264));
    assert_eq!(tokenizer.id_to_token(264).as_deref(), Some("<|im_end|>"));
    assert_eq!((tokenizer.vocab_size(), tokenizer.id_to_token(267)), (267, None));
    let names: Vec<String> = tokenizer.files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["tokenizer.json", "tokenizer_config.json"]);
    assert_eq!(tokenizer.files()[0].1, std::fs::read(fixture("byte_level/tokenizer.json")).unwrap());

    let without_template = Tokenizer::from_folder(&fixture("byte_fallback")).unwrap().unwrap();
    let error = without_template.apply_chat_template(&messages, true).unwrap_err();
    assert!(matches!(error, Error::NoChatTemplate { .. }), "{error}");
    let empty = scratch("empty");
    assert!(Tokenizer::from_folder(&empty).unwrap().is_none());
    std::fs::write(empty.join("tokenizer.json"), "{\"model\": 3").unwrap();
    let damaged = Tokenizer::from_folder(&empty).err().unwrap().to_string();
    assert!(damaged.contains("tokenizer.json"), "{damaged}");
}

#[derive(Deserialize)]
struct QwenVector {
    id: String,
    text: String,
    #[serde(rename = "qwen2.5_derived")]
    ids: Vec<u32>,
    #[serde(rename = "qwen2.5_derived_decoded")]
    decoded: String,
}

#[test]
fn qwen_vectors() {
    let Some(vectors) = shared("conformance/tokenizer_qwen_vectors.jsonl") else { return };
    let Some(packed) = shared("data/tokenizers/qwen2.5/tokenizer.json.gz") else { return };
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(packed).unwrap()).read_to_end(&mut bytes).unwrap();
    let folder = scratch("qwen");
    std::fs::write(folder.join("tokenizer.json"), bytes).unwrap();
    let tokenizer = Tokenizer::from_folder(&folder).unwrap().unwrap();
    assert_eq!(tokenizer.vocab_size(), 151_665);
    let lines = std::fs::read_to_string(vectors).unwrap();
    let mut all = Vec::new();
    for line in lines.lines() {
        let vector: QwenVector = serde_json::from_str(line).unwrap();
        assert_eq!(tokenizer.encode(&vector.text, false).unwrap(), vector.ids, "{}", vector.id);
        assert_eq!(tokenizer.decode(&vector.ids, false).unwrap(), vector.decoded, "{}", vector.id);
        assert_eq!(streamed(&tokenizer, &vector.ids, false), vector.decoded, "{}", vector.id);
        all.extend(vector.ids);
    }
    // Every third id: characters cut in the middle, invalid bytes in between.
    let cut: Vec<u32> = all.into_iter().step_by(3).collect();
    assert_eq!(streamed(&tokenizer, &cut, true), tokenizer.decode(&cut, true).unwrap());
}
