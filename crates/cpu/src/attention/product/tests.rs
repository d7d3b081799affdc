//! The products of attention against plain chains, on every level.

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
            multiply_columns(level, left, [rows, depth], &pages, &pages[1..], &mut c, width);
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
                multiply_rows(level, left, [rows, width], keys.clone(), &pages, &pages[1..], &mut c, width, start);
                assert_eq!(c, expected, "{rows} x {width}, keys {keys:?}, {}", level.name());
            }
        }
    }
}
