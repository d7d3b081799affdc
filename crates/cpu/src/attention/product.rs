//! The one matrix product inside attention: c += a · b on small tiles, each element one chain of fused multiply-adds.
//!
//! Rows are taken four at a time and columns sixteen for register reuse; neither changes any element's chain.

/// Element (i, k) is `values[i * row + k * step]`, so that a transposed matrix needs no copy.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) values: &'a [f32],
    pub(super) row: usize,
    pub(super) step: usize,
}

/// Row k starts at `values[k * row]`.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    pub(super) values: &'a [f32],
    pub(super) row: usize,
}

/// `c[i * c_row..][..width]` += Σ over k = 0, 1, …, depth − 1 of a(i, k) · `b[k * b.row..][..width]`, for i < rows.
/// `width` is a multiple of 8.
#[inline(always)]
pub(super) fn multiply_add(a: Left, b: Right, [rows, depth, width]: [usize; 3], c: &mut [f32], c_row: usize) {
    if rows == 0 || depth == 0 || width == 0 {
        return;
    }
    assert!(width % 8 == 0, "width {width} is not a multiple of 8");
    assert!((rows - 1) * a.row + (depth - 1) * a.step < a.values.len(), "the left matrix is too short");
    assert!((depth - 1) * b.row + width <= b.values.len(), "the right matrix is too short");
    assert!((rows - 1) * c_row + width <= c.len(), "the result is too short");
    let mut column = 0;
    while column < width {
        let wide = width - column >= 16;
        let mut row = 0;
        while row < rows {
            let a = Left { values: &a.values[row * a.row..], ..a };
            let b = Right { values: &b.values[column..], ..b };
            let c = &mut c[row * c_row + column..];
            // SAFETY: the assertions above cover rows `row..row + tile` and columns `column..column + 16` (or 8) of
            // each matrix, since the tile stays within `rows` and `width`.
            let tile = unsafe {
                match (rows - row, wide) {
                    (1, true) => tile::<1, 16>(a, b, depth, c, c_row),
                    (2, true) => tile::<2, 16>(a, b, depth, c, c_row),
                    (3, true) => tile::<3, 16>(a, b, depth, c, c_row),
                    (_, true) => tile::<4, 16>(a, b, depth, c, c_row),
                    (1, false) => tile::<1, 8>(a, b, depth, c, c_row),
                    (2, false) => tile::<2, 8>(a, b, depth, c, c_row),
                    (3, false) => tile::<3, 8>(a, b, depth, c, c_row),
                    (_, false) => tile::<4, 8>(a, b, depth, c, c_row),
                }
            };
            row += tile;
        }
        column += if wide { 16 } else { 8 };
    }
}

/// R rows by W columns with the results in registers; returns R.
///
/// # Safety
/// Every element of R rows, `depth` steps and W columns lies inside the slices.
#[inline(always)]
unsafe fn tile<const R: usize, const W: usize>(a: Left, b: Right, depth: usize, c: &mut [f32], c_row: usize) -> usize {
    let (a_pointer, b_pointer, c_pointer) = (a.values.as_ptr(), b.values.as_ptr(), c.as_mut_ptr());
    let mut sums = [[0.0; W]; R];
    for i in 0..R {
        // SAFETY: row i of c, by the caller's promise.
        sums[i] = unsafe { c_pointer.add(i * c_row).cast::<[f32; W]>().read() };
    }
    for k in 0..depth {
        // SAFETY: row k of b, by the caller's promise.
        let b = unsafe { b_pointer.add(k.wrapping_mul(b.row)).cast::<[f32; W]>().read() };
        for i in 0..R {
            // SAFETY: element (i, k) of a, by the caller's promise.
            let a = unsafe { *a_pointer.add(i.wrapping_mul(a.row).wrapping_add(k.wrapping_mul(a.step))) };
            for j in 0..W {
                sums[i][j] = a.mul_add(b[j], sums[i][j]);
            }
        }
    }
    for i in 0..R {
        // SAFETY: row i of c, by the caller's promise.
        unsafe { c_pointer.add(i * c_row).cast::<[f32; W]>().write(sums[i]) };
    }
    R
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_one_chain_whatever_the_tile() {
        let number = |i: usize| ((i * 37 + 11) % 101) as f32 / 17.0 - 2.5;
        for (rows, depth, width) in [(1, 1, 8), (2, 3, 16), (3, 16, 24), (4, 5, 40), (7, 33, 64), (9, 64, 8)] {
            for (row, step) in [(depth, 1), (1, rows)] {
                let a: Vec<f32> = (0..rows * depth).map(number).collect();
                let b: Vec<f32> = (0..depth * width).map(|i| number(i + 5)).collect();
                let mut c: Vec<f32> = (0..rows * width).map(|i| number(i + 9)).collect();
                let mut expected = c.clone();
                for (index, sum) in expected.iter_mut().enumerate() {
                    let (i, j) = (index / width, index % width);
                    for k in 0..depth {
                        *sum = a[i * row + k * step].mul_add(b[k * width + j], *sum);
                    }
                }
                let (left, right) = (Left { values: &a, row, step }, Right { values: &b, row: width });
                multiply_add(left, right, [rows, depth, width], &mut c, width);
                assert_eq!(c, expected, "{rows} x {depth} x {width}, row {row}, step {step}");
            }
        }
    }
}
