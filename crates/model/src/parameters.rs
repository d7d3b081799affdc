//! The parameters in device memory, and their way from and to files under Hugging Face names.
//!
//! Gradients are a list of the same layout ([`Parameters::like`]); what the optimizer keeps of a parameter is stored and read the same way.

use gradus_ops::{Backend, Precision};
use gradus_tensor::{Checkpoint, DType, SafetensorsWriter, TensorSpec};

use crate::layout::{HfTensor, ParameterIndex, ParameterKind, layout};
use crate::{Error, ModelConfig, Result};

/// Values converted at a time on the way from or to a file, so that no matrix is held twice.
const BLOCK_ELEMENTS: usize = 1 << 20;

/// One weight `[rows, cols]` and the Hugging Face tensors that are its rows.
pub struct Parameter<B: Backend> {
    pub weight: B::Weight,
    pub kind: ParameterKind,
    pub rows: usize,
    pub cols: usize,
    pub hf: Vec<HfTensor>,
}

impl<B: Backend> Parameter<B> {
    /// The shape of `tensor` in a file: norms and biases have one dimension there.
    fn file_shape(&self, tensor: &HfTensor) -> Vec<usize> {
        if self.kind.is_vector() { vec![tensor.rows] } else { vec![tensor.rows, self.cols] }
    }

    /// (first row, rows) of the blocks in which `rows` rows are converted.
    pub(crate) fn blocks(&self, rows: usize) -> impl Iterator<Item = (usize, usize)> + use<B> {
        // A multiple of 4 rows, so that a block begins with a whole group of random numbers.
        let step = (BLOCK_ELEMENTS / self.cols).max(1).next_multiple_of(4);
        (0..rows).step_by(step).map(move |first| (first, step.min(rows - first)))
    }

    /// Names, shapes and element types of its tensors in a file: F32 or BF16.
    pub fn tensor_specs(&self, prefix: &str, dtype: DType) -> impl Iterator<Item = TensorSpec> {
        let make = if dtype == DType::BF16 { TensorSpec::bf16 } else { TensorSpec::new };
        self.hf.iter().map(move |tensor| make(format!("{prefix}{}", tensor.name), self.file_shape(tensor)))
    }

    /// Appends its tensors to `writer`; `get` gives rows from one on, row-major.
    pub fn write(
        &self,
        prefix: &str,
        writer: &mut SafetensorsWriter,
        mut get: impl FnMut(&B::Weight, usize, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let mut values = Vec::new();
        for tensor in &self.hf {
            let name = format!("{prefix}{}", tensor.name);
            for (first, rows) in self.blocks(tensor.rows) {
                values.resize(rows * self.cols, 0.0);
                get(&self.weight, tensor.row_offset + first, &mut values)?;
                writer.write_f32(&name, &values)?;
            }
        }
        Ok(())
    }

    /// Hands the values of its tensors in a file to `set`: rows from one on, row-major.
    pub fn read(
        &mut self,
        prefix: &str,
        checkpoint: &Checkpoint,
        mut set: impl FnMut(&mut B::Weight, usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let mut values = Vec::new();
        for tensor in &self.hf {
            let name = format!("{prefix}{}", tensor.name);
            let shape = self.file_shape(tensor);
            for (first, rows) in self.blocks(tensor.rows) {
                checkpoint.read_f32_rows(&name, &shape, first..first + rows, &mut values)?;
                set(&mut self.weight, tensor.row_offset + first, &values)?;
            }
        }
        Ok(())
    }
}

/// All parameters in a fixed order: embedding, layers, final norm, and the head where it is not tied to the embedding.
pub struct Parameters<B: Backend> {
    pub list: Vec<Parameter<B>>,
    precision: Precision,
    pub(crate) index: ParameterIndex,
}

impl<B: Backend> Parameters<B> {
    /// Zeros in the shapes of `config`.
    pub(crate) fn zeros(config: &ModelConfig, backend: &B, precision: Precision) -> Result<Parameters<B>> {
        let (specs, index) = layout(config);
        let list = specs
            .into_iter()
            .map(|spec| {
                let weight = backend.alloc_weight(spec.rows, spec.cols, precision)?;
                Ok(Parameter { weight, kind: spec.kind, rows: spec.rows, cols: spec.cols, hf: spec.hf })
            })
            .collect::<Result<_>>()?;
        Ok(Parameters { list, precision, index })
    }

    /// Zeros in the same shapes, in f32: gradients.
    pub fn like(&self, backend: &B) -> Result<Parameters<B>> {
        self.twins(|rows, cols| backend.alloc_weight(rows, cols, Precision::F32))
    }

    /// As [`Parameters::like`], without memory until [`Parameters::take_from`].
    pub fn unbacked_like(&self, backend: &B) -> Result<Parameters<B>> {
        self.twins(|rows, cols| backend.unbacked_weight(rows, cols, Precision::F32))
    }

    fn twins(&self, make: impl Fn(usize, usize) -> gradus_ops::Result<B::Weight>) -> Result<Parameters<B>> {
        let twin = |parameter: &Parameter<B>| {
            let weight = make(parameter.rows, parameter.cols)?;
            Ok(Parameter { weight, hf: parameter.hf.clone(), ..*parameter })
        };
        let list = self.list.iter().map(twin).collect::<Result<_>>()?;
        Ok(Parameters { list, precision: Precision::F32, index: self.index.clone() })
    }

    /// Sets every value to zero.
    pub fn zero(&mut self, backend: &B) -> Result<()> {
        self.list.iter_mut().try_for_each(|parameter| Ok(backend.zero_weight(&mut parameter.weight)?))
    }

    /// Number of values.
    pub fn elements(&self) -> usize {
        self.list.iter().map(|parameter| parameter.rows * parameter.cols).sum()
    }

    /// Bytes of the values as they are stored, without padding.
    pub fn bytes(&self) -> u64 {
        self.list.iter().map(|parameter| stored_bytes(parameter.rows, parameter.cols, self.precision)).sum()
    }

    /// Names, shapes and element types of the tensors that [`Parameters::write`] writes, in its order: bf16 where the parameters are, else f32.
    pub fn tensor_specs(&self, prefix: &str) -> Vec<TensorSpec> {
        let dtype = self.precision.saved();
        self.list.iter().flat_map(|parameter| parameter.tensor_specs(prefix, dtype)).collect()
    }

    /// Appends every tensor to `writer`, row-major, under `prefix` + its Hugging Face name.
    pub fn write(&self, backend: &B, prefix: &str, writer: &mut SafetensorsWriter) -> Result<()> {
        self.list.iter().try_for_each(|parameter| {
            parameter.write(prefix, writer, |weight, row, values| Ok(backend.store_row_major(weight, row, values)?))
        })
    }

    /// Sets every value, rounded to the parameters' precision, from the tensors that [`Parameters::write`] or transformers wrote. Other tensors of the file
    /// are not looked at.
    pub fn read(&mut self, backend: &B, prefix: &str, checkpoint: &Checkpoint) -> Result<()> {
        self.list.iter_mut().try_for_each(|parameter| {
            parameter.read(prefix, checkpoint, |weight, row, values| Ok(backend.load_row_major(weight, row, values)?))
        })
    }

    /// The values of one Hugging Face tensor, row-major.
    pub fn read_tensor(&self, backend: &B, name: &str) -> Result<Vec<f32>> {
        for parameter in &self.list {
            if let Some(tensor) = parameter.hf.iter().find(|tensor| tensor.name == name) {
                let mut values = vec![0.0; tensor.rows * parameter.cols];
                backend.store_row_major(&parameter.weight, tensor.row_offset, &mut values)?;
                return Ok(values);
            }
        }
        Err(Error::invalid("read_tensor", format!("the policy has no tensor {name:?}")))
    }

    pub(crate) fn weight(&self, index: usize) -> &B::Weight {
        &self.list[index].weight
    }

    pub(crate) fn weight_mut(&mut self, index: usize) -> &mut B::Weight {
        &mut self.list[index].weight
    }

    /// Two different weights at once: a matrix with its bias, a query norm with its key norm.
    pub(crate) fn pair_mut(&mut self, first: usize, second: usize) -> (&mut B::Weight, &mut B::Weight) {
        let [a, b] = self.list.get_disjoint_mut([first, second]).expect("two different parameters of the list");
        (&mut a.weight, &mut b.weight)
    }
}

/// Norms and biases are f32 in memory whatever the precision; a row in q8_0 is blocks of 32 bytes with an f32 scale each.
fn stored_bytes(rows: usize, cols: usize, precision: Precision) -> u64 {
    let row = match precision {
        _ if cols == 1 => 4,
        Precision::F32 => 4 * cols,
        Precision::Bf16 => 2 * cols,
        Precision::Q8 => cols.div_ceil(32) * 36,
    };
    (rows * row) as u64
}
