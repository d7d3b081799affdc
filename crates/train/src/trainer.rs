//! The update: gradients of a batch, clipped, and one AdamW step on the weights.
//!
//! Stands between `node`, which brings batches with weights, and `model`, whose weights it moves. Blind to the algorithm.

use std::path::Path;
use std::time::Instant;

use gradus_model::{LossSums, Model, Parameters, Recompute, TrainingWorkspace};
use gradus_ops::{AdamW, Backend, Precision};

use crate::batch::{MicroBatch, MicroBatches};
use crate::fault::plant;
use crate::optimizer::{Masters, Optimizer};
use crate::{PlantedFault, Result, SkipReason, StepMetrics, StepOptions, TrainBatch};

/// Optimizer state of one policy.
pub struct Trainer<B: Backend> {
    steps: u64,
    pub(crate) optimizer: Optimizer<B>,
    pass: Option<Pass<B>>,
    parts: MicroBatches,
    activation_bytes_max: Option<u64>,
    /// Where the memory of `pass` comes from and goes back to; None: allocations of its own.
    region: Option<B::Region>,
    fault: Option<PlantedFault>,
}

/// Bytes that a trainer holds, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrainerMemory {
    pub gradients: u64,
    /// Moments and masters.
    pub optimizer: u64,
    pub activations: u64,
}

/// What only lives during a step, kept so that the next one allocates nothing.
struct Pass<B: Backend> {
    gradients: Parameters<B>,
    /// The memory went back to the region; the next step takes it again.
    is_given_back: bool,
    workspace: TrainingWorkspace<B>,
}

impl<B: Backend> Default for Trainer<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Backend> Trainer<B> {
    /// A trainer that has made no step; memory is taken at the first one.
    pub fn new() -> Self {
        Self::resumed(0, Optimizer::Unmade(None))
    }

    /// As [`Trainer::new`], for a policy that was loaded from a Hugging Face folder: the masters of a bf16 policy begin as the folder's own
    /// values. Its files stay open until the first step.
    pub fn of_folder(folder: &Path, precision: Precision) -> Result<Self> {
        let masters = if precision.has_masters() { Masters::of_folder(folder)? } else { None };
        Ok(Self::resumed(0, Optimizer::Unmade(masters)))
    }

    pub(crate) fn resumed(steps: u64, optimizer: Optimizer<B>) -> Self {
        Self {
            steps,
            optimizer,
            pass: None,
            parts: MicroBatches::default(),
            activation_bytes_max: None,
            region: None,
            fault: None,
        }
    }

    /// Bounds the activations of a pass, from the first step on: layers compute again what does not fit, which changes no bit. Without a
    /// bound everything is kept.
    pub fn limit_activations(&mut self, bytes: u64) {
        self.activation_bytes_max = Some(bytes);
    }

    /// Gradients and activations take memory of `region`, from the first step on, and give it back with [`Trainer::give_back`].
    pub fn share(&mut self, region: B::Region) {
        self.region = Some(region);
    }

    /// Between steps: the region has the memory of gradients and activations until the next step, which begins with zero gradients anyway.
    pub fn give_back(&mut self) {
        if let (Some(pass), Some(_)) = (&mut self.pass, &self.region)
            && !pass.is_given_back
        {
            pass.gradients.give_back();
            pass.workspace.give_back();
            pass.is_given_back = true;
        }
    }

    /// What is held now.
    pub fn memory(&self) -> TrainerMemory {
        TrainerMemory {
            gradients: self.pass.as_ref().filter(|pass| !pass.is_given_back).map_or(0, |pass| pass.gradients.bytes()),
            optimizer: self.optimizer.bytes(),
            activations: self.pass.as_ref().map_or(0, |pass| pass.workspace.bytes()),
        }
    }

    /// Layers that compute gate and up again in the backward, and those that compute everything again; zeros before the first step.
    pub fn recomputed_layers(&self) -> (usize, usize) {
        let plan = self.pass.as_ref().map_or(&[][..], |pass| pass.workspace.plan());
        let count = |recompute| plan.iter().filter(|&&layer| layer == recompute).count();
        (count(Recompute::GateUp), count(Recompute::Layer))
    }

    /// Updates made so far; skipped steps do not count.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Test hook: from now on each step first breaks something (`None`: nothing, the default).
    pub fn plant_fault(&mut self, fault: Option<PlantedFault>) {
        self.fault = fault;
    }

    /// One optimizer update of `model` on `batch`. A q8_0 policy is refused. A skipped step (see [`SkipReason`]) is no error and moves nothing.
    pub fn step(&mut self, model: &mut Model<B>, batch: &TrainBatch, options: &StepOptions) -> Result<StepMetrics> {
        let started = Instant::now();
        model.refuse_quantised("trained")?;
        options.check()?;
        batch.check(model.config.vocab_size, options.ratio_clip.is_some())?;
        if let Some(fault) = self.fault {
            plant(fault, model)?;
        }
        let mut sums = PassSums::default();
        batch.split(options.micro_batch_tokens, options.ratio_clip.is_some(), &mut self.parts);
        let parts = self.parts.as_slice();
        if parts.is_empty() {
            return Ok(sums.metrics(0.0, Some(SkipReason::NoWeight), started));
        }
        let pass = match &mut self.pass {
            Some(pass) => pass,
            empty => empty.insert(Pass::new(model, self.activation_bytes_max, self.region.clone())?),
        };
        pass.take_back(self.region.as_ref())?;
        pass.accumulate(model, parts, options, &mut sums)?;
        if let Some(reason) = sums.skip_reason() {
            return Ok(sums.metrics(0.0, Some(reason), started));
        }
        let grad_norm = pass.gradient_norm(model)?;
        if !grad_norm.is_finite() {
            return Ok(sums.metrics(grad_norm, Some(SkipReason::NonFiniteGradient), started));
        }
        let update = adamw_options(options, self.steps + 1, grad_norm);
        self.optimizer.made(model)?.update(model, &pass.gradients, &update)?;
        self.steps += 1;
        model.version += 1;
        model.backend.synchronize()?;
        Ok(sums.metrics(grad_norm, None, started))
    }
}

impl<B: Backend> Pass<B> {
    fn new(model: &Model<B>, activation_bytes_max: Option<u64>, region: Option<B::Region>) -> Result<Self> {
        let workspace = activation_bytes_max.map_or_else(TrainingWorkspace::new, TrainingWorkspace::limited);
        Ok(match region {
            None => Self { gradients: model.parameters.like(&model.backend)?, is_given_back: false, workspace },
            Some(region) => Self {
                gradients: model.parameters.unbacked_like(&model.backend)?,
                is_given_back: true,
                workspace: workspace.sharing(region),
            },
        })
    }

    /// The workspace takes its own memory when the forward begins.
    fn take_back(&mut self, region: Option<&B::Region>) -> Result<()> {
        if let (Some(region), true) = (region, self.is_given_back) {
            if let Err(error) = self.gradients.take_from(region) {
                self.gradients.give_back();
                return Err(error.into());
            }
            self.is_given_back = false;
        }
        Ok(())
    }

    /// Gradients of all micro-batches, added up from zero.
    fn accumulate(
        &mut self,
        model: &Model<B>,
        parts: &[MicroBatch],
        options: &StepOptions,
        sums: &mut PassSums,
    ) -> Result<()> {
        self.gradients.zero(&model.backend)?;
        for part in parts {
            model.forward(&part.tokens, &mut self.workspace)?;
            let (clip, gradients) = (options.ratio_clip, &mut self.gradients);
            let part_sums = model.loss_backward(&part.tokens, &part.rows, clip, gradients, &mut self.workspace)?;
            sums.add(part, part_sums);
        }
        Ok(())
    }

    fn gradient_norm(&self, model: &Model<B>) -> Result<f64> {
        let gradients = self.gradients.list.iter().map(|parameter| &parameter.weight);
        Ok(model.backend.sum_of_squares(gradients)?.sqrt())
    }
}

/// The clipping factor is that of torch.nn.utils.clip_grad_norm_: min(1, max / (norm + 1e-6)).
fn adamw_options(options: &StepOptions, step: u64, grad_norm: f64) -> AdamW {
    let scale = options.max_grad_norm.map_or(1.0, |max| (f64::from(max) / (grad_norm + 1e-6)).min(1.0));
    AdamW {
        learning_rate: options.learning_rate,
        beta1: options.betas.0,
        beta2: options.betas.1,
        eps: options.eps,
        weight_decay: options.weight_decay,
        step,
        gradient_scale: scale as f32,
        seed: options.seed,
        // Each parameter's own is set where it is updated.
        stream: 0,
    }
}

/// What the passes over the micro-batches add up to.
#[derive(Default)]
struct PassSums {
    loss: f64,
    entropy: f64,
    logprob_abs_diff_max: f32,
    has_non_finite_logprob: bool,
    tokens: usize,
    rows: usize,
}

impl PassSums {
    fn add(&mut self, part: &MicroBatch, sums: &LossSums) {
        self.loss += sums.loss;
        self.tokens += part.tokens.tokens.len();
        self.rows += part.rows.len();
        self.entropy += sums.entropies.iter().map(|&entropy| f64::from(entropy)).sum::<f64>();
        for (&logprob, sampler) in sums.logprobs.iter().zip(&part.sampler_logprobs) {
            self.has_non_finite_logprob |= !logprob.is_finite();
            if let Some(sampler) = *sampler {
                self.has_non_finite_logprob |= !sampler.is_finite();
                self.logprob_abs_diff_max = self.logprob_abs_diff_max.max((logprob - sampler).abs());
            }
        }
    }

    fn skip_reason(&self) -> Option<SkipReason> {
        if self.has_non_finite_logprob {
            Some(SkipReason::NonFiniteLogprob)
        } else if !self.loss.is_finite() {
            Some(SkipReason::NonFiniteLoss)
        } else {
            None
        }
    }

    fn metrics(&self, grad_norm: f64, skipped: Option<SkipReason>, started: Instant) -> StepMetrics {
        StepMetrics {
            loss: self.loss,
            grad_norm,
            entropy: if self.rows == 0 { 0.0 } else { self.entropy / self.rows as f64 },
            logprob_abs_diff_max: self.logprob_abs_diff_max,
            tokens: self.tokens,
            trained_tokens: self.rows,
            skipped,
            seconds: started.elapsed().as_secs_f64(),
        }
    }
}
