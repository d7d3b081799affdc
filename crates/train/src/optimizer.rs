//! The optimizer's state of a policy: made at its first step, updated at each, written to checkpoints and read back.
//!
//! Stands between `trainer`, which has the gradients, and the backend, which keeps the state of each parameter in its own way.

use std::path::Path;

use gradus_model::{Model, Parameters, stream};
use gradus_ops::{AdamW, Backend, OptimizerValues};
use gradus_tensor::{Checkpoint, DType, SafetensorsWriter, TensorSpec};

use crate::Result;

/// Prefixes of the tensors of optimizer.safetensors before the Hugging Face name.
pub(crate) const MASTER: &str = "master.";
pub(crate) const FIRST_MOMENT: &str = "m.";
pub(crate) const SECOND_MOMENT: &str = "v.";

/// What AdamW keeps of every parameter, or what it will be made of.
pub(crate) enum Optimizer<B: Backend> {
    /// Before the first step: moments will be zero, and masters the values of a file, or the weights themselves.
    Unmade(Option<Masters>),
    Made(OptimizerState<B>),
}

/// Values of a file that are more exact than a bf16 policy's weights, which are they, rounded.
pub(crate) struct Masters {
    file: Checkpoint,
    prefix: &'static str,
}

pub(crate) struct OptimizerState<B: Backend> {
    /// One a parameter, in their order.
    list: Vec<B::OptimizerState>,
    bytes: u64,
}

/// Bytes that the optimizer's state of `model` takes from its first step on.
pub fn optimizer_bytes<B: Backend>(model: &Model<B>) -> u64 {
    model.parameters.list.iter().map(|parameter| model.backend.optimizer_bytes(&parameter.weight)).sum()
}

impl Masters {
    /// The values that stand in `file` under `prefix`.
    pub fn of_file(file: Checkpoint, prefix: &'static str) -> Masters {
        Masters { file, prefix }
    }

    /// Those of a Hugging Face folder; None where it has none that bf16 would round.
    pub fn of_folder(folder: &Path) -> Result<Option<Masters>> {
        let file = Checkpoint::open(folder)?;
        Ok(if file.is_bf16() { None } else { Some(Masters { file, prefix: "" }) })
    }
}

impl<B: Backend> Optimizer<B> {
    /// The state, made where there is none.
    pub fn made(&mut self, model: &mut Model<B>) -> Result<&mut OptimizerState<B>> {
        if let Optimizer::Unmade(masters) = self {
            *self = Optimizer::Made(OptimizerState::new(model, masters.as_ref())?);
        }
        match self {
            Optimizer::Made(state) => Ok(state),
            Optimizer::Unmade(_) => unreachable!("it was made above"),
        }
    }

    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        match self {
            Optimizer::Made(state) => state.bytes,
            Optimizer::Unmade(_) => 0,
        }
    }

    /// What [`Optimizer::write`] writes: masters in f32, moments as the backend keeps them; nothing before the first step but masters that the
    /// weights are not.
    pub fn tensor_specs(&self, model: &Model<B>) -> Vec<TensorSpec> {
        self.lists(model)
            .into_iter()
            .flat_map(|(_, prefix, dtype)| {
                model.parameters.list.iter().flat_map(move |parameter| parameter.tensor_specs(prefix, dtype))
            })
            .collect()
    }

    pub fn write(&self, model: &Model<B>, writer: &mut SafetensorsWriter) -> Result<()> {
        for (values, prefix, _) in self.lists(model) {
            match self {
                Optimizer::Made(state) => state.write(values, prefix, model, writer)?,
                Optimizer::Unmade(masters) => {
                    masters.iter().try_for_each(|masters| masters.copy_to(writer, prefix, &model.parameters))?;
                }
            }
        }
        Ok(())
    }

    /// The lists of optimizer.safetensors in the order in which they are written.
    fn lists(&self, model: &Model<B>) -> Vec<(OptimizerValues, &'static str, DType)> {
        let has_masters = match self {
            Optimizer::Made(_) => model.precision.has_masters(),
            Optimizer::Unmade(masters) => masters.is_some(),
        };
        let masters = has_masters.then_some((OptimizerValues::Master, MASTER, DType::F32));
        let moments = [(OptimizerValues::FirstMoment, FIRST_MOMENT), (OptimizerValues::SecondMoment, SECOND_MOMENT)];
        let moments = moments.map(|(values, prefix)| (values, prefix, B::MOMENTS));
        let has_moments = matches!(self, Optimizer::Made(_));
        masters.into_iter().chain(moments.into_iter().filter(|_| has_moments)).collect()
    }
}

impl<B: Backend> OptimizerState<B> {
    /// Zero moments, and masters as the parameters are, or as `masters` has them.
    pub fn new(model: &mut Model<B>, masters: Option<&Masters>) -> Result<Self> {
        let alloc = |parameter: &gradus_model::Parameter<B>| Ok(model.backend.alloc_optimizer(&parameter.weight)?);
        let list = model.parameters.list.iter().map(alloc).collect::<Result<_>>()?;
        let mut state = Self { list, bytes: optimizer_bytes(model) };
        if let Some(Masters { file, prefix }) = masters {
            state.read(OptimizerValues::Master, prefix, model, file)?;
        }
        Ok(state)
    }

    /// Sets one list from the tensors of a file.
    pub fn read(
        &mut self,
        values: OptimizerValues,
        prefix: &str,
        model: &mut Model<B>,
        file: &Checkpoint,
    ) -> Result<()> {
        let backend = &model.backend;
        for (parameter, state) in model.parameters.list.iter_mut().zip(&mut self.list) {
            parameter
                .read(prefix, file, |weight, row, src| Ok(backend.load_optimizer(values, weight, state, row, src)?))?;
        }
        Ok(())
    }

    fn write(
        &self,
        values: OptimizerValues,
        prefix: &str,
        model: &Model<B>,
        writer: &mut SafetensorsWriter,
    ) -> Result<()> {
        let backend = &model.backend;
        for (parameter, state) in model.parameters.list.iter().zip(&self.list) {
            parameter.write(prefix, writer, |weight, row, dst| {
                Ok(backend.store_optimizer(values, weight, state, row, dst)?)
            })?;
        }
        Ok(())
    }

    /// AdamW on every parameter; norms and biases without weight decay. Each has a random stream of its own, named after its first tensor.
    pub fn update(&mut self, model: &mut Model<B>, gradients: &Parameters<B>, options: &AdamW) -> Result<()> {
        let parameters = model.parameters.list.iter_mut().zip(&gradients.list);
        for ((parameter, gradient), state) in parameters.zip(&mut self.list) {
            let weight_decay = if parameter.kind.is_vector() { 0.0 } else { options.weight_decay };
            let name = parameter.hf.first().map_or("", |tensor| tensor.name.as_str());
            let stream = stream("moments", 0, options.step, name.as_bytes(), 0, 0);
            let options = AdamW { weight_decay, stream, ..*options };
            model.backend.adamw(&mut parameter.weight, state, &gradient.weight, &options)?;
        }
        Ok(())
    }
}

impl Masters {
    /// Appends the values of every parameter under another prefix.
    fn copy_to<B: Backend>(
        &self,
        writer: &mut SafetensorsWriter,
        prefix: &str,
        parameters: &Parameters<B>,
    ) -> Result<()> {
        for spec in parameters.list.iter().flat_map(|parameter| parameter.tensor_specs("", DType::F32)) {
            let values = self.file.read_f32(&format!("{}{}", self.prefix, spec.name), &spec.shape)?;
            writer.write_f32(&format!("{prefix}{}", spec.name), &values)?;
        }
        Ok(())
    }
}
