//! Reads the weights of a Hugging Face folder: one safetensors file or an index with its shards, mapped, widened to f32.
//!
//! The first stage of `Model::load` and of resuming a checkpoint.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use crate::{Error, Result};

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";

/// Stored tensors by name, read from mapped files: opening costs the headers only.
pub struct Checkpoint {
    /// What the caller named: the folder or the file.
    path: PathBuf,
    files: Vec<MappedFile>,
    tensors: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

struct MappedFile {
    path: PathBuf,
    map: Mmap,
}

struct Entry {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

impl Checkpoint {
    /// Opens `model.safetensors` of `folder`, or the shards that `model.safetensors.index.json` names.
    pub fn open(folder: &Path) -> Result<Self> {
        let single = folder.join(SINGLE_FILE);
        if single.exists() {
            return Self::open_file(&single);
        }
        let index = folder.join(INDEX_FILE);
        if index.exists() {
            Self::open_index(folder, &index)
        } else {
            Err(Error::NoWeights { folder: folder.to_owned() })
        }
    }

    /// Opens one safetensors file.
    pub fn open_file(path: &Path) -> Result<Self> {
        let mut checkpoint = Self::empty(path);
        for (name, entry) in checkpoint.map_file(path)? {
            checkpoint.tensors.insert(name, entry);
        }
        Ok(checkpoint)
    }

    fn empty(path: &Path) -> Self {
        Self { path: path.to_owned(), files: Vec::new(), tensors: BTreeMap::new(), metadata: BTreeMap::new() }
    }

    fn open_index(folder: &Path, index: &Path) -> Result<Self> {
        let mut checkpoint = Self::empty(folder);
        let mut shards: BTreeMap<String, BTreeMap<String, Entry>> = BTreeMap::new();
        for (name, shard) in read_index(index)? {
            if !shards.contains_key(&shard) {
                let path = folder.join(&shard);
                if !path.exists() {
                    return Err(Error::MissingShard { shard: path, index: index.to_owned() });
                }
                let entries = checkpoint.map_file(&path)?;
                shards.insert(shard.clone(), entries);
            }
            let entry = shards.get_mut(&shard).and_then(|entries| entries.remove(&name));
            let entry = entry.ok_or_else(|| Error::MissingTensor { name: name.clone(), path: folder.join(&shard) })?;
            checkpoint.tensors.insert(name, entry);
        }
        Ok(checkpoint)
    }

    /// Maps one file, merges its metadata and returns its tensors.
    fn map_file(&mut self, path: &Path) -> Result<BTreeMap<String, Entry>> {
        let io = |action| move |source| Error::Io { action, path: path.to_owned(), source };
        let handle = File::open(path).map_err(io("open"))?;
        // SAFETY: the map is read-only; weights files are replaced by rename, never written in place.
        let map = unsafe { Mmap::map(&handle) }.map_err(io("map"))?;
        let (header_bytes, header) = SafeTensors::read_metadata(&map)
            .map_err(|error| Error::Damaged { path: path.to_owned(), reason: describe(&map, &error) })?;
        let data_start = 8 + header_bytes;
        let file = self.files.len();
        let entries = header.tensors().into_iter().map(|(name, info)| {
            let (start, end) = info.data_offsets;
            let bytes = data_start + start..data_start + end;
            (name, Entry { file, dtype: info.dtype, shape: info.shape.clone(), bytes })
        });
        let entries = entries.collect();
        self.metadata.extend(header.metadata().clone().into_iter().flatten());
        self.files.push(MappedFile { path: path.to_owned(), map });
        Ok(entries)
    }

    /// Names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The header's free text entries.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Whether every tensor is stored in bf16, so that reading them as bf16 loses nothing.
    pub fn is_bf16(&self) -> bool {
        self.tensors.values().all(|entry| entry.dtype == Dtype::BF16)
    }

    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.entry(name)?.shape)
    }

    /// The values of `name`, row-major, widened to f32.
    pub fn read_f32(&self, name: &str, expected_shape: &[usize]) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        self.read_f32_into(name, expected_shape, &mut values)?;
        Ok(values)
    }

    /// As [`Checkpoint::read_f32`], into a vector that is used again.
    pub fn read_f32_into(&self, name: &str, expected_shape: &[usize], values: &mut Vec<f32>) -> Result<()> {
        let rows = expected_shape.first().copied().unwrap_or(1);
        self.read_f32_rows(name, expected_shape, 0..rows, values)
    }

    /// Rows `rows` (of the first dimension) of `name`, so that a large matrix need not be held twice.
    pub fn read_f32_rows(
        &self,
        name: &str,
        expected_shape: &[usize],
        rows: Range<usize>,
        values: &mut Vec<f32>,
    ) -> Result<()> {
        let entry = self.entry(name)?;
        let file = &self.files[entry.file];
        let path = || file.path.clone();
        if entry.shape != expected_shape {
            let (found, expected) = (entry.shape.clone(), expected_shape.to_vec());
            return Err(Error::Shape { name: name.to_owned(), path: path(), found, expected });
        }
        let rows_stored = expected_shape.first().copied().unwrap_or(1);
        if rows.start > rows.end || rows.end > rows_stored {
            let (start, end) = (rows.start, rows.end);
            return Err(Error::Rows { name: name.to_owned(), path: path(), rows: rows_stored, start, end });
        }
        let row_bytes = entry.bytes.len().checked_div(rows_stored).unwrap_or(0);
        let start = entry.bytes.start + rows.start * row_bytes;
        let bytes = &file.map[start..start + rows.len() * row_bytes];
        values.clear();
        match entry.dtype {
            Dtype::F32 => values.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
            Dtype::BF16 => values.extend(bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32())),
            Dtype::F16 => values.extend(bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())),
            other => {
                return Err(Error::DType { name: name.to_owned(), path: path(), found: format!("{other:?}") });
            }
        }
        Ok(())
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.tensors.get(name).ok_or_else(|| Error::MissingTensor { name: name.to_owned(), path: self.path.clone() })
    }
}

/// (tensor, shard file) pairs of an index file.
fn read_index(index: &Path) -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(index).map_err(|source| match source.kind() {
        ErrorKind::InvalidData => Error::Damaged { path: index.to_owned(), reason: "it is not text".to_owned() },
        _ => Error::Io { action: "read", path: index.to_owned(), source },
    })?;
    let damaged = |reason: String| Error::Damaged { path: index.to_owned(), reason };
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    let map = json.get("weight_map").and_then(serde_json::Value::as_object);
    let map = map.ok_or_else(|| damaged("it has no weight_map".to_owned()))?;
    map.iter()
        .map(|(name, shard)| {
            let shard = shard.as_str().unwrap_or_default();
            // A shard is a plain file name: an index must not reach outside its folder.
            if Path::new(shard).file_name().is_none_or(|file| file != shard) {
                return Err(damaged(format!("the shard of {name} is not a file name")));
            }
            Ok((name.clone(), shard.to_owned()))
        })
        .collect()
}

/// Says what is wrong with a file in words of sizes where the format's own words are vague.
fn describe(bytes: &[u8], error: &safetensors::SafeTensorError) -> String {
    use safetensors::SafeTensorError::{HeaderTooSmall, InvalidHeaderLength, MetadataIncompleteBuffer};
    match error {
        HeaderTooSmall => format!("it has {} bytes, less than a header's length field", bytes.len()),
        InvalidHeaderLength => format!("its {} bytes end inside the header", bytes.len()),
        MetadataIncompleteBuffer => format!("its {} bytes are not what its header promises", bytes.len()),
        other => other.to_string(),
    }
}
