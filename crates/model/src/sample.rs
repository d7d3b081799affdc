//! Draws one token for each row of logits of an inference step and reports its logprob and entropies.

use gradus_ops::{Backend, LogitAdjustments, LossRows, SampleRows, Words, WordsMut};

use crate::paged_workspace::{PagedHeadBuffers, SampleMemory};
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
    /// Which ids may be drawn.
    pub limits: SampleLimits,
}

/// Limits of a draw to the likeliest ids: top-k first, then top-p of what is left, then min-p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleLimits {
    /// The likeliest ids, as many as this, equal ones by the lowest id; 0 for all.
    pub top_k: u32,
    /// The fewest likeliest ids whose share is at least this, above 0; 1 for all.
    pub top_p: f32,
    /// Ids with at least this fraction of the likeliest one's share, at most 1; 0 for all.
    pub min_p: f32,
}

impl SampleLimits {
    /// The whole distribution.
    pub const NONE: SampleLimits = SampleLimits { top_k: 0, top_p: 1.0, min_p: 0.0 };
}

/// A change of one logit before the draw; see [`LogitAdjustments`] for the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitAdjustment {
    pub id: u32,
    /// −inf forbids the id.
    pub bias: f32,
    /// Above 0; 1 for none.
    pub repetition_penalty: f32,
    pub reduction: f32,
}

/// A drawn token. Its numbers are those of the whole distribution of the logits as the model gave them: limits and adjustments decide
/// what is drawn, not what is reported, so that the numbers equal those of `score`.
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
    /// One draw for each row of logits that `forward_paged` left in `workspace`, in its order. `adjustments` has the changed logits
    /// of row after row, and `adjustment_ends` where each row's part ends; both are empty where no row has any.
    pub fn sample_rows<'a>(
        &self,
        workspace: &'a mut PagedWorkspace<B>,
        rows: &[SampleRow],
        adjustments: &[LogitAdjustment],
        adjustment_ends: &[usize],
    ) -> Result<&'a [Sampled]> {
        let n = workspace.rows;
        if rows.len() != n {
            return Err(Error::invalid("sample rows", format!("{} rows for {n} rows of logits", rows.len())));
        }
        let Some(buffers) = &mut workspace.buffers else { return Ok(&[]) };
        if n == 0 {
            return Ok(&[]);
        }
        if let Some(bad) = rows.iter().find(|row| !(row.greedy || (row.inv_t > 0.0 && row.inv_t.is_finite()))) {
            return Err(Error::invalid("inv_t", format!("is {}, expected a positive number", bad.inv_t)));
        }
        if !adjustments.is_empty() && adjustment_ends.len() != n {
            let reason = format!("{} ends for {n} rows of logits", adjustment_ends.len());
            return Err(Error::invalid("logit adjustments", reason));
        }
        let (head, memory) = (&mut buffers.head, &mut workspace.sampling);
        self.write_rows(rows, head, memory)?;
        if adjustments.is_empty() {
            self.draw(n, head)?;
        } else {
            self.draw_adjusted(n, adjustments, adjustment_ends, head, memory)?;
        }
        if !memory.is_raw {
            self.raw_statistics(n, head)?;
        }
        self.read_drawn(n, head, memory)?;
        Ok(&memory.sampled)
    }

    /// Which rows of logits nothing can be drawn from, because they are not finite: looked for when a draw has failed.
    pub fn rows_without_distribution(&self, workspace: &PagedWorkspace<B>, rows: &[SampleRow]) -> Result<Vec<usize>> {
        let Some((buffer, count)) = workspace.logits() else { return Ok(Vec::new()) };
        let (vocab, mut found) = (self.config.vocab_size, Vec::new());
        let mut logits = vec![0.0; vocab];
        for (index, row) in rows.iter().enumerate().take(count) {
            self.backend.read(buffer, index * vocab, &mut logits)?;
            let inv_t = if row.greedy { 1.0 } else { row.inv_t };
            let largest = logits.iter().fold(f32::NEG_INFINITY, |largest, logit| largest.max(*logit));
            if logits.iter().any(|logit| logit.is_nan()) || !(largest * inv_t).is_finite() {
                found.push(index);
            }
        }
        Ok(found)
    }

    /// Copies the settings of the rows to the device.
    fn write_rows(
        &self,
        rows: &[SampleRow],
        head: &mut PagedHeadBuffers<B>,
        memory: &mut SampleMemory<B>,
    ) -> Result<()> {
        let n = rows.len();
        let halves = |x: u64| [x as u32, (x >> 32) as u32];
        let inv_t = |row: &SampleRow| if row.greedy { 1.0 } else { row.inv_t };
        memory.is_raw = rows.iter().all(|row| inv_t(row) == 1.0);
        let limits = |limit: fn(&SampleLimits) -> f32| rows.iter().map(move |row| limit(&row.limits));
        let floats = rows.iter().map(inv_t).chain(limits(|limits| limits.top_p)).chain(limits(|limits| limits.min_p));
        let floats = refilled(&mut memory.floats, floats.chain(std::iter::repeat_n(1.0, n)));
        let streams = rows.iter().flat_map(|row| [halves(row.key), halves(row.stream)].into_iter().flatten());
        let words = rows.iter().map(|row| row.limits.top_k).chain(rows.iter().map(|row| u32::from(row.greedy)));
        let words = refilled(&mut memory.words, words.chain(rows.iter().map(|row| row.position)).chain(streams));
        let ([inv_t, top_p, min_p, inv_t_raw], [top_k, greedy, positions]) = (parts(floats, n), parts(words, n));
        Ok(self.backend.write_all(&mut [
            (&mut head.inv_t, Words::F32(inv_t)),
            (&mut head.top_p, Words::F32(top_p)),
            (&mut head.min_p, Words::F32(min_p)),
            (&mut head.inv_t_raw, Words::F32(inv_t_raw)),
            (&mut head.top_k, Words::U32(top_k)),
            (&mut head.greedy, Words::U32(greedy)),
            (&mut head.positions, Words::U32(positions)),
            (&mut head.streams, Words::U32(&words[3 * n..])),
        ])?)
    }

    /// Fills ids, lse, logprob and entropy of `head`.
    fn draw(&self, n: usize, head: &mut PagedHeadBuffers<B>) -> Result<()> {
        let PagedHeadBuffers { logits, inv_t, greedy, streams, positions, top_k, top_p, min_p, .. } = head;
        let vocab = self.config.vocab_size;
        let rows = SampleRows { rows: n, vocab, inv_t, greedy, streams, positions, top_k, top_p, min_p };
        Ok(self.backend.sample(logits, rows, &mut head.ids, &mut head.lse, &mut head.logprob, &mut head.entropy)?)
    }

    /// As [`Model::draw`] from changed logits, with the numbers of the unchanged ones, which stand there again afterwards.
    fn draw_adjusted(
        &self,
        n: usize,
        adjustments: &[LogitAdjustment],
        ends: &[usize],
        head: &mut PagedHeadBuffers<B>,
        memory: &mut SampleMemory<B>,
    ) -> Result<()> {
        let (backend, vocab, entries) = (self.backend.as_ref(), self.config.vocab_size, adjustments.len());
        memory.reserve_adjustments(backend, entries, n + 1)?;
        let SampleMemory { words, floats, adjustments: device, .. } = memory;
        let device = device.as_mut().expect("reserved above");
        let ids = adjustments.iter().map(|entry| entry.id);
        let offsets = std::iter::once(0).chain(ends.iter().map(|&end| end as u32));
        let words = refilled(words, ids.chain(offsets));
        let floats = refilled(
            floats,
            adjustments
                .iter()
                .map(|entry| entry.bias)
                .chain(adjustments.iter().map(|entry| entry.repetition_penalty))
                .chain(adjustments.iter().map(|entry| entry.reduction)),
        );
        let ([ids], [biases, penalties, reductions]) = (parts(words, entries), parts(floats, entries));
        backend.write_all(&mut [
            (&mut device.ids, Words::U32(ids)),
            (&mut device.offsets, Words::U32(&words[entries..])),
            (&mut device.biases, Words::F32(biases)),
            (&mut device.repetition_penalties, Words::F32(penalties)),
            (&mut device.reductions, Words::F32(reductions)),
        ])?;
        let changes = || LogitAdjustments {
            rows: n,
            vocab,
            entries,
            offsets: &device.offsets,
            ids: &device.ids,
            biases: &device.biases,
            repetition_penalties: &device.repetition_penalties,
            reductions: &device.reductions,
        };
        backend.adjust_logits(&mut head.logits, changes(), &mut device.saved)?;
        let drawn = self.draw(n, head);
        backend.restore_logits(&mut head.logits, changes(), &device.saved)?;
        drawn?;
        let PagedHeadBuffers { logits, inv_t, ids, lse, logprob, entropy, .. } = head;
        Ok(backend.softmax_statistics(
            logits,
            LossRows { rows: n, vocab, targets: ids, inv_t },
            lse,
            logprob,
            entropy,
        )?)
    }

    /// Entropies at T = 1 of what was drawn at other temperatures.
    fn raw_statistics(&self, n: usize, head: &mut PagedHeadBuffers<B>) -> Result<()> {
        let PagedHeadBuffers { logits, inv_t_raw, ids, lse, logprob_raw, entropy_raw, .. } = head;
        let rows = LossRows { rows: n, vocab: self.config.vocab_size, targets: ids, inv_t: inv_t_raw };
        Ok(self.backend.softmax_statistics(logits, rows, lse, logprob_raw, entropy_raw)?)
    }

    /// Reads what was drawn into `memory.sampled`.
    fn read_drawn(&self, n: usize, head: &PagedHeadBuffers<B>, memory: &mut SampleMemory<B>) -> Result<()> {
        let SampleMemory { words, floats, sampled, is_raw, .. } = memory;
        let ids = refilled(words, std::iter::repeat_n(0, n));
        let (logprobs, entropies) = refilled(floats, std::iter::repeat_n(0.0, 3 * n)).split_at_mut(n);
        let (entropies, raw) = entropies.split_at_mut(n);
        self.backend.read_all(&mut [
            (&head.ids, WordsMut::U32(ids)),
            (&head.logprob, WordsMut::F32(logprobs)),
            (&head.entropy, WordsMut::F32(entropies)),
            (if *is_raw { &head.entropy } else { &head.entropy_raw }, WordsMut::F32(raw)),
        ])?;
        // A device without a host beside it can say it in the ids alone.
        if let Some(row) = ids.iter().position(|&id| id as usize >= self.config.vocab_size) {
            let reason = "its logits are not finite (the weights or the cache are damaged) or every id is forbidden";
            return Err(Error::invalid("sample", format!("row {row} has no distribution: {reason}")));
        }
        sampled.clear();
        sampled.extend((0..n).map(|row| Sampled {
            id: ids[row],
            logprob: logprobs[row],
            entropy: entropies[row],
            entropy_raw: raw[row],
        }));
        Ok(())
    }
}

/// The first `N` lists of `len` elements each of a vector that holds one list after another.
fn parts<T, const N: usize>(list: &[T], len: usize) -> [&[T]; N] {
    std::array::from_fn(|part| &list[part * len..][..len])
}

/// The vector with other values: memory that is kept from step to step.
pub(crate) fn refilled<T>(vector: &mut Vec<T>, values: impl Iterator<Item = T>) -> &mut [T] {
    vector.clear();
    vector.extend(values);
    vector
}
