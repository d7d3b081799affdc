//! The page allocator of the KV cache: numbers of pages and who counts on them, no memory of its own.

use gradus_ops::PAGE_TOKENS;

/// Hands out page numbers with reference counts. The same calls give the same pages.
#[derive(Clone, Debug)]
pub struct PageAllocator {
    /// Free pages; the last one is handed out next.
    free: Vec<u32>,
    /// References to each page; 0 where it is free.
    references: Vec<u32>,
}

impl PageAllocator {
    pub fn new(pages: usize) -> Self {
        Self { free: (0..pages as u32).rev().collect(), references: vec![0; pages] }
    }

    /// A page with one reference; `None` when all are taken.
    pub fn allocate(&mut self) -> Option<u32> {
        let page = self.free.pop()?;
        self.references[page as usize] = 1;
        Some(page)
    }

    /// Adds a reference to a page that is in use.
    pub fn retain(&mut self, page: u32) {
        let references = &mut self.references[page as usize];
        assert!(*references > 0, "page {page} is retained while free");
        *references += 1;
    }

    /// Takes one reference back; the last one frees the page.
    pub fn release(&mut self, page: u32) {
        let references = &mut self.references[page as usize];
        assert!(*references > 0, "page {page} is released while free");
        *references -= 1;
        if *references == 0 {
            self.free.push(page);
        }
    }

    /// References to a page; 0 where it is free.
    pub fn references(&self, page: u32) -> u32 {
        self.references[page as usize]
    }

    pub fn free_pages(&self) -> usize {
        self.free.len()
    }

    pub fn pages(&self) -> usize {
        self.references.len()
    }
}

/// Pages that a request holds at its longest. The last token of a response is never fed, so it needs no place.
pub fn pages_needed(prompt_tokens: usize, max_tokens: usize) -> usize {
    (prompt_tokens + max_tokens).saturating_sub(1).div_ceil(PAGE_TOKENS)
}
