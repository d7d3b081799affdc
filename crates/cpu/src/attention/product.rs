//! The two matrix products inside attention. Each element is one chain of fused multiply-adds, whatever the shape of a tile.
//!
//! The right matrix lies in pages of 16 keys, as the cache holds them: transposed, so that pages are columns of the result
//! ([`multiply_columns`]: scores), or in order, so that pages are the inner index ([`multiply_rows`]: weighted sums).

#[cfg(target_arch = "x86_64")]
use super::registers::{Avx2, Avx512};
use super::registers::{Instructions, Plain, Register, Stored};
use crate::level::Level;
use gradus_ops::PAGE_TOKENS;
use std::ops::Range;

/// Rows of a result that callers take at once, so that all levels cut them into whole tiles.
pub(super) const TILE_ROWS: usize = 8;

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
pub(super) fn multiply_columns<E: Stored>(
    level: Level,
    a: Left,
    [rows, depth]: [usize; 2],
    pages: &[&[E]],
    c: &mut [f32],
    c_row: usize,
) {
    if rows == 0 || pages.is_empty() {
        return;
    }
    a.check(rows, depth);
    assert!(pages.iter().all(|page| page.len() >= depth * PAGE_TOKENS), "a page is too short");
    assert!((rows - 1) * c_row + pages.len() * PAGE_TOKENS <= c.len(), "the result is too short");
    let product = Columns { a, rows, depth, pages, c: c.as_mut_ptr(), c_row };
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
/// j < width, a multiple of 8; from zero or from what is there.
#[allow(clippy::too_many_arguments)]
pub(super) fn multiply_rows<E: Stored>(
    level: Level,
    a: Left,
    [rows, width]: [usize; 2],
    keys: Range<usize>,
    pages: &[&[E]],
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
    let product = Rows { a, count: rows, width, keys, pages, c: c.as_mut_ptr(), c_row, start };
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
    c: *mut f32,
    c_row: usize,
}

struct Rows<'a, E> {
    a: Left<'a>,
    count: usize,
    width: usize,
    keys: Range<usize>,
    pages: &'a [&'a [E]],
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
    let Columns { a, depth, pages, c_row, .. } = *product;
    // SAFETY: these rows and pages lie inside the matrices.
    unsafe {
        let mut b = [std::ptr::null(); C];
        for (b, page) in b.iter_mut().zip(&pages[page..]) {
            *b = page.as_ptr();
        }
        let mut sums = [[V::zero(); C]; R];
        add_steps(&mut sums, a.values.as_ptr().add(row * a.row), a, b, PAGE_TOKENS, depth);
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
    let Rows { a, width, ref keys, pages, c_row, start, .. } = *product;
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
            let b = pages.get_unchecked(key / PAGE_TOKENS).as_ptr().add(offset * width + column);
            let mut columns = [b; C];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = b.add(j * V::LANES);
            }
            add_steps(&mut sums, a.values.as_ptr().add(row * a.row + key * a.step), a, columns, width, depth);
            key += depth;
        }
        for i in 0..R {
            for j in 0..C {
                sums[i][j].store(c.add(i * c_row + j * V::LANES));
            }
        }
    }
}

/// sums(i, j) += Σ over k < depth of element (i, k) from `left` · the register at `b[j] + k * b_row`.
#[inline(always)]
unsafe fn add_steps<V: Register, E: Stored, const R: usize, const C: usize>(
    sums: &mut [[V; C]; R],
    left: *const f32,
    Left { row, step, .. }: Left,
    b: [*const E; C],
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
mod tests {
    use super::*;

    fn number(i: usize) -> f32 {
        ((i * 37 + 11) % 101) as f32 / 17.0 - 2.5
    }

    #[test]
    fn scores_are_one_chain_each_whatever_the_tile() {
        for (rows, depth, count) in [(1, 8, 1), (2, 24, 4), (5, 64, 3), (7, 16, 2), (8, 8, 4), (17, 40, 4)] {
            let a: Vec<f32> = (0..rows * depth).map(number).collect();
            let pages: Vec<Vec<f32>> =
                (0..count).map(|page| (0..depth * PAGE_TOKENS).map(|i| number(i + 5 * page + 1)).collect()).collect();
            let pages: Vec<&[f32]> = pages.iter().map(Vec::as_slice).collect();
            let width = count * PAGE_TOKENS;
            let mut expected = vec![0.0_f32; rows * width];
            for (index, sum) in expected.iter_mut().enumerate() {
                let (i, j) = (index / width, index % width);
                for k in 0..depth {
                    *sum = a[i * depth + k].mul_add(pages[j / PAGE_TOKENS][k * PAGE_TOKENS + j % PAGE_TOKENS], *sum);
                }
            }
            for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
                let (left, mut c) = (Left { values: &a, row: depth, step: 1 }, vec![f32::NAN; rows * width]);
                multiply_columns(level, left, [rows, depth], &pages, &mut c, width);
                assert_eq!(c, expected, "{rows} x {depth} x {width}, {}", level.name());
            }
        }
    }

    #[test]
    fn sums_are_one_chain_each_whatever_the_tile() {
        for (rows, width, keys) in [(1, 8, 0..1), (2, 136, 3..64), (4, 24, 15..17), (7, 64, 0..33), (17, 40, 16..48)] {
            let pages: Vec<Vec<f32>> =
                (0..4).map(|page| (0..width * PAGE_TOKENS).map(|i| number(i + 3 * page)).collect()).collect();
            let pages: Vec<&[f32]> = pages.iter().map(Vec::as_slice).collect();
            let a: Vec<f32> = (0..rows * 64).map(number).collect();
            for ((row, step), start) in [((64, 1), Start::Zero), ((1, rows), Start::Sum)] {
                let before: Vec<f32> = (0..rows * width).map(|i| number(i + 9)).collect();
                let mut expected = before.clone();
                for (index, sum) in expected.iter_mut().enumerate() {
                    let (i, j) = (index / width, index % width);
                    *sum = if start == Start::Zero { 0.0 } else { *sum };
                    for k in keys.clone() {
                        let right = pages[k / PAGE_TOKENS][k % PAGE_TOKENS * width + j];
                        *sum = a[i * row + k * step].mul_add(right, *sum);
                    }
                }
                for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
                    let (left, mut c) = (Left { values: &a, row, step }, before.clone());
                    multiply_rows(level, left, [rows, width], keys.clone(), &pages, &mut c, width, start);
                    assert_eq!(c, expected, "{rows} x {width}, keys {keys:?}, {}", level.name());
                }
            }
        }
    }
}
