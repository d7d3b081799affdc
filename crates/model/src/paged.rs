//! Inference on the paged KV cache: one step over any mixture of prefill chunks and single decode tokens.
//!
//! The engine decides which tokens a step holds and where their keys and values go; this runs the layers over them.

use gradus_ops::{AttentionShape, Backed, Backend, KvPageShape, PAGE_TOKENS, Precision};
use gradus_tensor::DType;

use crate::batch::check_ids;
use crate::block::NormOutputs;
use crate::paged_workspace::{PagedBuffers, PagedHeadBuffers};
use crate::{Error, Model, ModelConfig, PagedWorkspace, Result};

/// Keys and values of every layer, in pages of [`PAGE_TOKENS`] positions. A page number means the same page in every
/// layer.
pub struct KvCache<B: Backend> {
    pages: usize,
    shape: KvPageShape,
    /// (keys, values) of each layer.
    layers: Vec<(B::Buffer, B::Buffer)>,
    /// Where the memory comes from and goes back to; None: allocations of its own.
    region: Option<B::Region>,
    /// The pages have given their memory back.
    is_given_back: bool,
}

/// One step's tokens. The first four lists have an entry for each token, in any order of sequences;
/// the tokens of one sequence ascend by position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PagedInputs {
    pub tokens: Vec<u32>,
    /// Position in its sequence.
    pub positions: Vec<u32>,
    /// Row of `page_table` that holds its sequence's pages.
    pub sequences: Vec<u32>,
    /// Where its key and value go: page · [`PAGE_TOKENS`] + offset.
    pub slots: Vec<u32>,
    /// `[rows, pages_max]`: page numbers in order of position; entries past a sequence's end are not read.
    pub page_table: Vec<u32>,
    pub pages_max: usize,
    /// Indices of the tokens whose logits are wanted.
    pub logit_rows: Vec<u32>,
}

impl<B: Backend> KvCache<B> {
    /// Empty pages for the layers of `model`, in its precision.
    pub fn new(model: &Model<B>, pages: usize) -> Result<KvCache<B>> {
        KvCache::with(model, pages, None, |dtype, len| model.backend.alloc(dtype, len))
    }

    /// The same with memory of `region`, taken at the first step and after each [`KvCache::give_back`].
    pub fn sharing(model: &Model<B>, pages: usize, region: B::Region) -> Result<KvCache<B>> {
        KvCache::with(model, pages, Some(region), |dtype, len| model.backend.unbacked(dtype, len))
    }

    fn with(
        model: &Model<B>,
        pages: usize,
        region: Option<B::Region>,
        make: impl Fn(DType, usize) -> gradus_ops::Result<B::Buffer>,
    ) -> Result<KvCache<B>> {
        let shape = KvPageShape { attention: model.config.attention(), pages };
        let memory = || make(model.precision.activations(), shape.elements());
        let layers = (0..model.config.num_hidden_layers).map(|_| Ok((memory()?, memory()?))).collect::<Result<_>>()?;
        Ok(KvCache { pages, shape, layers, is_given_back: region.is_some(), region })
    }

    /// Gives the memory of all pages back to the region; false where there is none and they stay. Keys and values are lost.
    pub fn give_back(&mut self) -> bool {
        if self.region.is_some() {
            for (keys, values) in &mut self.layers {
                keys.give_back();
                values.give_back();
            }
            self.is_given_back = true;
        }
        self.is_given_back
    }

    /// Bytes of pages that have memory.
    pub fn bytes(&self) -> usize {
        if self.is_given_back {
            0
        } else {
            self.layers.iter().map(|(keys, values)| keys.bytes() + values.bytes()).sum()
        }
    }

    fn take_back(&mut self) -> Result<()> {
        if let (Some(region), true) = (&self.region, self.is_given_back) {
            let mut buffers = self.layers.iter_mut().flat_map(|(keys, values)| [keys, values]);
            let taken = buffers.try_for_each(|buffer| buffer.take_from(region));
            drop(buffers);
            if let Err(error) = taken {
                self.give_back();
                return Err(error.into());
            }
            self.is_given_back = false;
        }
        Ok(())
    }

    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Bytes of one page over all layers.
    pub fn page_bytes(config: &ModelConfig, precision: Precision) -> usize {
        let AttentionShape { kv_heads, head_dim, .. } = config.attention();
        2 * precision.activations().bytes() * config.num_hidden_layers * kv_heads * head_dim * PAGE_TOKENS
    }

    /// Copies page `from` to page `to` in every layer.
    pub fn copy_page(&mut self, backend: &B, from: usize, to: usize) -> Result<()> {
        self.take_back()?;
        let shape = self.shape;
        self.layers.iter_mut().try_for_each(|(keys, values)| Ok(backend.kv_copy_page(shape, from, to, keys, values)?))
    }
}

impl PagedInputs {
    fn check(&self, config: &ModelConfig, pages: usize) -> Result<()> {
        let refuse = |reason: String| Err(Error::invalid("paged inputs", reason));
        let tokens = self.tokens.len();
        if [&self.positions, &self.sequences, &self.slots].iter().any(|list| list.len() != tokens) {
            return refuse(format!("positions, sequences and slots must have one entry for each of {tokens} tokens"));
        }
        if let Some(position) = self.positions.iter().find(|&&p| p as usize >= config.max_position_embeddings) {
            let limit = config.max_position_embeddings;
            return refuse(format!("position {position} is not below max_position_embeddings = {limit}"));
        }
        let rows = self.page_table.len().checked_div(self.pages_max).unwrap_or(0);
        for token in 0..tokens {
            let (sequence, position) = (self.sequences[token] as usize, self.positions[token] as usize);
            // A sequence's tokens ascend, so its last one in the step needs the most pages.
            if self.sequences.get(token + 1).is_some_and(|&next| next as usize == sequence) {
                continue;
            }
            let pages_used = position / PAGE_TOKENS + 1;
            if sequence >= rows || pages_used > self.pages_max {
                return refuse(format!(
                    "sequence {sequence} at position {position} is outside the {rows} rows of the page table"
                ));
            }
            let row = sequence * self.pages_max;
            if self.page_table[row..row + pages_used].iter().any(|&page| page as usize >= pages) {
                return refuse(format!("the pages of sequence {sequence} are not all below {pages}"));
            }
        }
        if self.slots.iter().any(|&slot| slot as usize >= pages * PAGE_TOKENS) {
            return refuse(format!("a slot is not below {pages} pages of {PAGE_TOKENS}"));
        }
        if self.logit_rows.iter().any(|&row| row as usize >= tokens) {
            return refuse(format!("a logit row is not below the {tokens} tokens"));
        }
        check_ids(&self.tokens, config)
    }
}

impl<B: Backend> Model<B> {
    /// Runs one step: stores the tokens' keys and values in `cache` and leaves the logits of `logit_rows` in
    /// `workspace`.
    pub fn forward_paged(
        &self,
        inputs: &PagedInputs,
        cache: &mut KvCache<B>,
        workspace: &mut PagedWorkspace<B>,
    ) -> Result<()> {
        inputs.check(&self.config, cache.pages)?;
        let tokens = inputs.tokens.len();
        if tokens == 0 {
            return Err(Error::invalid("paged inputs", "a step needs at least one token"));
        }
        cache.take_back()?;
        let buffers = workspace.begin(self, inputs)?;
        let embedding = self.parameters.weight(self.parameters.index.embedding);
        self.backend.embedding(embedding, &buffers.ids, tokens, &mut buffers.delta)?;
        for number in 0..self.config.num_hidden_layers {
            self.paged_layer(number, tokens, inputs.pages_max, cache, buffers)?;
        }
        if !inputs.logit_rows.is_empty() {
            self.paged_logits(inputs.logit_rows.len(), buffers)?;
        }
        workspace.rows = inputs.logit_rows.len();
        Ok(())
    }

    /// On entry and on return the residual is `sum` plus the branch in `delta` (before layer 0: `delta` alone, the
    /// embedding).
    fn paged_layer(
        &self,
        number: usize,
        tokens: usize,
        pages_max: usize,
        cache: &mut KvCache<B>,
        buffers: &mut PagedBuffers<B>,
    ) -> Result<()> {
        let backend = self.backend.as_ref();
        let layer = &self.parameters.index.layers[number];
        let PagedBuffers { positions, sequences, slots, page_table, sum, next_sum, x, delta, rstd, .. } = buffers;
        let (residual, branch) = if number == 0 { (&*delta, None) } else { (&*sum, Some(&*delta)) };
        let outputs = NormOutputs { sum: next_sum, rstd, out: x };
        self.residual_norm(layer.attention_norm, tokens, residual, branch, outputs)?;
        self.project_qkv(layer, x, positions, tokens, &mut buffers.qkv)?;
        let (keys, values) = &mut cache.layers[number];
        let (qkv, attended) = (&buffers.qkv.qkv, &mut buffers.attended);
        backend.kv_append(cache.shape, qkv, slots, tokens, keys, values)?;
        backend.paged_attention(
            cache.shape,
            qkv,
            tokens,
            positions,
            sequences,
            page_table,
            pages_max,
            keys,
            values,
            attended,
        )?;
        self.linear((layer.output, layer.output_bias), attended, tokens, delta)?;
        // The stream moves from next_sum back into sum here, so no swap is needed.
        let outputs = NormOutputs { sum, rstd, out: x };
        self.residual_norm(layer.mlp_norm, tokens, next_sum, Some(delta), outputs)?;
        self.mlp(layer, x, tokens, &mut buffers.gate_up, &mut buffers.activation, delta)
    }

    /// Final norm and head of the asked rows only.
    fn paged_logits(&self, rows: usize, buffers: &mut PagedBuffers<B>) -> Result<()> {
        let (backend, hidden) = (self.backend.as_ref(), self.config.hidden_size);
        let PagedBuffers { sum: stream, delta: branch, head, .. } = buffers;
        let PagedHeadBuffers { indices, residual, delta, sum, x, rstd, logits, .. } = head;
        backend.gather_rows(stream, indices, 0, rows, hidden, residual)?;
        backend.gather_rows(branch, indices, 0, rows, hidden, delta)?;
        let outputs = NormOutputs { sum, rstd, out: x };
        self.residual_norm(self.parameters.index.final_norm, rows, residual, Some(delta), outputs)?;
        self.linear((self.parameters.index.head, None), x, rows, logits)
    }
}
