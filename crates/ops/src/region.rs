//! Memory that phases of a run use one after another: gradients and activations in training, KV pages in generation.
//!
//! A backend's region is one allocation. Buffers and weights are cut from it, give their part back when a phase ends, and the next phase
//! cuts the same bytes anew: no page fault, no call of a driver. [`Cuts`] is the table behind it and has no memory of its own.

use crate::Result;

/// Parts begin at multiples of this many bytes: a page of the host, and more than any op asks for.
const ALIGNMENT: usize = 4096;

/// A buffer or a weight whose memory comes and goes. While it has none it must not be given to an op: a buffer is refused, a
/// weight may panic.
pub trait Backed<Region> {
    /// Takes memory of `region`, which holds anything; one that has memory keeps it.
    fn take_from(&mut self, region: &Region) -> Result<()>;
    /// Gives the memory back, to whatever it was taken from. What it held is lost.
    fn give_back(&mut self);
    /// Bytes that it has, or would take; padding included.
    fn bytes(&self) -> usize;
}

/// Which parts of a region are in use: two never overlap.
///
/// The region's size is learned: what finds no room in it is an allocation of its own, and when nothing is in use any more, the region is
/// made as large as the most that ever was. So a run has one allocation from its second round of phases on, and a phase alone has none.
#[derive(Debug, Default)]
pub struct Cuts {
    capacity: usize,
    /// (first byte, end) of each part, in order.
    parts: Vec<(usize, usize)>,
    /// Bytes in use now and at most, with those that found no room.
    held: usize,
    held_max: usize,
}

/// A part of a region, or of nothing where it found no room.
#[derive(Debug)]
pub struct Cut {
    pub first: Option<usize>,
    bytes: usize,
}

impl Cuts {
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that the region should have instead of what it has: known when nothing is in use.
    pub fn wanted(&self) -> Option<usize> {
        (self.held == 0 && self.held_max > self.capacity).then_some(self.held_max)
    }

    /// The region is of so many bytes now. Panics while something is in use.
    pub fn resized(&mut self, capacity: usize) {
        assert!(self.held == 0, "a region was replaced while {} bytes of it were in use", self.held);
        self.capacity = capacity;
    }

    /// The first free part of `bytes` bytes.
    pub fn take(&mut self, bytes: usize) -> Cut {
        let bytes = bytes.max(1).next_multiple_of(ALIGNMENT);
        self.held += bytes;
        self.held_max = self.held_max.max(self.held);
        let mut first = 0;
        let mut place = self.parts.len();
        for (index, &(start, end)) in self.parts.iter().enumerate() {
            if start - first >= bytes {
                place = index;
                break;
            }
            first = end;
        }
        if self.capacity - first < bytes {
            return Cut { first: None, bytes };
        }
        self.parts.insert(place, (first, first + bytes));
        Cut { first: Some(first), bytes }
    }

    /// Frees a part that `take` gave.
    pub fn give_back(&mut self, cut: &Cut) {
        self.held -= cut.bytes;
        let Some(first) = cut.first else { return };
        let found = self.parts.binary_search_by_key(&first, |part| part.0).expect("a part is given back once");
        self.parts.remove(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::philox::philox4x32;

    #[test]
    fn parts_never_overlap_and_every_byte_comes_back() {
        let mut cuts = Cuts::default();
        let mut live: Vec<Cut> = Vec::new();
        let mut found_room = 0;
        for step in 0..20_000_u32 {
            let [choice, size, which, _] = philox4x32([step, 0, 0, 0], [7, 7]);
            if let Some(capacity) = cuts.wanted() {
                cuts.resized(capacity);
            }
            // Now and then a phase ends.
            let ends = choice.is_multiple_of(512);
            if ends {
                live.drain(..).for_each(|cut| cuts.give_back(&cut));
            } else if choice % 3 == 0 && !live.is_empty() {
                let cut = live.swap_remove(which as usize % live.len());
                cuts.give_back(&cut);
            } else {
                live.push(cuts.take(size as usize % (5 * ALIGNMENT)));
            }
            let mut parts: Vec<(usize, usize)> =
                live.iter().filter_map(|cut| Some((cut.first?, cut.first? + cut.bytes))).collect();
            parts.sort_unstable();
            found_room += parts.len();
            assert!(parts.iter().all(|part| part.0.is_multiple_of(ALIGNMENT) && part.1 <= cuts.capacity()));
            assert!(parts.windows(2).all(|pair| pair[0].1 <= pair[1].0), "step {step}: {parts:?}");
        }
        live.drain(..).for_each(|cut| cuts.give_back(&cut));
        assert!(cuts.parts.is_empty() && cuts.held == 0 && found_room > 100_000);
    }

    #[test]
    fn a_phase_that_was_seen_fits_whole() {
        let mut cuts = Cuts::default();
        let sizes = [[3, 1, 1].as_slice(), &[2, 2, 2, 2]];
        for round in 0..3 {
            for (phase, sizes) in sizes.iter().enumerate() {
                if let Some(capacity) = cuts.wanted() {
                    cuts.resized(capacity);
                }
                let taken: Vec<Cut> = sizes.iter().map(|pages| cuts.take(pages * ALIGNMENT)).collect();
                let all_fit = taken.iter().all(|cut| cut.first.is_some());
                assert_eq!(all_fit, round > 0, "round {round}, phase {phase}");
                for cut in &taken {
                    cuts.give_back(cut);
                }
            }
        }
        assert_eq!(cuts.capacity(), 8 * ALIGNMENT);
    }
}
