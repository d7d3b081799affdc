//! Draws one token for each row of logits of an inference step and reports its logprob and entropies.

use gradus_ops::{Backend, LossRows, SampleRows};

use crate::paged_workspace::PagedHeadBuffers;
use crate::{Error, Model, PagedWorkspace, Result};

/// How to draw from one row of logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleRow {
    /// 1/T, computed in f64 and rounded once; not looked at where greedy.
    pub inv_t: f32,
    /// Takes the highest logit: T = 0.
    pub greedy: bool,
    /// Philox key: the run's or the request's seed.
    pub key: u64,
    /// Philox stream, from [`crate::stream`].
    pub stream: u64,
    /// Index of the drawn token in its sequence.
    pub position: u32,
}

/// A drawn token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled {
    pub id: u32,
    /// log softmax(logits / T) of the token; of T = 1 where greedy.
    pub logprob: f32,
    /// Entropy of the same distribution.
    pub entropy: f32,
    /// Entropy at T = 1.
    pub entropy_raw: f32,
}

impl<B: Backend> Model<B> {
    /// One draw for each row of logits that `forward_paged` left in `workspace`, in its order.
    pub fn sample_rows(&self, workspace: &mut PagedWorkspace<B>, rows: &[SampleRow]) -> Result<Vec<Sampled>> {
        let n = workspace.rows;
        if rows.len() != n {
            return Err(Error::invalid("sample rows", format!("{} rows for {n} rows of logits", rows.len())));
        }
        let Some(buffers) = &mut workspace.buffers else { return Ok(Vec::new()) };
        if n == 0 {
            return Ok(Vec::new());
        }
        let inv_t: Vec<f32> = rows.iter().map(|row| if row.greedy { 1.0 } else { row.inv_t }).collect();
        if let Some(bad) = inv_t.iter().find(|x| !(**x > 0.0 && x.is_finite())) {
            return Err(Error::invalid("inv_t", format!("is {bad}, expected a positive number")));
        }
        let head = &mut buffers.head;
        self.draw(rows, &inv_t, head)?;
        let mut ids = vec![0; n];
        self.backend.read(&head.ids, 0, &mut ids)?;
        let (logprobs, entropies) = self.statistics_of_drawn(n, head)?;
        let entropies_raw = if inv_t.iter().all(|&x| x == 1.0) {
            entropies.clone()
        } else {
            self.backend.write(&mut head.inv_t, 0, &vec![1.0_f32; n])?;
            self.statistics_of_drawn(n, head)?.1
        };
        let sampled = ids.into_iter().zip(logprobs).zip(entropies).zip(entropies_raw);
        Ok(sampled
            .map(|(((id, logprob), entropy), entropy_raw)| Sampled { id, logprob, entropy, entropy_raw })
            .collect())
    }

    /// Fills `head.ids`, and `head.inv_t` for the statistics.
    fn draw(&self, rows: &[SampleRow], inv_t: &[f32], head: &mut PagedHeadBuffers<B>) -> Result<()> {
        let backend = self.backend.as_ref();
        let greedy: Vec<u32> = rows.iter().map(|row| u32::from(row.greedy)).collect();
        let positions: Vec<u32> = rows.iter().map(|row| row.position).collect();
        let words = |x: u64| [x as u32, (x >> 32) as u32];
        let streams: Vec<u32> =
            rows.iter().flat_map(|row| [words(row.key), words(row.stream)].into_iter().flatten()).collect();
        backend.write(&mut head.inv_t, 0, inv_t)?;
        backend.write(&mut head.greedy, 0, &greedy)?;
        backend.write(&mut head.positions, 0, &positions)?;
        backend.write(&mut head.streams, 0, &streams)?;
        let PagedHeadBuffers { logits, inv_t, greedy, streams, positions, ids, .. } = head;
        let vocab = self.config.vocab_size;
        let sample = SampleRows { rows: rows.len(), vocab, inv_t, greedy, streams, positions };
        Ok(backend.sample(logits, sample, ids)?)
    }

    /// (logprob of `head.ids`, entropy) at the temperatures in `head.inv_t`.
    fn statistics_of_drawn(&self, n: usize, head: &mut PagedHeadBuffers<B>) -> Result<(Vec<f32>, Vec<f32>)> {
        let PagedHeadBuffers { logits, inv_t, ids, lse, logprob, entropy, .. } = head;
        let rows = LossRows { rows: n, vocab: self.config.vocab_size, targets: ids, inv_t };
        self.backend.softmax_statistics(logits, rows, lse, logprob, entropy)?;
        let (mut logprobs, mut entropies) = (vec![0.0; n], vec![0.0; n]);
        self.backend.read(logprob, 0, &mut logprobs)?;
        self.backend.read(entropy, 0, &mut entropies)?;
        Ok((logprobs, entropies))
    }
}
