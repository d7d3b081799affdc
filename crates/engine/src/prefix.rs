//! Shared prompts: the pages of a group's prompt, computed by its first sequence and read by all others.

use crate::PageAllocator;
use gradus_ops::PAGE_TOKENS;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A group and one of its prompts.
pub(crate) type PrefixKey = (u64, Arc<[u32]>);

#[derive(Debug)]
enum State {
    /// Nobody has computed it, or it was dropped.
    Empty,
    /// The sequence of this arrival is computing it.
    Filling(u64),
    /// Its pages; the table holds a reference to each.
    Ready(Vec<u32>),
}

#[derive(Debug)]
struct Prefix {
    /// Sequences that have not ended.
    members: usize,
    state: State,
}

/// What a sequence that wants to start finds.
pub(crate) enum Shared {
    /// It computes the prompt itself.
    Nothing,
    /// Another sequence is computing the prompt: wait for it.
    Wait,
    /// Whole pages to read, and the page to copy, if the prompt's last token does not begin a page.
    Pages { whole: Vec<u32>, copy: Option<u32> },
}

/// The prompts of all live groups. Every page of a ready prompt has one reference of this table.
#[derive(Debug, Default)]
pub(crate) struct PrefixTable {
    prefixes: BTreeMap<PrefixKey, Prefix>,
}

/// Tokens of a prompt that another sequence may reuse: all but the last, which must be fed for its logits.
pub(crate) fn reusable_tokens(prompt_len: usize) -> usize {
    prompt_len - 1
}

impl PrefixTable {
    /// Counts a new member; `None` for a prompt of one token, which has nothing to share.
    pub fn join(&mut self, group: u64, prompt: &[u32]) -> Option<PrefixKey> {
        if reusable_tokens(prompt.len()) == 0 {
            return None;
        }
        let key = (group, Arc::from(prompt));
        self.prefixes.entry(key.clone()).or_insert(Prefix { members: 0, state: State::Empty }).members += 1;
        Some(key)
    }

    /// A member has ended; the last one takes the prompt's pages with it.
    pub fn leave(&mut self, key: &PrefixKey, pages: &mut PageAllocator) {
        let prefix = self.get_mut(key);
        prefix.members -= 1;
        if prefix.members == 0 {
            prefix.drop_pages(pages);
            self.prefixes.remove(key);
        }
    }

    pub fn find(&self, key: &PrefixKey) -> Shared {
        match &self.prefixes[key].state {
            State::Empty => Shared::Nothing,
            State::Filling(_) => Shared::Wait,
            State::Ready(pages) => {
                let reusable = reusable_tokens(key.1.len());
                let whole = reusable / PAGE_TOKENS;
                let copy = (!reusable.is_multiple_of(PAGE_TOKENS)).then(|| pages[whole]);
                Shared::Pages { whole: pages[..whole].to_vec(), copy }
            }
        }
    }

    /// The sequence of this arrival starts to compute the prompt.
    pub fn fill(&mut self, key: &PrefixKey, arrival: u64) {
        self.get_mut(key).state = State::Filling(arrival);
    }

    /// The prompt's tokens are in `pages` now, if this sequence was computing them.
    pub fn filled(&mut self, key: &PrefixKey, arrival: u64, pages: &[u32], allocator: &mut PageAllocator) {
        let prefix = self.get_mut(key);
        if matches!(prefix.state, State::Filling(by) if by == arrival) {
            let shared = &pages[..reusable_tokens(key.1.len()).div_ceil(PAGE_TOKENS)];
            for &page in shared {
                allocator.retain(page);
            }
            prefix.state = State::Ready(shared.to_vec());
        }
    }

    /// This sequence gave up its pages: if it was computing the prompt, another must begin again.
    pub fn abandon(&mut self, key: &PrefixKey, arrival: u64) {
        let prefix = self.get_mut(key);
        if matches!(prefix.state, State::Filling(by) if by == arrival) {
            prefix.state = State::Empty;
        }
    }

    /// Drops one prompt, other than `keep`, of which a page becomes free; false when there is none.
    pub fn evict_one(&mut self, keep: Option<&PrefixKey>, pages: &mut PageAllocator) -> bool {
        let evictable = |prefix: &Prefix, pages: &PageAllocator| match &prefix.state {
            State::Ready(held) => held.iter().any(|&page| pages.references(page) == 1),
            State::Empty | State::Filling(_) => false,
        };
        let found = self.prefixes.iter_mut().find(|(key, prefix)| Some(*key) != keep && evictable(prefix, pages));
        let Some((_, prefix)) = found else { return false };
        prefix.drop_pages(pages);
        true
    }

    /// Drops every prompt: the weights they were computed with are gone.
    pub fn clear(&mut self, pages: &mut PageAllocator) {
        self.prefixes.values_mut().for_each(|prefix| prefix.drop_pages(pages));
    }

    /// References that this table holds to each page.
    #[cfg(test)]
    pub fn held_pages(&self) -> impl Iterator<Item = u32> {
        self.prefixes.values().flat_map(|prefix| {
            match &prefix.state {
                State::Ready(pages) => pages.as_slice(),
                State::Empty | State::Filling(_) => &[],
            }
            .iter()
            .copied()
        })
    }

    fn get_mut(&mut self, key: &PrefixKey) -> &mut Prefix {
        self.prefixes.get_mut(key).expect("a member keeps its prefix alive")
    }
}

impl Prefix {
    fn drop_pages(&mut self, pages: &mut PageAllocator) {
        if let State::Ready(held) = std::mem::replace(&mut self.state, State::Empty) {
            for page in held {
                pages.release(page);
            }
        }
    }
}
