//! The one loss: −Σ weight · logprob for SFT and every policy gradient, or its clipped-ratio form.
//!
//! Runs between `forward` and the layers' backward, chunk by chunk, so that the logits of a whole batch never exist at
//! once.

use gradus_ops::Backend;

use crate::head::{HeadBuffers, ScoreRow};
use crate::sample::refilled;
use crate::workspace::{BackwardBuffers, HostMemory, PassParts};
use crate::{Error, Model, Parameters, Result, TokenBatch, TrainingWorkspace};

/// One token of the loss: the hidden state at `row` of the packed batch predicts `target`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossRow {
    pub row: u32,
    pub target: u32,
    /// Advantage and every denominator; a row of weight 0 is not computed.
    pub weight: f32,
    /// 1/T, computed in f64 and rounded once.
    pub inv_t: f32,
    /// The logprob before the first update on this batch; counts only where clip bounds are given.
    pub old_logprob: Option<f32>,
}

/// What a loss gave, row by row as they were passed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossSums {
    pub loss: f64,
    /// NaN for rows of weight 0, which are not computed.
    pub logprobs: Vec<f32>,
    /// NaN for rows of weight 0.
    pub entropies: Vec<f32>,
}

impl LossSums {
    /// Nothing computed yet of `rows` rows.
    fn reset(&mut self, rows: usize) {
        self.loss = 0.0;
        for numbers in [&mut self.logprobs, &mut self.entropies] {
            numbers.clear();
            numbers.resize(rows, f32::NAN);
        }
    }
}

impl LossRow {
    /// The row's loss and the coefficient of −logprob in its gradient.
    ///
    /// Without clip bounds or old logprob the loss is −w · logprob. With both it is −min(w · ratio, w · clamp(ratio)),
    /// the clipped objective of PPO (Schulman and others, 2017, equation 7), whose gradient is w · ratio where the
    /// unclipped term is the smaller, else 0.
    fn loss_and_coefficient(&self, logprob: f32, clip: Option<(f32, f32)>) -> (f64, f32) {
        let weight = f64::from(self.weight);
        let (Some((low, high)), Some(old)) = (clip, self.old_logprob) else {
            return (-weight * f64::from(logprob), self.weight);
        };
        // In f64, so that rounding to f32 hides how the platform's exp rounds.
        let ratio = (f64::from(logprob) - f64::from(old)).exp();
        let unclipped = weight * ratio;
        let clipped = weight * ratio.clamp(1.0 - f64::from(low), 1.0 + f64::from(high));
        if clipped < unclipped { (-clipped, 0.0) } else { (-unclipped, unclipped as f32) }
    }
}

impl<B: Backend> Model<B> {
    /// Head and layers backward of the batch that `forward` put into `workspace`, adding to `gradients`.
    ///
    /// The sums stay in `workspace` until the next call. `rows` ascend by `row`. `clip` is (low, high): the ratio is kept in 1 − low ..= 1 + high.
    pub fn loss_backward<'a>(
        &self,
        batch: &TokenBatch,
        rows: &[LossRow],
        clip: Option<(f32, f32)>,
        gradients: &mut Parameters<B>,
        workspace: &'a mut TrainingWorkspace<B>,
    ) -> Result<&'a LossSums> {
        self.refuse_quantised("trained")?;
        workspace.check_holds(batch)?;
        if !rows.is_sorted_by(|a, b| a.row < b.row) {
            return Err(Error::invalid("loss rows", "must ascend by row, each row once"));
        }
        if let Some((low, high)) = clip
            && !(low >= 0.0 && high >= 0.0)
        {
            return Err(Error::invalid("clip", format!("({low}, {high}) must not be negative")));
        }
        let host = &mut workspace.host;
        let active = refilled(&mut host.active, (0..rows.len()).filter(|&i| rows[i].weight != 0.0)).len();
        host.sums.reset(rows.len());
        if active > 0 {
            workspace.backward_for(self)?;
            workspace.head_for(self, active)?;
            let (tokens, sequences) = (workspace.tokens, workspace.sequences);
            let mut parts = workspace.parts();
            self.loss_chunks(tokens, rows, clip, gradients, &mut parts)?;
            self.backward_layers(tokens, sequences, parts.forward, parts.backward, gradients)?;
        }
        Ok(&workspace.host.sums)
    }

    /// Forward and backward of the head, chunk by chunk: d_x becomes the gradient of the final hidden states.
    fn loss_chunks(
        &self,
        tokens: usize,
        rows: &[LossRow],
        clip: Option<(f32, f32)>,
        gradients: &mut Parameters<B>,
        parts: &mut PassParts<'_, B>,
    ) -> Result<()> {
        let PassParts { forward, backward, head, host } = parts;
        let HostMemory { head: memory, active, coefficients, sums, .. } = &mut **host;
        self.backend.zero(&mut backward.d_x, 0, tokens * self.config.hidden_size)?;
        for chunk in active.chunks(self.backend.head_rows()) {
            let scored = chunk.iter().map(|&i| ScoreRow::from(&rows[i]));
            self.score_chunk(&forward.hidden, tokens, scored, head, memory)?;
            coefficients.clear();
            for ((&i, &logprob), &entropy) in chunk.iter().zip(&memory.logprobs).zip(&memory.entropies) {
                let (loss, coefficient) = rows[i].loss_and_coefficient(logprob, clip);
                sums.loss += loss;
                (sums.logprobs[i], sums.entropies[i]) = (logprob, entropy);
                coefficients.push(coefficient);
            }
            self.head_backward(coefficients, head, backward, gradients)?;
        }
        Ok(())
    }

    /// Gradient of the chunk that `score_chunk` left in `head`: added to the head's weight and to the rows' hidden
    /// states.
    fn head_backward(
        &self,
        coefficients: &[f32],
        head: &mut HeadBuffers<B>,
        backward: &mut BackwardBuffers<B>,
        gradients: &mut Parameters<B>,
    ) -> Result<()> {
        let (backend, rows) = (self.backend.as_ref(), coefficients.len());
        backend.write(&mut head.coefficient, 0, coefficients)?;
        let HeadBuffers { indices, targets, inv_t, x, logits, lse, coefficient, d_x, .. } = head;
        let loss_rows = gradus_ops::LossRows { rows, vocab: self.config.vocab_size, targets, inv_t };
        backend.softmax_backward(logits, loss_rows, lse, coefficient)?;
        let weight = (self.parameters.index.head, None);
        self.linear_backward(weight, rows, (logits, x), d_x, gradients)?;
        Ok(backend.scatter_add_rows(d_x, indices, 0, rows, self.config.hidden_size, &mut backward.d_x)?)
    }
}

impl From<&LossRow> for ScoreRow {
    fn from(row: &LossRow) -> ScoreRow {
        ScoreRow { row: row.row, target: row.target, inv_t: row.inv_t }
    }
}

#[cfg(test)]
mod tests {
    use super::LossRow;

    fn check(weight: f32, logprob: f32, old: Option<f32>, expect: (f64, f32)) {
        let row = LossRow { row: 0, target: 0, weight, inv_t: 1.0, old_logprob: old };
        let (loss, coefficient) = row.loss_and_coefficient(logprob, Some((0.2, 0.3)));
        assert!((loss - expect.0).abs() < 1e-6, "loss {loss}, expected {}", expect.0);
        assert!((coefficient - expect.1).abs() < 1e-6, "coefficient {coefficient}, expected {}", expect.1);
    }

    #[test]
    fn without_an_old_logprob_the_loss_is_weight_times_negative_logprob() {
        check(0.5, -2.0, None, (1.0, 0.5));
        check(-0.5, -2.0, None, (-1.0, -0.5));
    }

    #[test]
    fn the_ratio_counts_until_the_clipped_term_is_the_smaller() {
        let ln = |ratio: f32| ratio.ln();
        check(2.0, -1.0, Some(-1.0), (-2.0, 2.0));
        // A positive advantage is clipped above, a negative one below; on the other side the ratio counts in full.
        check(2.0, ln(1.5), Some(0.0), (-2.6, 0.0));
        check(2.0, ln(0.5), Some(0.0), (-1.0, 1.0));
        check(-2.0, ln(1.5), Some(0.0), (3.0, -3.0));
        check(-2.0, ln(0.5), Some(0.0), (1.6, 0.0));
    }
}
