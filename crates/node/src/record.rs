//! The rollout file of one step: every token with what the sampler and the trainer knew of it.
//!
//! `<name>.bin`, little-endian, arrays one after the other without padding (R rollouts, N tokens with prompts, M response tokens):
//!
//! | bytes | content |
//! | --- | --- |
//! | 8 | `GRADROLL` |
//! | 4 + 4 + 8 + 8 | u32 format version (1), u32 R, u64 N, u64 M |
//! | 4·(R+1) | u32 cu_seqlens: rollout i is tokens `cu_seqlens[i]..cu_seqlens[i + 1]`, prompt first |
//! | 4·R | u32 prompt lengths; the rest of a rollout is its response |
//! | 4·R | f32 reward (NaN: none, as of a fault or of a truncated rollout that is left out) |
//! | 4·R | f32 advantage |
//! | 4·N | u32 token ids |
//! | 4·M | f32 logprob of each response token at the sampling temperature |
//! | 4·M | f32 entropy of each response token at the sampling temperature |
//! | 4·M | f32 entropy of each response token at temperature 1 |
//! | M | u8 mask: 1 where the step trained on the token |
//!
//! `<name>.json` beside it is the index: temperature and, for each rollout, prompt, indices, lengths, finish reason, score, kind,
//! detail (why, where the reward said so), advantage and text. The index is written last: where it is, the other file is whole.

use crate::batch_data::{BatchData, RolloutColumns};
use crate::fault::{Fault, Result};
use gradus_tensor::{DurableFile, write_file};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

const MAGIC: &[u8; 8] = b"GRADROLL";
const FORMAT_VERSION: u32 = 1;

/// A batch of rollouts with the columns that the recipe adds.
pub struct Record {
    pub path: PathBuf,
    pub batch: Arc<BatchData>,
    /// One entry per rollout in each.
    pub scores: Vec<f32>,
    pub kinds: Vec<String>,
    /// What the reward said of its verdict.
    pub details: Vec<Option<String>>,
    pub advantages: Vec<f32>,
}

impl Record {
    /// Writes both files, each whole or not at all; folders on the way are made.
    pub fn write(&self) -> Result<()> {
        let columns = self.batch.rollouts.as_ref();
        let columns = columns.ok_or_else(|| Fault::bad_input("only a rollout batch can be recorded"))?;
        let rollouts = columns.rollouts.len();
        let lengths = [
            ("scores", self.scores.len()),
            ("kinds", self.kinds.len()),
            ("details", self.details.len()),
            ("advantages", self.advantages.len()),
        ];
        if let Some((name, found)) = lengths.iter().find(|(_, length)| *length != rollouts) {
            return Err(Fault::bad_input(format!("{name} has {found} entries, expected one per rollout: {rollouts}")));
        }
        if self.path.extension().is_none_or(|extension| extension != "bin") {
            let path = self.path.display();
            return Err(Fault::bad_input(format!(
                "the rollout file {path} must end in .bin; its index takes the same name with .json"
            )));
        }
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| Fault::io(format!("cannot create {}: {error}", folder.display()), error.kind()))?;
        }
        self.write_columns(columns)?;
        let index = serde_json::to_vec(&self.index(columns)).expect("strings and numbers always serialise");
        write_file(&self.path.with_extension("json"), &index)?;
        Ok(())
    }

    fn write_columns(&self, columns: &RolloutColumns) -> Result<()> {
        let tokens = &self.batch.tokens;
        let trained = columns.trained.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Before a step nothing was trained on.
        let mask = if trained.is_empty() { vec![0; self.batch.targets.len()] } else { trained };
        let prompt_lengths: Vec<u32> = columns.rollouts.iter().map(|rollout| rollout.prompt_length as u32).collect();
        let (n, m) = (tokens.tokens.len() as u64, self.batch.targets.len() as u64);
        let mut head = MAGIC.to_vec();
        head.extend(FORMAT_VERSION.to_le_bytes());
        head.extend((columns.rollouts.len() as u32).to_le_bytes());
        head.extend(n.to_le_bytes());
        head.extend(m.to_le_bytes());
        let parts: [Vec<u8>; 10] = [
            head,
            bytes_of_ids(&tokens.cu_seqlens),
            bytes_of_ids(&prompt_lengths),
            bytes_of_numbers(&self.scores),
            bytes_of_numbers(&self.advantages),
            bytes_of_ids(&tokens.tokens),
            bytes_of_numbers(&columns.logprobs),
            bytes_of_numbers(&columns.entropies),
            bytes_of_numbers(&columns.entropies_raw),
            mask,
        ];
        let bytes: usize = parts.iter().map(Vec::len).sum();
        let mut file = DurableFile::create(&self.path, bytes as u64)?;
        for part in &parts {
            file.write_all(part)?;
        }
        Ok(file.commit()?)
    }

    fn index(&self, columns: &RolloutColumns) -> Value {
        let rollouts = columns.rollouts.iter().enumerate().map(|(index, rollout)| {
            json!({
                "prompt": rollout.prompt_id,
                "promptIndex": rollout.prompt_index,
                "rolloutIndex": rollout.index,
                "promptLength": rollout.prompt_length,
                "length": rollout.length,
                "finishReason": rollout.finish_reason,
                "score": finite(self.scores[index]),
                "kind": self.kinds[index],
                "detail": self.details[index],
                "advantage": finite(self.advantages[index]),
                "text": rollout.text,
            })
        });
        json!({
            "format": "gradus-rollouts",
            "version": FORMAT_VERSION,
            "file": self.path.file_name().unwrap_or_default().to_string_lossy(),
            "temperature": columns.temperature,
            "rollouts": rollouts.collect::<Vec<_>>(),
        })
    }
}

/// JSON has no NaN: a rollout without a score has null.
fn finite(number: f32) -> Option<f32> {
    number.is_finite().then_some(number)
}

fn bytes_of_ids(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

fn bytes_of_numbers(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_data::Rollout;
    use gradus_model::TokenBatch;
    use std::sync::Mutex;

    /// Two rollouts of the prompt [5, 6]: [7] and [8, 9].
    fn record(path: PathBuf) -> Record {
        let rollout = |index, length| Rollout {
            prompt_index: 0,
            index,
            prompt_id: Some("sum-1".to_string()),
            prompt_length: 2,
            length,
            text: "é".to_string(),
            finish_reason: "stop",
        };
        let columns = RolloutColumns {
            temperature: 0.85,
            logprobs: vec![-0.5, -1.5, -2.5],
            entropies: vec![0.25, 0.5, 0.75],
            entropies_raw: vec![1.0, 2.0, 3.0],
            rollouts: vec![rollout(0, 1), rollout(1, 2)],
            trained: Mutex::default(),
        };
        let tokens = TokenBatch { tokens: vec![5, 6, 7, 5, 6, 8, 9], cu_seqlens: vec![0, 3, 7] };
        let batch = BatchData { tokens, targets: vec![2, 5, 6], inv_t: 1.0, rollouts: Some(columns) };
        let kinds = vec!["correct".to_string(), "fault".to_string()];
        let details = vec![None, Some("the sandbox is closed".to_string())];
        let (scores, advantages) = (vec![1.0, f32::NAN], vec![0.5, 0.0]);
        Record { path, batch: Arc::new(batch), scores, kinds, details, advantages }
    }

    #[test]
    fn the_file_is_as_its_comment_says() {
        let folder = tempfile::tempdir().unwrap();
        let record = record(folder.path().join("rollouts/math-1-3.bin"));
        record.batch.note_trained(&[0.5, 0.0, 0.0], true);
        record.write().unwrap();
        let bytes = std::fs::read(&record.path).unwrap();
        assert_eq!(bytes.len(), 32 + 12 + 8 + 8 + 8 + 28 + 12 + 12 + 12 + 3);
        assert_eq!(&bytes[..8], b"GRADROLL");
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let number = |at: usize| f32::from_bits(word(at));
        assert_eq!([word(8), word(12), word(16), word(24)], [1, 2, 7, 3]);
        assert_eq!([word(32), word(36), word(40)], [0, 3, 7]);
        assert_eq!([word(44), word(48)], [2, 2]);
        assert_eq!(number(52), 1.0);
        assert!(number(56).is_nan());
        assert_eq!([number(60), number(64)], [0.5, 0.0]);
        assert_eq!([word(68), word(92)], [5, 9]);
        assert_eq!([number(96), number(104)], [-0.5, -2.5]);
        assert_eq!([number(108), number(120)], [0.25, 1.0]);
        assert_eq!(&bytes[132..], [1, 0, 0]);
        let index: Value = serde_json::from_slice(&std::fs::read(record.path.with_extension("json")).unwrap()).unwrap();
        assert_eq!(index["temperature"], 0.85);
        assert_eq!(index["rollouts"][1]["score"], Value::Null);
        assert_eq!(index["rollouts"][0]["detail"], Value::Null);
        assert_eq!(index["rollouts"][1]["detail"], "the sandbox is closed");
        assert_eq!(index["rollouts"][0]["text"], "é");
        assert_eq!(index["rollouts"][0]["prompt"], "sum-1");
    }

    #[test]
    fn columns_of_another_length_and_other_names_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        let refused = |record: Record| record.write().unwrap_err().message;
        let short = Record { scores: vec![1.0], ..record(path.clone()) };
        assert!(refused(short).contains("scores has 1 entries, expected one per rollout: 2"));
        assert!(refused(record(folder.path().join("a.json"))).contains("must end in .bin"));
        assert!(!path.exists());
    }
}
