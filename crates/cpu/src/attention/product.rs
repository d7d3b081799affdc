//! The two matrix products inside attention. Each element is one chain of fused multiply-adds, whatever the shape of a tile.
//!
//! The right matrix lies in pages of 16 keys, as the cache holds them: transposed, so that pages are columns of the result
//! ([`multiply_columns`]: scores), or in order, so that pages are the inner index ([`multiply_rows`]: weighted sums).

#[cfg(target_arch = "x86_64")]
use super::registers::{Avx2, Avx512};
use super::registers::{Instructions, Plain, Register, Stored};
use crate::level::Level;
use crate::vector::prefetch_later;
use gradus_ops::PAGE_TOKENS;
use std::ops::Range;

/// Rows of a result that callers take at once, so that all levels cut them into whole tiles.
pub(super) const TILE_ROWS: usize = 8;

/// Rows of a tile that take less time than memory takes to give them their pages.
const ROWS_THAT_WAIT: usize = 7;

/// Element (i, k) is `values[i * row + k * step]`, so that a transposed matrix needs no copy.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) values: &'a [f32],
    pub(super) row: usize,
    pub(super) step: usize,
}

impl Left<'_> {
    fn check(&self, rows: usize, inner_end: usize) {
        let last = (rows - 1) * self.row + (inner_end - 1) * self.step;
        assert!(last < self.values.len(), "the left matrix is too short");
    }
}

/// What a product starts from: zero, or what is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Zero,
    Sum,
}

/// `c[i * c_row + 16 * p + j]` = Σ over k = 0, 1, …, depth − 1 of a(i, k) · `pages[p][16 * k + j]`, for i < rows, j < 16.
/// Meanwhile the `next` pages, as many or none, are fetched.
pub(super) fn multiply_columns<E: Stored>(
    level: Level,
    a: Left,
    [rows, depth]: [usize; 2],
    pages: &[&[E]],
    next: &[&[E]],
    c: &mut [f32],
    c_row: usize,
) {
    if rows == 0 || pages.is_empty() {
        return;
    }
    a.check(rows, depth);
    assert!(pages.iter().all(|page| page.len() >= depth * PAGE_TOKENS), "a page is too short");
    assert!((rows - 1) * c_row + pages.len() * PAGE_TOKENS <= c.len(), "the result is too short");
    let product = Columns { a, rows, depth, pages, next, c: c.as_mut_ptr(), c_row };
    // SAFETY: a backend is made only with a level that this machine has; the assertions above cover every address.
    unsafe {
        match level {
            Level::Portable => columns::<Plain, E>(&product),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => columns_avx2(&product),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Avx512Vnni | Level::Avx512Bf16 => columns_avx512(&product),
            #[cfg(not(target_arch = "x86_64"))]
            _ => columns::<Plain, E>(&product),
        }
    }
}

/// `c[i * c_row + j]` = Σ over k in `keys`, in order, of a(i, k) · `pages[k / 16][(k % 16) * width + j]`, for i < rows and
/// j < width, a multiple of 8; from zero or from what is there. Meanwhile the `next` pages are fetched.
#[allow(clippy::too_many_arguments)]
pub(super) fn multiply_rows<E: Stored>(
    level: Level,
    a: Left,
    [rows, width]: [usize; 2],
    keys: Range<usize>,
    pages: &[&[E]],
    next: &[&[E]],
    c: &mut [f32],
    c_row: usize,
    start: Start,
) {
    if rows == 0 || (keys.is_empty() && start == Start::Sum) {
        return;
    }
    assert!(width.is_multiple_of(8), "width {width} is not a multiple of 8");
    if !keys.is_empty() {
        a.check(rows, keys.end);
        let pages = &pages[keys.start / PAGE_TOKENS..keys.end.div_ceil(PAGE_TOKENS)];
        assert!(pages.iter().all(|page| page.len() >= width * PAGE_TOKENS), "a page is too short");
    }
    assert!((rows - 1) * c_row + width <= c.len(), "the result is too short");
    let product = Rows { a, count: rows, width, keys, pages, next, c: c.as_mut_ptr(), c_row, start };
    // SAFETY: as in `multiply_columns`.
    unsafe {
        match level {
            Level::Portable => rows_of_strips::<Plain, E>(&product),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => rows_avx2(&product),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Avx512Vnni | Level::Avx512Bf16 => rows_avx512(&product),
            #[cfg(not(target_arch = "x86_64"))]
            _ => rows_of_strips::<Plain, E>(&product),
        }
    }
}

struct Columns<'a, E> {
    a: Left<'a>,
    rows: usize,
    depth: usize,
    pages: &'a [&'a [E]],
    next: &'a [&'a [E]],
    c: *mut f32,
    c_row: usize,
}

struct Rows<'a, E> {
    a: Left<'a>,
    count: usize,
    width: usize,
    keys: Range<usize>,
    pages: &'a [&'a [E]],
    next: &'a [&'a [E]],
    c: *mut f32,
    c_row: usize,
    start: Start,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn columns_avx2<E: Stored>(product: &Columns<E>) {
    // SAFETY: the caller's promise, here and below.
    unsafe { columns::<Avx2, E>(product) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn columns_avx512<E: Stored>(product: &Columns<E>) {
    // SAFETY: as above.
    unsafe { columns::<Avx512, E>(product) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn rows_avx2<E: Stored>(product: &Rows<E>) {
    // SAFETY: as above.
    unsafe { rows_of_strips::<Avx2, E>(product) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn rows_avx512<E: Stored>(product: &Rows<E>) {
    // SAFETY: as above.
    unsafe { rows_of_strips::<Avx512, E>(product) }
}

/// Calls `$strip::<I, E, R>($arguments)` with R = `$count`, which is at most `I::ROWS`. The arms beyond it are compiled away.
macro_rules! strip_of {
    ($count:expr, $strip:ident($($argument:expr),*)) => {
        match $count {
            1 => $strip::<I, E, 1>($($argument),*),
            2 => $strip::<I, E, 2>($($argument),*),
            3 if I::ROWS >= 3 => $strip::<I, E, 3>($($argument),*),
            4 if I::ROWS >= 4 => $strip::<I, E, 4>($($argument),*),
            5 if I::ROWS >= 5 => $strip::<I, E, 5>($($argument),*),
            6 if I::ROWS >= 6 => $strip::<I, E, 6>($($argument),*),
            7 if I::ROWS >= 7 => $strip::<I, E, 7>($($argument),*),
            8 if I::ROWS >= 8 => $strip::<I, E, 8>($($argument),*),
            count => unreachable!("no tile of {count} rows"),
        }
    };
}

/// # Safety
/// The assertions of `multiply_columns` hold, and the machine has the instructions.
#[inline(always)]
unsafe fn columns<I: Instructions, E: Stored>(product: &Columns<E>) {
    let mut row = 0;
    while row < product.rows {
        let count = I::ROWS.min(product.rows - row);
        // SAFETY: these rows lie inside the matrices.
        unsafe { strip_of!(count, strip_of_columns(product, row)) };
        row += count;
    }
}

/// R rows from `row`, all pages.
#[inline(always)]
unsafe fn strip_of_columns<I: Instructions, E: Stored, const R: usize>(product: &Columns<E>, row: usize) {
    let (mut page, pages) = (0, product.pages.len());
    // SAFETY: these rows and pages lie inside the matrices.
    unsafe {
        if R * 4 <= I::SUMS {
            while pages - page >= 4 {
                tile_of_columns::<I::Wide, E, R, 4>(product, row, page);
                page += 4;
            }
        }
        if R * 2 <= I::SUMS {
            while pages - page >= 2 {
                tile_of_columns::<I::Wide, E, R, 2>(product, row, page);
                page += 2;
            }
        }
        while page < pages {
            tile_of_columns::<I::Wide, E, R, 1>(product, row, page);
            page += 1;
        }
    }
}

/// R rows from `row`, C pages from `page`.
#[inline(always)]
unsafe fn tile_of_columns<V: Register, E: Stored, const R: usize, const C: usize>(
    product: &Columns<E>,
    row: usize,
    page: usize,
) {
    let Columns { a, depth, pages, next, c_row, .. } = *product;
    // SAFETY: these rows and pages lie inside the matrices.
    unsafe {
        let (mut b, mut ahead) = ([std::ptr::null(); C], [std::ptr::null(); C]);
        for j in 0..C {
            b[j] = pages[page + j].as_ptr();
            ahead[j] = page_or(next, page + j, b[j]);
        }
        let mut sums = [[V::zero(); C]; R];
        add_steps(&mut sums, a.values.as_ptr().add(row * a.row), a, b, ahead, PAGE_TOKENS, depth);
        let c = product.c.add(row * c_row + page * PAGE_TOKENS);
        for i in 0..R {
            for j in 0..C {
                sums[i][j].store(c.add(i * c_row + j * V::LANES));
            }
        }
    }
}

/// # Safety
/// The assertions of `multiply_rows` hold, and the machine has the instructions.
#[inline(always)]
unsafe fn rows_of_strips<I: Instructions, E: Stored>(product: &Rows<E>) {
    let mut row = 0;
    while row < product.count {
        let count = I::ROWS.min(product.count - row);
        // SAFETY: these rows lie inside the matrices.
        unsafe { strip_of!(count, strip_of_rows(product, row)) };
        row += count;
    }
}

/// R rows from `row`, all columns.
#[inline(always)]
unsafe fn strip_of_rows<I: Instructions, E: Stored, const R: usize>(product: &Rows<E>, row: usize) {
    let (mut column, width) = (0, product.width);
    // SAFETY: these rows and columns lie inside the matrices.
    unsafe {
        if R * 4 <= I::SUMS {
            while width - column >= 64 {
                tile_of_rows::<I::Wide, E, R, 4>(product, row, column);
                column += 64;
            }
        }
        if R * 2 <= I::SUMS {
            while width - column >= 32 {
                tile_of_rows::<I::Wide, E, R, 2>(product, row, column);
                column += 32;
            }
        }
        while width - column >= 16 {
            tile_of_rows::<I::Wide, E, R, 1>(product, row, column);
            column += 16;
        }
        if column < width {
            tile_of_rows::<I::Half, E, R, 1>(product, row, column);
        }
    }
}

/// R rows from `row`, C registers of columns from `column`.
#[inline(always)]
unsafe fn tile_of_rows<V: Register, E: Stored, const R: usize, const C: usize>(
    product: &Rows<E>,
    row: usize,
    column: usize,
) {
    let Rows { a, width, ref keys, pages, next, c_row, start, .. } = *product;
    // SAFETY: these rows and columns, and the pages of `keys`, lie inside the matrices.
    unsafe {
        let c = product.c.add(row * c_row + column);
        let mut sums = [[V::zero(); C]; R];
        if start == Start::Sum {
            for i in 0..R {
                for j in 0..C {
                    sums[i][j] = V::load(c.add(i * c_row + j * V::LANES));
                }
            }
        }
        let mut key = keys.start;
        while key < keys.end {
            let offset = key % PAGE_TOKENS;
            let depth = (PAGE_TOKENS - offset).min(keys.end - key);
            let page = pages.get_unchecked(key / PAGE_TOKENS).as_ptr();
            let ahead = page_or(next, key / PAGE_TOKENS, page);
            let (mut b, mut b_ahead) = ([page; C], [ahead; C]);
            for j in 0..C {
                let place = offset * width + column + j * V::LANES;
                (b[j], b_ahead[j]) = (page.add(place), ahead.wrapping_add(place));
            }
            add_steps(&mut sums, a.values.as_ptr().add(row * a.row + key * a.step), a, b, b_ahead, width, depth);
            key += depth;
        }
        for i in 0..R {
            for j in 0..C {
                sums[i][j].store(c.add(i * c_row + j * V::LANES));
            }
        }
    }
}

/// Where a page begins, or `otherwise` where there is none.
#[inline(always)]
fn page_or<E>(pages: &[&[E]], index: usize, otherwise: *const E) -> *const E {
    pages.get(index).filter(|page| !page.is_empty()).map_or(otherwise, |page| page.as_ptr())
}

/// sums(i, j) += Σ over k < depth of element (i, k) from `left` · the register at `b[j] + k * b_row`. Few rows wait for memory: for
/// each register that they read they ask for the one at the same place of `ahead`.
#[inline(always)]
unsafe fn add_steps<V: Register, E: Stored, const R: usize, const C: usize>(
    sums: &mut [[V; C]; R],
    left: *const f32,
    Left { row, step, .. }: Left,
    b: [*const E; C],
    ahead: [*const E; C],
    b_row: usize,
    depth: usize,
) {
    let mut chains = *sums;
    for k in 0..depth {
        // SAFETY: step k of both matrices, by the caller's promise.
        unsafe {
            let mut right = [V::zero(); C];
            for j in 0..C {
                right[j] = E::register(b[j].add(k.wrapping_mul(b_row)));
                if R <= ROWS_THAT_WAIT {
                    prefetch_later(ahead[j].wrapping_add(k.wrapping_mul(b_row)));
                }
            }
            for i in 0..R {
                let left = V::broadcast(left.add(i.wrapping_mul(row).wrapping_add(k.wrapping_mul(step))));
                for j in 0..C {
                    chains[i][j] = left.fma(right[j], chains[i][j]);
                }
            }
        }
    }
    *sums = chains;
}

#[cfg(test)]
mod tests;
