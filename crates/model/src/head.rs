//! The head in chunks of rows: gather, logits, softmax statistics. Serves `score` and the loss alike, with the bits of
//! the sampler.

use gradus_ops::{Backend, LossRows};

use crate::allocation::Allocation;
use crate::sample::refilled;
use crate::{Error, Model, ModelConfig, Result, TrainingWorkspace};

/// Capacities are rounded up to this many rows.
const HEAD_ROWS_STEP: usize = 64;

/// Asks for the logprob of `target` under the hidden state at `row` of the packed batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRow {
    pub row: u32,
    pub target: u32,
    /// 1/T, computed in f64 and rounded once.
    pub inv_t: f32,
}

/// Log softmax of the target and entropy, both of softmax(logits / T).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    pub logprob: f32,
    pub entropy: f32,
}

pub(crate) struct HeadBuffers<B: Backend> {
    pub rows: usize,
    pub indices: B::Buffer,
    pub targets: B::Buffer,
    pub inv_t: B::Buffer,
    /// `[rows, hidden]`, and its gradient.
    pub x: B::Buffer,
    pub d_x: B::Buffer,
    /// `[rows, vocab]`; the gradient of the loss takes their place.
    pub logits: B::Buffer,
    pub lse: B::Buffer,
    pub logprob: B::Buffer,
    pub entropy: B::Buffer,
    pub coefficient: B::Buffer,
}

/// The rows of one chunk on their way to and from the device.
#[derive(Default)]
pub(crate) struct HeadMemory {
    words: Vec<u32>,
    floats: Vec<f32>,
    pub logprobs: Vec<f32>,
    pub entropies: Vec<f32>,
}

impl<B: Backend> HeadBuffers<B> {
    /// Room for at least `rows` rows.
    pub fn new(model: &Model<B>, rows: usize, allocation: &mut Allocation<'_, B>) -> Result<HeadBuffers<B>> {
        let rows = rows.next_multiple_of(HEAD_ROWS_STEP);
        let ModelConfig { hidden_size, vocab_size, .. } = model.config;
        Ok(HeadBuffers {
            rows,
            indices: allocation.u32s(rows)?,
            targets: allocation.u32s(rows)?,
            inv_t: allocation.f32s(rows)?,
            x: allocation.activations(rows * hidden_size)?,
            d_x: allocation.f32s(rows * hidden_size)?,
            logits: allocation.f32s(rows * vocab_size)?,
            lse: allocation.f32s(rows)?,
            logprob: allocation.f32s(rows)?,
            entropy: allocation.f32s(rows)?,
            coefficient: allocation.f32s(rows)?,
        })
    }
}

impl<B: Backend> Model<B> {
    /// Logprob and entropy of `rows`, in their order, of the batch that `forward` put into `workspace`.
    pub fn score_rows(&self, rows: &[ScoreRow], workspace: &mut TrainingWorkspace<B>) -> Result<Vec<Score>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        workspace.head_for(self, rows.len())?;
        let TrainingWorkspace { forward, head, host, tokens, .. } = workspace;
        let (Some(forward), Some(head)) = (forward, head) else {
            return Err(Error::invalid("workspace", "holds no activations; run forward first"));
        };
        let mut scores = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(self.backend.head_rows()) {
            let memory = &mut host.head;
            self.score_chunk(&forward.hidden, *tokens, chunk.iter().copied(), head, memory)?;
            let numbers = memory.logprobs.iter().zip(&memory.entropies);
            scores.extend(numbers.map(|(&logprob, &entropy)| Score { logprob, entropy }));
        }
        Ok(scores)
    }

    /// One chunk of at most [`Backend::head_rows`] rows: logprobs and entropies come to `memory`; logits, lse and gathered hidden states stay
    /// in `head` for the loss.
    pub(crate) fn score_chunk(
        &self,
        hidden: &B::Buffer,
        tokens: usize,
        rows: impl ExactSizeIterator<Item = ScoreRow> + Clone,
        head: &mut HeadBuffers<B>,
        memory: &mut HeadMemory,
    ) -> Result<()> {
        self.check_rows(tokens, rows.clone())?;
        let (backend, n) = (self.backend.as_ref(), rows.len());
        let HeadMemory { words, floats, logprobs, entropies } = memory;
        backend.write(&mut head.indices, 0, refilled(words, rows.clone().map(|row| row.row)))?;
        backend.write(&mut head.targets, 0, refilled(words, rows.clone().map(|row| row.target)))?;
        backend.write(&mut head.inv_t, 0, refilled(floats, rows.map(|row| row.inv_t)))?;
        let HeadBuffers { indices, targets, inv_t, x, logits, lse, logprob, entropy, .. } = head;
        backend.gather_rows(hidden, indices, 0, n, self.config.hidden_size, x)?;
        self.linear((self.parameters.index.head, None), x, n, logits)?;
        let loss_rows = LossRows { rows: n, vocab: self.config.vocab_size, targets, inv_t };
        backend.softmax_statistics(logits, loss_rows, lse, logprob, entropy)?;
        backend.read(logprob, 0, refilled(logprobs, std::iter::repeat_n(0.0, n)))?;
        Ok(backend.read(entropy, 0, refilled(entropies, std::iter::repeat_n(0.0, n)))?)
    }

    fn check_rows(&self, tokens: usize, rows: impl Iterator<Item = ScoreRow>) -> Result<()> {
        for row in rows {
            if row.row as usize >= tokens || row.target as usize >= self.config.vocab_size {
                let (vocab, found) = (self.config.vocab_size, format!("row {}, target {}", row.row, row.target));
                return Err(Error::invalid(
                    "rows",
                    format!("{found}: the batch has {tokens} tokens, the vocabulary {vocab}"),
                ));
            }
            if !(row.inv_t > 0.0 && row.inv_t.is_finite()) {
                return Err(Error::invalid("inv_t", format!("is {}, expected a positive number", row.inv_t)));
            }
        }
        Ok(())
    }
}
