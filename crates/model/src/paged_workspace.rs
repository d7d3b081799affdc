//! Device memory of one inference step; grows to the largest step seen.

use gradus_ops::{Backend, Words};
use gradus_tensor::DType::{F32, U32};

use crate::allocation::Allocation;
use crate::block::QkvBuffers;
use crate::sample::Sampled;
use crate::{Model, ModelConfig, PagedInputs, Result};

/// Memory of `forward_paged` and `sample_rows`; empty until the first step.
pub struct PagedWorkspace<B: Backend> {
    capacity: PagedSizes,
    bytes: u64,
    pub(crate) buffers: Option<PagedBuffers<B>>,
    /// Rows of logits of the last step.
    pub(crate) rows: usize,
    pub(crate) sampling: SampleMemory<B>,
}

/// Memory of `sample_rows`, kept from step to step.
pub(crate) struct SampleMemory<B: Backend> {
    pub words: Vec<u32>,
    pub floats: Vec<f32>,
    pub sampled: Vec<Sampled>,
    /// Every row of the step has T = 1.
    pub is_raw: bool,
    /// Made at the first step with adjusted logits.
    pub adjustments: Option<AdjustmentBuffers<B>>,
    /// Entries, and offsets, that `adjustments` has room for.
    adjustment_capacity: (usize, usize),
}

/// Device memory of [`gradus_ops::LogitAdjustments`].
pub(crate) struct AdjustmentBuffers<B: Backend> {
    pub offsets: B::Buffer,
    pub ids: B::Buffer,
    pub biases: B::Buffer,
    pub repetition_penalties: B::Buffer,
    pub reductions: B::Buffer,
    pub saved: B::Buffer,
}

impl<B: Backend> SampleMemory<B> {
    fn new() -> Self {
        let (words, floats, sampled) = (Vec::new(), Vec::new(), Vec::new());
        SampleMemory { words, floats, sampled, is_raw: true, adjustments: None, adjustment_capacity: (0, 0) }
    }

    /// Makes room for that many entries and offsets, doubling so that a growing response seldom allocates.
    pub fn reserve_adjustments(&mut self, backend: &B, entries: usize, offsets: usize) -> Result<()> {
        let (entries_max, offsets_max) = self.adjustment_capacity;
        if entries > entries_max || offsets > offsets_max {
            let (entries, offsets) =
                (entries.max(entries_max).next_power_of_two(), offsets.max(offsets_max).next_power_of_two());
            let f32s = || backend.alloc(F32, entries);
            self.adjustments = Some(AdjustmentBuffers {
                offsets: backend.alloc(U32, offsets)?,
                ids: backend.alloc(U32, entries)?,
                biases: f32s()?,
                repetition_penalties: f32s()?,
                reductions: f32s()?,
                saved: f32s()?,
            });
            self.adjustment_capacity = (entries, offsets);
        }
        self.words.reserve((entries + offsets).saturating_sub(self.words.len()));
        self.floats.reserve((3 * entries).saturating_sub(self.floats.len()));
        Ok(())
    }
}

/// What the memory of a step depends on.
#[derive(Clone, Copy, Debug, Default)]
struct PagedSizes {
    tokens: usize,
    rows: usize,
    table: usize,
}

impl PagedSizes {
    /// Room for both, rounded up so that steps of nearly the same size do not allocate.
    fn grown_to(self, other: PagedSizes) -> PagedSizes {
        PagedSizes {
            tokens: self.tokens.max(other.tokens).next_multiple_of(16),
            rows: self.rows.max(other.rows).next_multiple_of(16),
            table: self.table.max(other.table).next_power_of_two(),
        }
    }

    fn holds(self, other: PagedSizes) -> bool {
        other.tokens <= self.tokens && other.rows <= self.rows && other.table <= self.table
    }
}

pub(crate) struct PagedBuffers<B: Backend> {
    pub ids: B::Buffer,
    pub positions: B::Buffer,
    pub sequences: B::Buffer,
    pub slots: B::Buffer,
    pub page_table: B::Buffer,
    /// The residual stream and the next one, written in turns `[tokens, hidden]`.
    pub sum: B::Buffer,
    pub next_sum: B::Buffer,
    pub x: B::Buffer,
    pub delta: B::Buffer,
    pub rstd: B::Buffer,
    pub qkv: QkvBuffers<B>,
    pub attended: B::Buffer,
    pub gate_up: B::Buffer,
    pub activation: B::Buffer,
    pub head: PagedHeadBuffers<B>,
}

/// Of the rows whose logits are asked for.
pub(crate) struct PagedHeadBuffers<B: Backend> {
    pub indices: B::Buffer,
    pub residual: B::Buffer,
    pub delta: B::Buffer,
    pub sum: B::Buffer,
    pub x: B::Buffer,
    pub rstd: B::Buffer,
    pub logits: B::Buffer,
    pub inv_t: B::Buffer,
    pub greedy: B::Buffer,
    pub streams: B::Buffer,
    pub positions: B::Buffer,
    pub top_k: B::Buffer,
    pub top_p: B::Buffer,
    pub min_p: B::Buffer,
    pub ids: B::Buffer,
    pub lse: B::Buffer,
    pub logprob: B::Buffer,
    pub entropy: B::Buffer,
    /// Of the distributions at T = 1, where a row has another T.
    pub inv_t_raw: B::Buffer,
    pub logprob_raw: B::Buffer,
    pub entropy_raw: B::Buffer,
}

impl<B: Backend> Default for PagedWorkspace<B> {
    fn default() -> Self {
        PagedWorkspace::new()
    }
}

impl<B: Backend> PagedWorkspace<B> {
    pub fn new() -> PagedWorkspace<B> {
        PagedWorkspace {
            capacity: PagedSizes::default(),
            bytes: 0,
            buffers: None,
            rows: 0,
            sampling: SampleMemory::new(),
        }
    }

    /// Bytes of device memory held for the activations of a step.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The same of steps with at most so many tokens, rows of logits and pages in the table, before there are any.
    pub fn bytes_of(model: &Model<B>, tokens: usize, rows: usize, table: usize) -> Result<u64> {
        let mut count = Allocation::counting(model);
        let sizes = PagedSizes::default().grown_to(PagedSizes { tokens, rows, table });
        PagedBuffers::new(&model.config, sizes, &mut count)?;
        Ok(count.bytes)
    }

    /// Logits f32 `[logit_rows, vocab]` of the last step, and their rows; nothing before the first.
    pub fn logits(&self) -> Option<(&B::Buffer, usize)> {
        self.buffers.as_ref().map(|buffers| (&buffers.head.logits, self.rows))
    }

    /// Makes room for draws of `rows` rows with so many changed logits in all, so that no later draw allocates.
    pub fn reserve_adjustments(&mut self, model: &Model<B>, rows: usize, entries: usize) -> Result<()> {
        self.sampling.reserve_adjustments(model.backend.as_ref(), entries, rows + 1)
    }

    /// Makes room for a step and copies its inputs in.
    pub(crate) fn begin(&mut self, model: &Model<B>, inputs: &PagedInputs) -> Result<&mut PagedBuffers<B>> {
        self.rows = 0;
        // The table's capacity is what the running sequences can reach: a decode step then finds its memory there.
        let sizes = PagedSizes {
            tokens: inputs.tokens.len(),
            rows: inputs.logit_rows.len(),
            table: inputs.page_table.capacity(),
        };
        if self.buffers.is_none() || !self.capacity.holds(sizes) {
            let capacity = self.capacity.grown_to(sizes);
            // The old memory goes first: both together might not fit.
            self.buffers = None;
            let mut allocation = Allocation::new(model);
            self.buffers = Some(PagedBuffers::new(&model.config, capacity, &mut allocation)?);
            self.bytes = allocation.bytes;
            self.capacity = capacity;
        }
        let buffers = self.buffers.as_mut().expect("just allocated");
        let backend = model.backend.as_ref();
        backend.write_all(&mut [
            (&mut buffers.ids, Words::U32(&inputs.tokens)),
            (&mut buffers.positions, Words::U32(&inputs.positions)),
            (&mut buffers.sequences, Words::U32(&inputs.sequences)),
            (&mut buffers.slots, Words::U32(&inputs.slots)),
            (&mut buffers.page_table, Words::U32(&inputs.page_table)),
            (&mut buffers.head.indices, Words::U32(&inputs.logit_rows)),
        ])?;
        Ok(buffers)
    }
}

impl<B: Backend> PagedBuffers<B> {
    fn new(config: &ModelConfig, sizes: PagedSizes, allocation: &mut Allocation<'_, B>) -> Result<PagedBuffers<B>> {
        let PagedSizes { tokens, rows, table } = sizes;
        let (hidden, ffn) = (tokens * config.hidden_size, tokens * config.intermediate_size);
        Ok(PagedBuffers {
            ids: allocation.u32s(tokens)?,
            positions: allocation.u32s(tokens)?,
            sequences: allocation.u32s(tokens)?,
            slots: allocation.u32s(tokens)?,
            page_table: allocation.u32s(table)?,
            sum: allocation.activations(hidden)?,
            next_sum: allocation.activations(hidden)?,
            x: allocation.activations(hidden)?,
            delta: allocation.f32s(hidden)?,
            rstd: allocation.f32s(tokens)?,
            qkv: QkvBuffers::new(config, tokens, allocation)?,
            attended: allocation.activations(tokens * config.attention().q_dim())?,
            gate_up: allocation.activations(2 * ffn)?,
            activation: allocation.activations(ffn)?,
            head: PagedHeadBuffers::new(config, rows, allocation)?,
        })
    }
}

impl<B: Backend> PagedHeadBuffers<B> {
    fn new(config: &ModelConfig, rows: usize, allocation: &mut Allocation<'_, B>) -> Result<PagedHeadBuffers<B>> {
        let hidden = rows * config.hidden_size;
        Ok(PagedHeadBuffers {
            indices: allocation.u32s(rows)?,
            residual: allocation.activations(hidden)?,
            delta: allocation.f32s(hidden)?,
            sum: allocation.activations(hidden)?,
            x: allocation.activations(hidden)?,
            rstd: allocation.f32s(rows)?,
            logits: allocation.f32s(rows * config.vocab_size)?,
            inv_t: allocation.f32s(rows)?,
            greedy: allocation.u32s(rows)?,
            streams: allocation.u32s(4 * rows)?,
            positions: allocation.u32s(rows)?,
            top_k: allocation.u32s(rows)?,
            top_p: allocation.f32s(rows)?,
            min_p: allocation.f32s(rows)?,
            ids: allocation.u32s(rows)?,
            lse: allocation.f32s(rows)?,
            logprob: allocation.f32s(rows)?,
            entropy: allocation.f32s(rows)?,
            inv_t_raw: allocation.f32s(rows)?,
            logprob_raw: allocation.f32s(rows)?,
            entropy_raw: allocation.f32s(rows)?,
        })
    }
}
