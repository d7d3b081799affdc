//! Writes a safetensors file as a stream: the header from names and shapes first, then the values as they come.
//!
//! The last stage of saving weights and moments: a model is never held twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::bf16;
use half::slice::HalfFloatSliceExt;
use serde_json::{Map, Value, json};

use crate::durable::DurableFile;
use crate::{DType, Error, Result};

#[cfg(target_endian = "big")]
compile_error!("tensors are written as the machine holds them, which the format wants little-endian");

/// Name, shape and element type of one tensor to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: String,
    pub shape: Vec<usize>,
    dtype: DType,
}

impl TensorSpec {
    /// A tensor in f32.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), shape: shape.into(), dtype: DType::F32 }
    }

    /// A tensor in bf16.
    pub fn bf16(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { dtype: DType::BF16, ..Self::new(name, shape) }
    }

    fn bytes(&self) -> usize {
        self.elements() * self.dtype.bytes()
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A safetensors file in the making. Tensors are written in the order of their specs; dropped before
/// [`SafetensorsWriter::finish`], it leaves nothing behind.
pub struct SafetensorsWriter {
    file: DurableFile,
    path: PathBuf,
    specs: Vec<TensorSpec>,
    /// Index of the tensor being written, and its elements written so far.
    current: usize,
    written: usize,
    /// Values in bf16 on their way to the file.
    rounded: Vec<bf16>,
}

impl SafetensorsWriter {
    /// Starts the file at a temporary name beside `path` and writes its header.
    pub fn create(path: &Path, specs: Vec<TensorSpec>, metadata: &BTreeMap<String, String>) -> Result<Self> {
        let header = header(&specs, metadata);
        let mut file = DurableFile::create(path, file_bytes(&specs, metadata))?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        Ok(Self { file, path: path.to_owned(), specs, current: 0, written: 0, rounded: Vec::new() })
    }

    /// Appends row-major values to tensor `name`, rounded to its element type; a large tensor may come in several pieces.
    pub fn write_f32(&mut self, name: &str, values: &[f32]) -> Result<()> {
        self.skip_complete();
        let Some(spec) = self.specs.get(self.current) else {
            return Err(self.order(format!("values for {name} after the last tensor")));
        };
        if spec.name != name {
            return Err(self.order(format!("values for {name} while {} is due", spec.name)));
        }
        let elements = spec.elements();
        if self.written + values.len() > elements {
            return Err(self.order(format!("more than the {elements} values of {name}")));
        }
        if spec.dtype == DType::BF16 {
            self.rounded.resize(values.len(), bf16::ZERO);
            self.rounded.convert_from_f32_slice(values);
            self.file.write_all(bytemuck::cast_slice(&self.rounded))?;
        } else {
            self.file.write_all(bytemuck::cast_slice(values))?;
        }
        self.written += values.len();
        Ok(())
    }

    /// Checks that every tensor is whole, syncs, and gives the file its name.
    pub fn finish(mut self) -> Result<()> {
        self.skip_complete();
        if let Some(spec) = self.specs.get(self.current) {
            let reason = format!("{} of {} values of {} were given", self.written, spec.elements(), spec.name);
            return Err(self.order(reason));
        }
        self.file.commit()
    }

    fn skip_complete(&mut self) {
        while self.specs.get(self.current).is_some_and(|spec| spec.elements() == self.written) {
            self.current += 1;
            self.written = 0;
        }
    }

    fn order(&self, reason: String) -> Error {
        Error::WriteOrder { path: self.path.clone(), reason }
    }
}

/// Size of the file that [`SafetensorsWriter`] makes of these tensors, to be compared with the free space.
pub fn file_bytes(specs: &[TensorSpec], metadata: &BTreeMap<String, String>) -> u64 {
    let data: usize = specs.iter().map(TensorSpec::bytes).sum();
    (8 + header(specs, metadata).len() + data) as u64
}

/// The JSON header, padded with spaces so that the data start on a multiple of 8.
fn header(specs: &[TensorSpec], metadata: &BTreeMap<String, String>) -> String {
    let mut entries = Map::new();
    if !metadata.is_empty() {
        entries.insert("__metadata__".to_owned(), json!(metadata));
    }
    let mut offset = 0;
    for spec in specs {
        let end = offset + spec.bytes();
        let entry = json!({ "dtype": spec.dtype.name(), "shape": spec.shape, "data_offsets": [offset, end] });
        entries.insert(spec.name.clone(), entry);
        offset = end;
    }
    let mut text = Value::Object(entries).to_string();
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    text
}
