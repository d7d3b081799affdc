//! The head in chunks of rows: gather, logits, softmax statistics. Serves `score` and the loss alike, with the bits of
//! the sampler.

use gradus_ops::{Backend, LossRows};
use gradus_tensor::DType::{F32, U32};

use crate::workspace::{BackwardBuffers, ForwardBuffers};
use crate::{Error, Model, Result, TrainingWorkspace};

/// Rows of logits that exist at once.
pub(crate) const HEAD_ROWS: usize = 512;
/// Capacities below that are rounded up to this many rows.
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
    rows: usize,
    pub indices: B::Buffer,
    pub targets: B::Buffer,
    pub inv_t: B::Buffer,
    /// `[rows, hidden]`, and its gradient.
    pub x: B::Buffer,
    pub d_x: B::Buffer,
    /// `[rows, vocab]`
    pub logits: B::Buffer,
    pub lse: B::Buffer,
    pub logprob: B::Buffer,
    pub entropy: B::Buffer,
    pub coefficient: B::Buffer,
}

impl<B: Backend> HeadBuffers<B> {
    fn new(model: &Model<B>, rows: usize) -> Result<HeadBuffers<B>> {
        let backend = model.backend.as_ref();
        let f32s = |width: usize| backend.alloc(F32, rows * width);
        let u32s = || backend.alloc(U32, rows);
        Ok(HeadBuffers {
            rows,
            indices: u32s()?,
            targets: u32s()?,
            inv_t: f32s(1)?,
            x: f32s(model.config.hidden_size)?,
            d_x: f32s(model.config.hidden_size)?,
            logits: f32s(model.config.vocab_size)?,
            lse: f32s(1)?,
            logprob: f32s(1)?,
            entropy: f32s(1)?,
            coefficient: f32s(1)?,
        })
    }
}

impl<B: Backend> TrainingWorkspace<B> {
    /// Room for chunks of a call with `rows` rows.
    pub(crate) fn head_for(&mut self, model: &Model<B>, rows: usize) -> Result<()> {
        let rows = rows.min(HEAD_ROWS);
        if self.head.as_ref().is_none_or(|head| head.rows < rows) {
            self.head = None;
            self.head = Some(HeadBuffers::new(model, rows.next_multiple_of(HEAD_ROWS_STEP))?);
        }
        Ok(())
    }

    /// The buffers of a backward, all there after `begin`, `backward_for` and `head_for`.
    pub(crate) fn parts(&mut self) -> (&mut ForwardBuffers<B>, &mut BackwardBuffers<B>, &mut HeadBuffers<B>) {
        let there = "allocated before the backward begins";
        (self.forward.as_mut().expect(there), self.backward.as_mut().expect(there), self.head.as_mut().expect(there))
    }
}

impl<B: Backend> Model<B> {
    /// Logprob and entropy of `rows`, in their order, of the batch that `forward` put into `workspace`.
    pub fn score_rows(&self, rows: &[ScoreRow], workspace: &mut TrainingWorkspace<B>) -> Result<Vec<Score>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        workspace.head_for(self, rows.len())?;
        let tokens = workspace.tokens;
        let (Some(forward), Some(head)) = (&workspace.forward, &mut workspace.head) else {
            return Err(Error::invalid("workspace", "holds no activations; run forward first"));
        };
        let mut scores = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(HEAD_ROWS) {
            scores.extend(self.score_chunk(&forward.hidden, tokens, chunk, head)?);
        }
        Ok(scores)
    }

    /// One chunk of at most [`HEAD_ROWS`] rows; logits, lse and gathered hidden states stay in `head` for the loss.
    pub(crate) fn score_chunk(
        &self,
        hidden: &B::Buffer,
        tokens: usize,
        rows: &[ScoreRow],
        head: &mut HeadBuffers<B>,
    ) -> Result<impl Iterator<Item = Score> + use<B>> {
        self.check_rows(tokens, rows)?;
        let (backend, n) = (self.backend.as_ref(), rows.len());
        backend.write(&mut head.indices, 0, &rows.iter().map(|row| row.row).collect::<Vec<_>>())?;
        backend.write(&mut head.targets, 0, &rows.iter().map(|row| row.target).collect::<Vec<_>>())?;
        backend.write(&mut head.inv_t, 0, &rows.iter().map(|row| row.inv_t).collect::<Vec<_>>())?;
        let HeadBuffers { indices, targets, inv_t, x, logits, lse, logprob, entropy, .. } = head;
        backend.gather_rows(hidden, indices, 0, n, self.config.hidden_size, x)?;
        self.linear((self.parameters.index.head, None), x, n, logits)?;
        let loss_rows = LossRows { rows: n, vocab: self.config.vocab_size, targets, inv_t };
        backend.softmax_statistics(logits, loss_rows, lse, logprob, entropy)?;
        let (mut logprobs, mut entropies) = (vec![0.0; n], vec![0.0; n]);
        backend.read(logprob, 0, &mut logprobs)?;
        backend.read(entropy, 0, &mut entropies)?;
        Ok(logprobs.into_iter().zip(entropies).map(|(logprob, entropy)| Score { logprob, entropy }))
    }

    fn check_rows(&self, tokens: usize, rows: &[ScoreRow]) -> Result<()> {
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
