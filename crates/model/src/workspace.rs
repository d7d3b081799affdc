//! Memory of a training pass: what the forward keeps for the backward, and scratch.
//!
//! Grows to the largest batch seen and is then used again, so a step allocates nothing. How much the layers keep is decided whenever
//! memory is taken, by the limit that the workspace was given.

use gradus_ops::{Backed, Backend};

use crate::activations::StackActivations;
use crate::allocation::Allocation;
use crate::head::{HeadBuffers, HeadMemory};
use crate::mlp::{MLP_BYTES, MlpChunk, mlp_rows};
use crate::pass_plan::{plan_within, rounded};
use crate::sample::refilled;
use crate::shared_memory::Visit;
use crate::{Error, LossSums, Model, Recompute, Result, TokenBatch};

/// Memory of `forward`, `score_rows` and `loss_backward`; empty until the first forward.
pub struct TrainingWorkspace<B: Backend> {
    limit: Limit,
    /// Tokens and sequences that there is room for.
    capacity: (usize, usize),
    /// What each layer computes again.
    plan: Vec<Recompute>,
    /// Bytes of one chunk of the MLP, at most, and the tokens that it has for it.
    mlp_bytes: u64,
    mlp_rows: usize,
    pub(crate) forward: Option<ForwardBuffers<B>>,
    pub(crate) backward: Option<BackwardBuffers<B>>,
    pub(crate) head: Option<HeadBuffers<B>>,
    bytes: WorkspaceBytes,
    /// Where the memory comes from and goes back to; None: allocations of its own.
    region: Option<B::Region>,
    /// The buffers have given their memory back.
    is_given_back: bool,
    /// Size of the batch whose activations are held; 0 before the first forward.
    pub(crate) tokens: usize,
    pub(crate) sequences: usize,
    pub(crate) host: HostMemory,
}

/// What decides how much the layers keep.
#[derive(Clone, Copy)]
enum Limit {
    /// Every layer computes this much again.
    Fixed(Recompute),
    /// A pass with its backward takes at most so many bytes.
    Bytes(u64),
}

/// Bytes held, by part.
#[derive(Clone, Copy, Default)]
struct WorkspaceBytes {
    forward: u64,
    backward: u64,
    head: u64,
}

/// Lists that are filled anew by each pass.
#[derive(Default)]
pub(crate) struct HostMemory {
    positions: Vec<u32>,
    pub head: HeadMemory,
    /// Rows of the loss that have a weight.
    pub active: Vec<usize>,
    pub coefficients: Vec<f32>,
    pub sums: LossSums,
}

pub(crate) struct ForwardBuffers<B: Backend> {
    pub ids: B::Buffer,
    pub positions: B::Buffer,
    pub cu_seqlens: B::Buffer,
    pub stack: StackActivations<B>,
    pub final_sum: B::Buffer,
    pub final_rstd: B::Buffer,
    /// The normed hidden state of every token `[tokens, hidden]`.
    pub hidden: B::Buffer,
    pub scratch: ForwardScratch<B>,
}

/// Norm output and the branch to be added to the residual `[tokens, hidden]`, silu · up `[mlp_rows, ffn]`.
pub(crate) struct ForwardScratch<B: Backend> {
    pub x: B::Buffer,
    pub delta: B::Buffer,
    pub activation: B::Buffer,
    pub chunk: Option<MlpChunk<B>>,
}

pub(crate) struct BackwardBuffers<B: Backend> {
    /// Gradient of the residual stream, and of a norm's output `[tokens, hidden]`.
    pub d_sum: B::Buffer,
    pub d_x: B::Buffer,
    pub d_attended: B::Buffer,
    pub d_qkv: B::Buffer,
    /// Of `mlp_rows` tokens.
    pub d_activation: B::Buffer,
    pub d_gate_up: B::Buffer,
    /// Gradient of a chunk's norm output `[mlp_rows, hidden]`, where the MLP has chunks.
    pub d_chunk: Option<B::Buffer>,
    /// A recomputed norm writes its sum and 1/rms here.
    pub sum: B::Buffer,
    pub rstd: B::Buffer,
}

impl<B: Backend> Default for TrainingWorkspace<B> {
    fn default() -> Self {
        TrainingWorkspace::new()
    }
}

impl<B: Backend> TrainingWorkspace<B> {
    /// Without a limit: everything that the backward needs is kept.
    pub fn new() -> TrainingWorkspace<B> {
        TrainingWorkspace::recomputing(Recompute::Nothing)
    }

    /// Every layer keeps what `recompute` leaves: the least, [`Recompute::Layer`], where no backward follows.
    pub fn recomputing(recompute: Recompute) -> TrainingWorkspace<B> {
        TrainingWorkspace::with(Limit::Fixed(recompute))
    }

    /// At most `bytes` for a pass with its backward: layers compute again what does not fit, first gate and up, then all. A batch that does
    /// not fit even so is refused by its forward.
    pub fn limited(bytes: u64) -> TrainingWorkspace<B> {
        TrainingWorkspace::with(Limit::Bytes(bytes))
    }

    /// Other chunks of the MLP than by default, of at most so many bytes: changes no bit. For tests, whose policies are small.
    #[must_use]
    pub fn with_mlp_bytes(self, bytes: u64) -> TrainingWorkspace<B> {
        TrainingWorkspace { mlp_bytes: bytes, ..self }
    }

    fn with(limit: Limit) -> TrainingWorkspace<B> {
        TrainingWorkspace {
            limit,
            capacity: (0, 0),
            plan: Vec::new(),
            mlp_bytes: MLP_BYTES,
            mlp_rows: 0,
            forward: None,
            backward: None,
            head: None,
            bytes: WorkspaceBytes::default(),
            region: None,
            is_given_back: false,
            tokens: 0,
            sequences: 0,
            host: HostMemory::default(),
        }
    }

    /// Memory comes from `region`, and goes back there with [`TrainingWorkspace::give_back`].
    #[must_use]
    pub fn sharing(self, region: B::Region) -> TrainingWorkspace<B> {
        TrainingWorkspace { region: Some(region), ..self }
    }

    /// Gives the memory back to the region, if there is one; the next forward takes it again. What it held is lost.
    pub fn give_back(&mut self) {
        if self.region.is_none() || self.is_given_back {
            return;
        }
        (self.tokens, self.sequences) = (0, 0);
        self.is_given_back = true;
        self.free();
    }

    fn free(&mut self) {
        let freed = self.each(&mut |buffer| {
            buffer.give_back();
            Ok(())
        });
        freed.expect("giving back cannot fail");
    }

    /// All buffers have memory again, or none has.
    fn take_back(&mut self) -> Result<()> {
        if let (Some(region), true) = (self.region.clone(), self.is_given_back) {
            if let Err(error) = self.each(&mut |buffer| buffer.take_from(&region)) {
                self.free();
                return Err(error.into());
            }
            self.is_given_back = false;
        }
        Ok(())
    }

    fn each(&mut self, visit: Visit<'_, B>) -> gradus_ops::Result<()> {
        self.forward.iter_mut().try_for_each(|buffers| buffers.each(visit))?;
        self.backward.iter_mut().try_for_each(|buffers| buffers.each(visit))?;
        self.head.iter_mut().try_for_each(|buffers| buffers.each(visit))
    }

    /// Bytes of device memory held.
    pub fn bytes(&self) -> u64 {
        if self.is_given_back {
            return 0;
        }
        self.bytes.forward + self.bytes.backward + self.bytes.head
    }

    /// What each layer computes again; empty before the first forward.
    pub fn plan(&self) -> &[Recompute] {
        &self.plan
    }

    /// Makes room for `batch` and copies its tokens in.
    pub(crate) fn begin(&mut self, model: &Model<B>, batch: &TokenBatch) -> Result<&mut ForwardBuffers<B>> {
        (self.tokens, self.sequences) = (0, 0);
        let (tokens, sequences) = (batch.tokens.len(), batch.sequences());
        if self.forward.is_none() || tokens > self.capacity.0 || sequences > self.capacity.1 {
            self.grow(model, tokens, sequences)?;
        }
        self.take_back()?;
        let buffers = self.forward.as_mut().expect("just allocated");
        let backend = model.backend.as_ref();
        backend.write(&mut buffers.ids, 0, &batch.tokens)?;
        backend.write(&mut buffers.positions, 0, refilled(&mut self.host.positions, batch.positions()))?;
        backend.write(&mut buffers.cu_seqlens, 0, &batch.cu_seqlens)?;
        Ok(buffers)
    }

    fn grow(&mut self, model: &Model<B>, tokens: usize, sequences: usize) -> Result<()> {
        let capacity = rounded(tokens.max(self.capacity.0), sequences.max(self.capacity.1));
        // The old memory goes first: both together might not fit.
        (self.forward, self.backward) = (None, None);
        (self.bytes.forward, self.bytes.backward) = (0, 0);
        let layers = model.config.num_hidden_layers;
        self.plan = match self.limit {
            Limit::Fixed(recompute) => vec![recompute; layers],
            Limit::Bytes(limit) => plan_within(model, limit, capacity, self.mlp_bytes)?.layers,
        };
        self.mlp_rows = mlp_rows(model, &self.plan, capacity.0, self.mlp_bytes);
        let mut allocation = Allocation::shared(model, self.region.as_ref());
        self.forward = Some(ForwardBuffers::new(model, &self.plan, capacity, self.mlp_rows, &mut allocation)?);
        self.bytes.forward = allocation.bytes;
        self.capacity = capacity;
        Ok(())
    }

    /// Memory of the backward, allocated when a backward first needs it: scoring alone never does.
    pub(crate) fn backward_for(&mut self, model: &Model<B>) -> Result<()> {
        if self.backward.is_none() {
            let mut allocation = Allocation::shared(model, self.region.as_ref());
            self.backward = Some(BackwardBuffers::new(model, self.capacity.0, self.mlp_rows, &mut allocation)?);
            self.bytes.backward = allocation.bytes;
        }
        Ok(())
    }

    /// Room for head chunks of a call with `rows` rows.
    pub(crate) fn head_for(&mut self, model: &Model<B>, rows: usize) -> Result<()> {
        let rows = rows.min(model.backend.head_rows());
        if self.head.as_ref().is_none_or(|head| head.rows < rows) {
            self.head = None;
            let mut allocation = Allocation::shared(model, self.region.as_ref());
            self.head = Some(HeadBuffers::new(model, rows, &mut allocation)?);
            self.bytes.head = allocation.bytes;
        }
        Ok(())
    }

    /// The buffers of a backward, all there after `begin`, `backward_for` and `head_for`.
    pub(crate) fn parts(&mut self) -> PassParts<'_, B> {
        let there = "allocated before the backward begins";
        PassParts {
            forward: self.forward.as_mut().expect(there),
            backward: self.backward.as_mut().expect(there),
            head: self.head.as_mut().expect(there),
            host: &mut self.host,
        }
    }

    /// Tells a forgotten forward from one over another batch.
    pub(crate) fn check_holds(&self, batch: &TokenBatch) -> Result<()> {
        if (self.tokens, self.sequences) == (batch.tokens.len(), batch.sequences()) {
            return Ok(());
        }
        Err(Error::invalid("workspace", "holds no activations of this batch; run forward over it first"))
    }
}

/// Everything that a backward works with.
pub(crate) struct PassParts<'a, B: Backend> {
    pub forward: &'a mut ForwardBuffers<B>,
    pub backward: &'a mut BackwardBuffers<B>,
    pub head: &'a mut HeadBuffers<B>,
    pub host: &'a mut HostMemory,
}

impl<B: Backend> ForwardBuffers<B> {
    pub(crate) fn new(
        model: &Model<B>,
        plan: &[Recompute],
        (tokens, sequences): (usize, usize),
        mlp_rows: usize,
        allocation: &mut Allocation<'_, B>,
    ) -> Result<ForwardBuffers<B>> {
        let config = &model.config;
        let hidden = tokens * config.hidden_size;
        Ok(ForwardBuffers {
            ids: allocation.u32s(tokens)?,
            positions: allocation.u32s(tokens)?,
            cu_seqlens: allocation.u32s(sequences + 1)?,
            stack: StackActivations::new(config, plan, (tokens, mlp_rows), allocation)?,
            final_sum: allocation.activations(hidden)?,
            final_rstd: allocation.f32s(tokens)?,
            hidden: allocation.activations(hidden)?,
            scratch: ForwardScratch {
                x: allocation.activations(hidden)?,
                delta: allocation.f32s(hidden)?,
                activation: allocation.activations(mlp_rows * config.intermediate_size)?,
                chunk: MlpChunk::new(config, tokens, mlp_rows, allocation)?,
            },
        })
    }
}

impl<B: Backend> BackwardBuffers<B> {
    pub(crate) fn new(
        model: &Model<B>,
        tokens: usize,
        mlp_rows: usize,
        allocation: &mut Allocation<'_, B>,
    ) -> Result<BackwardBuffers<B>> {
        let config = &model.config;
        let (shape, hidden) = (config.attention(), tokens * config.hidden_size);
        let ffn = mlp_rows * config.intermediate_size;
        let chunk = if mlp_rows < tokens { Some(mlp_rows * config.hidden_size) } else { None };
        Ok(BackwardBuffers {
            d_sum: allocation.f32s(hidden)?,
            d_x: allocation.f32s(hidden)?,
            d_attended: allocation.f32s(tokens * shape.q_dim())?,
            d_qkv: allocation.f32s(tokens * shape.qkv_dim())?,
            d_activation: allocation.f32s(ffn)?,
            d_gate_up: allocation.f32s(2 * ffn)?,
            d_chunk: chunk.map(|len| allocation.f32s(len)).transpose()?,
            sum: allocation.activations(hidden)?,
            rstd: allocation.f32s(tokens)?,
        })
    }
}
