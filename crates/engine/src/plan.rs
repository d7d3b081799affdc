//! A step as the scheduler plans it: what the model computes, and what is sampled afterwards.

use crate::sequence::Sequence;
use gradus_model::PagedInputs;
use gradus_ops::PAGE_TOKENS;

/// One step: first the copies in order, then one forward over `inputs`, then one sample for each of its logit rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepPlan {
    /// (from, to) pages.
    pub copies: Vec<(u32, u32)>,
    pub inputs: PagedInputs,
    /// One for each of `inputs.logit_rows`.
    pub samples: Vec<SampleSlot>,
    pub(crate) rows: Vec<PlannedRows>,
}

/// A token to be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleSlot {
    /// Of the request.
    pub id: u64,
    /// Index of the drawn token in its sequence, prompt included.
    pub position: u32,
}

/// Tokens of one sequence that a step feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlannedRows {
    pub arrival: u64,
    pub tokens: usize,
}

impl StepPlan {
    /// Nothing planned; the memory stays.
    pub(crate) fn clear(&mut self) {
        let PagedInputs { tokens, positions, sequences, slots, page_table, pages_max, logit_rows } = &mut self.inputs;
        for list in [tokens, positions, sequences, slots, page_table, logit_rows] {
            list.clear();
        }
        *pages_max = 0;
        self.copies.clear();
        self.samples.clear();
        self.rows.clear();
    }

    /// Adds the inputs of one of `rows`, in their order; [`StepPlan::fill_page_table`] follows when all are there.
    pub(crate) fn push(&mut self, table_row: usize, sequence: &Sequence) {
        let inputs = &mut self.inputs;
        let tokens = self.rows[table_row].tokens;
        let (first, end) = (sequence.cached, sequence.cached + tokens);
        inputs.tokens.extend_from_slice(&sequence.tokens[first..end]);
        inputs.positions.extend(first as u32..end as u32);
        inputs.sequences.extend(std::iter::repeat_n(table_row as u32, tokens));
        inputs.slots.extend((first..end).map(|position| sequence.slot(position)));
        inputs.pages_max = inputs.pages_max.max(end.div_ceil(PAGE_TOKENS));
        if end == sequence.tokens.len() {
            inputs.logit_rows.push(inputs.tokens.len() as u32 - 1);
            self.samples.push(SampleSlot { id: sequence.id, position: end as u32 });
        }
    }

    /// Adds one sequence's row of the page table, in the order of [`StepPlan::push`].
    pub(crate) fn fill_page_table(&mut self, sequence: &Sequence) {
        let inputs = &mut self.inputs;
        let end = inputs.page_table.len() + inputs.pages_max;
        inputs.page_table.extend(sequence.pages.iter().take(inputs.pages_max));
        // Entries past the sequence's end are not read.
        inputs.page_table.resize(end, 0);
    }
}
