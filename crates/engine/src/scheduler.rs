//! The scheduler: which tokens of which sequences a step computes, and in which pages their keys and values lie.
//!
//! A plain state machine: `submit` and `cancel` at any time between steps, then `plan`, the model's step, `commit`. Its rules:
//! - Every sequence feeds the tokens that the cache lacks; when none is left its next token is sampled. Prefill, decode and the
//!   recomputation after a preemption are thus one thing, and none of them changes a bit of the result.
//! - Sequences rank by their sampled tokens, most first, then by arrival: what is nearly done is done first, and the tail of a batch is short.
//! - Decode rows come first, then prompts in chunks, then sequences that wait, both by rank.
//! - A sequence starts when all its tokens have pages and one page is left for each running one. When a running sequence finds no page,
//!   prompts kept only for sharing go first, then the running sequence of the lowest rank gives up its pages and waits. The highest keeps
//!   its pages until it ends, so every sequence ends.
//! - A plan and all that is behind it is memory that the next step uses again: a step in which nothing starts allocates nothing.

use crate::pages::PageAllocator;
use crate::plan::{PlannedRows, StepPlan};
use crate::prefix::{PrefixTable, Shared, reusable_tokens};
use crate::sequence::{Finish, Progress, Sequence, SequenceRequest};
use crate::{EngineOptions, Error, Result, pages_needed};
use gradus_ops::PAGE_TOKENS;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

/// Place in the order of sequences: (most sampled tokens first, arrival).
type Rank = (Reverse<usize>, u64);

/// Sequences are known by their arrival: an earlier one is the older one.
pub struct Scheduler {
    options: EngineOptions,
    pub(crate) pages: PageAllocator,
    pub(crate) prefixes: PrefixTable,
    pub(crate) sequences: BTreeMap<u64, Sequence>,
    /// Arrival of each request id.
    arrivals: HashMap<u64, u64>,
    pub(crate) running: BTreeSet<u64>,
    pub(crate) waiting: BTreeSet<Rank>,
    next_arrival: u64,
    preemptions: u64,
    /// Running sequences in the order in which a step feeds them.
    order: Vec<u64>,
    /// What the last commit gave.
    progress: Vec<Progress>,
}

enum Start {
    /// It runs now; a page may have to be copied.
    Started(Option<(u32, u32)>),
    /// Its prompt is being computed by another sequence.
    Wait,
    NoRoom,
}

impl Scheduler {
    /// Every option must be at least 1.
    pub fn new(options: EngineOptions) -> Result<Self> {
        let EngineOptions { pages, prefill_chunk, max_batch_tokens } = options;
        for (option, value) in
            [("pages", pages), ("prefill_chunk", prefill_chunk), ("max_batch_tokens", max_batch_tokens)]
        {
            if value == 0 {
                return Err(Error::Options { option });
            }
        }
        Ok(Self {
            options,
            pages: PageAllocator::new(pages),
            prefixes: PrefixTable::default(),
            sequences: BTreeMap::new(),
            arrivals: HashMap::new(),
            running: BTreeSet::new(),
            waiting: BTreeSet::new(),
            next_arrival: 0,
            preemptions: 0,
            order: Vec::new(),
            progress: Vec::new(),
        })
    }

    /// Queues a request. Refuses an empty one, an id in use, and one that all pages together could not hold.
    pub fn submit(&mut self, request: SequenceRequest) -> Result<()> {
        let id = request.id;
        if request.prompt.is_empty() {
            return Err(Error::EmptyPrompt { id });
        }
        if request.max_tokens == 0 {
            return Err(Error::NoTokens { id });
        }
        if self.arrivals.contains_key(&id) {
            return Err(Error::DuplicateId { id });
        }
        let needed = pages_needed(request.prompt.len(), request.max_tokens);
        let available = self.pages.pages();
        if needed > available {
            return Err(Error::TooLarge { id, needed, available });
        }
        let prefix = request.group.and_then(|group| self.prefixes.join(group, &request.prompt));
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        self.arrivals.insert(id, arrival);
        self.sequences.insert(arrival, Sequence::new(request, prefix));
        self.waiting.insert((Reverse(0), arrival));
        Ok(())
    }

    /// Ends a request at once and frees its pages; `None` when it is unknown or has ended.
    pub fn cancel(&mut self, id: u64) -> Option<Finish> {
        let arrival = *self.arrivals.get(&id)?;
        self.end(arrival);
        Some(Finish::Abort)
    }

    /// Plans the next step into `plan`; false when every request has ended. Each plan must be committed, or dropped by
    /// [`Scheduler::drop_cached`].
    pub fn plan(&mut self, plan: &mut StepPlan) -> bool {
        plan.clear();
        self.continue_running(&mut plan.rows);
        self.admit(&mut plan.rows, &mut plan.copies);
        if plan.rows.is_empty() {
            assert!(self.is_idle(), "live requests, but nothing to run: a page is lost");
            return false;
        }
        let mut table_width = 0;
        for row in 0..plan.rows.len() {
            let sequence = &self.sequences[&plan.rows[row].arrival];
            table_width = table_width.max(sequence.pages_max());
            plan.push(row, sequence);
        }
        plan.inputs.page_table.reserve_exact(table_width * plan.rows.len());
        for row in 0..plan.rows.len() {
            plan.fill_page_table(&self.sequences[&plan.rows[row].arrival]);
        }
        true
    }

    /// Takes the sampled tokens of a plan, one for each of its `samples`.
    pub fn commit(&mut self, plan: &StepPlan, sampled: &[u32]) -> &[Progress] {
        assert_eq!(plan.samples.len(), sampled.len(), "a plan is committed with one token for each sample");
        for planned in &plan.rows {
            let sequence = self.sequences.get_mut(&planned.arrival).expect("nothing ends between plan and commit");
            let reusable = reusable_tokens(sequence.prompt_len);
            let was_filling = sequence.cached < reusable;
            sequence.cached += planned.tokens;
            if let Some(key) = &sequence.prefix
                && was_filling
                && sequence.cached >= reusable
            {
                self.prefixes.filled(key, planned.arrival, &sequence.pages, &mut self.pages);
            }
        }
        self.progress.clear();
        for (slot, &token) in plan.samples.iter().zip(sampled) {
            let progress = self.take_token(slot.id, token);
            self.progress.push(progress);
        }
        &self.progress
    }

    /// Forgets all keys and values: those of other weights, or of a step that failed. Running sequences are computed anew.
    pub fn drop_cached(&mut self) {
        while let Some(&arrival) = self.running.last() {
            self.preempt(arrival);
        }
        self.prefixes.clear(&mut self.pages);
    }

    pub fn is_idle(&self) -> bool {
        self.sequences.is_empty()
    }

    pub fn pages_free(&self) -> usize {
        self.pages.free_pages()
    }

    /// Times that a running sequence gave up its pages to one of a higher rank.
    pub fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// Adds the rows of running sequences, with pages for all of them.
    fn continue_running(&mut self, rows: &mut Vec<PlannedRows>) {
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        let is_decoding = |arrival: &&u64| self.sequences[*arrival].pending() == 1;
        order.extend(self.running.iter().filter(is_decoding));
        let decoding = order.len();
        if decoding < self.running.len() {
            order.extend(self.running.iter().filter(|arrival| !is_decoding(arrival)));
            order[decoding..].sort_unstable_by_key(|&arrival| self.rank(arrival));
        }
        let (mut budget, preemptions) = (self.options.max_batch_tokens, self.preemptions);
        for &arrival in &order {
            // A higher one may have taken its pages in this very loop.
            if budget == 0 || self.preemptions > preemptions && !self.running.contains(&arrival) {
                continue;
            }
            let planned = self.chunk(arrival, budget);
            if self.grow(arrival, planned.tokens) {
                budget -= planned.tokens;
                rows.push(planned);
            }
        }
        if self.preemptions > preemptions {
            rows.retain(|planned| self.running.contains(&planned.arrival));
        }
        self.order = order;
    }

    /// Starts sequences that wait while there is room, and adds their rows and the pages to copy.
    fn admit(&mut self, rows: &mut Vec<PlannedRows>, copies: &mut Vec<(u32, u32)>) {
        let planned: usize = rows.iter().map(|planned| planned.tokens).sum();
        let mut budget = self.options.max_batch_tokens - planned;
        let mut last = Bound::Unbounded;
        // With one token of a step for each running sequence, no decode row ever misses a step.
        while budget > 0 && self.running.len() < self.options.max_batch_tokens {
            let Some(&rank) = self.waiting.range((last, Bound::Unbounded)).next() else { break };
            last = Bound::Excluded(rank);
            let (_, arrival) = rank;
            match self.start(arrival) {
                Start::Started(copy) => {
                    copies.extend(copy);
                    let planned = self.chunk(arrival, budget);
                    budget -= planned.tokens;
                    rows.push(planned);
                }
                Start::Wait => {}
                // Nothing overtakes: a large request would wait for ever.
                Start::NoRoom => break,
            }
        }
    }

    /// Gives a waiting sequence pages for all its tokens, the shared ones first.
    fn start(&mut self, arrival: u64) -> Start {
        let sequence = &self.sequences[&arrival];
        let shared = sequence.prefix.as_ref().map_or(Shared::Nothing, |key| self.prefixes.find(key));
        let (whole, copy, cached) = match shared {
            Shared::Wait => return Start::Wait,
            Shared::Nothing => (Vec::new(), None, 0),
            Shared::Pages { whole, copy } => (whole, copy, reusable_tokens(sequence.prompt_len)),
        };
        let needed = sequence.tokens.len().div_ceil(PAGE_TOKENS) - whole.len();
        if self.pages.free_pages() < needed + self.running.len() {
            let alone = self.running.is_empty();
            let own = sequence.prefix.as_ref();
            // Its own shared prompt goes last: without the copied page's original it may just fit.
            if alone
                && (self.prefixes.evict_one(own, &mut self.pages) || self.prefixes.evict_one(None, &mut self.pages))
            {
                return self.start(arrival);
            }
            return Start::NoRoom;
        }
        for &page in &whole {
            self.pages.retain(page);
        }
        let first_own = whole.len();
        let sequence = self.sequences.get_mut(&arrival).expect("a waiting sequence is live");
        sequence.pages = whole;
        sequence.pages.extend((0..needed).map(|_| self.pages.allocate().expect("counted above")));
        sequence.cached = cached;
        sequence.reserve();
        if cached == 0
            && let Some(key) = &sequence.prefix
        {
            self.prefixes.fill(key, arrival);
        }
        self.waiting.remove(&(Reverse(sequence.sampled()), arrival));
        self.running.insert(arrival);
        Start::Started(copy.map(|from| (from, sequence.pages[first_own])))
    }

    fn chunk(&self, arrival: u64, budget: usize) -> PlannedRows {
        let tokens = self.sequences[&arrival].pending().min(self.options.prefill_chunk).min(budget);
        PlannedRows { arrival, tokens }
    }

    fn rank(&self, arrival: u64) -> Rank {
        (Reverse(self.sequences[&arrival].sampled()), arrival)
    }

    /// Makes sure of pages for the next `tokens` of a running sequence; false when it had to give up its own.
    fn grow(&mut self, arrival: u64, tokens: usize) -> bool {
        let sequence = &self.sequences[&arrival];
        let needed = (sequence.cached + tokens).div_ceil(PAGE_TOKENS);
        while self.sequences[&arrival].pages.len() < needed {
            if let Some(page) = self.pages.allocate() {
                self.sequences.get_mut(&arrival).expect("a running sequence is live").pages.push(page);
            } else if !self.prefixes.evict_one(None, &mut self.pages) {
                let lowest = self.running.iter().copied().max_by_key(|&arrival| self.rank(arrival));
                let lowest = lowest.expect("the growing sequence runs");
                self.preempt(lowest);
                self.preemptions += 1;
                if lowest == arrival {
                    return false;
                }
            }
        }
        true
    }

    /// Takes the pages of a running sequence; it waits to be computed anew.
    fn preempt(&mut self, arrival: u64) {
        let sequence = self.sequences.get_mut(&arrival).expect("a running sequence is live");
        sequence.pages.drain(..).for_each(|page| self.pages.release(page));
        sequence.cached = 0;
        if let Some(key) = &sequence.prefix {
            self.prefixes.abandon(key, arrival);
        }
        self.waiting.insert((Reverse(sequence.sampled()), arrival));
        self.running.remove(&arrival);
    }

    fn take_token(&mut self, id: u64, token: u32) -> Progress {
        let arrival = self.arrivals[&id];
        let sequence = self.sequences.get_mut(&arrival).expect("nothing ends between plan and commit");
        let finish = sequence.push(token);
        if finish.is_some() {
            self.end(arrival);
        }
        Progress { id, token, finish }
    }

    /// Removes a sequence and frees what it holds.
    fn end(&mut self, arrival: u64) {
        let sequence = self.sequences.remove(&arrival).expect("a request ends once");
        sequence.pages.iter().for_each(|&page| self.pages.release(page));
        if let Some(key) = &sequence.prefix {
            self.prefixes.abandon(key, arrival);
            self.prefixes.leave(key, &mut self.pages);
        }
        self.running.remove(&arrival);
        self.waiting.remove(&(Reverse(sequence.sampled()), arrival));
        self.arrivals.remove(&sequence.id);
    }
}
