//! Embedding, gather and scatter-add, with exact expectations.

#![allow(clippy::unwrap_used)] // A test may panic.

mod device;

use device::{assert_same_bits, floats, poisoned, read, read_weight, same_everywhere, weight, words};
use gradus_ops::Backend;
use gradus_testing::{integers, uniform};

#[test]
fn embedding_copies_rows() {
    for (vocab, cols, tokens) in [(1, 1, 1), (17, 5, 40), (99, 64, 9), (300, 33, 65)] {
        let (table, ids) = (uniform(1, vocab * cols), integers(2, tokens, vocab as u32));
        let results = same_everywhere(|backend| {
            let (table, ids) = (weight(backend, vocab, cols, &table), words(backend, &ids));
            let mut out = poisoned(backend, tokens * cols);
            backend.embedding(&table, &ids, tokens, &mut out).unwrap();
            vec![read(backend, &out)]
        });
        let expected: Vec<f32> = ids.iter().flat_map(|id| table[*id as usize * cols..][..cols].to_vec()).collect();
        assert_same_bits(&results[0], &expected, "embedding");
    }
}

#[test]
fn embedding_backward_adds_equal_ids_in_order_of_position() {
    for (vocab, cols, tokens) in [(1, 1, 3), (5, 7, 99), (40, 33, 65), (300, 16, 1000)] {
        let (before, d_out) = (uniform(1, vocab * cols), uniform(2, tokens * cols));
        let ids = integers(3, tokens, vocab as u32);
        let results = same_everywhere(|backend| {
            let (mut d_table, ids) = (weight(backend, vocab, cols, &before), words(backend, &ids));
            let d_out = floats(backend, &d_out);
            backend.embedding_backward(&mut d_table, &ids, tokens, &d_out).unwrap();
            vec![read_weight(backend, &d_table)]
        });
        let mut expected = before.clone();
        for (token, id) in ids.iter().enumerate() {
            for col in 0..cols {
                expected[*id as usize * cols + col] += d_out[token * cols + col];
            }
        }
        assert_same_bits(&results[0], &expected, "embedding backward");
    }
}

#[test]
fn gather_and_scatter_add_rows_from_an_offset() {
    for (len, rows, dim, offset) in [(1, 1, 1, 0), (50, 7, 99, 3), (200, 150, 300, 1)] {
        let (x, y) = (uniform(1, len * dim), uniform(2, len * dim));
        // Distinct indices: a step that shares no factor with the length.
        let indices: Vec<u32> = (0..offset + rows).map(|i| (i * 37 % len) as u32).collect();
        let results = same_everywhere(|backend| {
            let (x, indices) = (floats(backend, &x), words(backend, &indices));
            let (mut gathered, mut sum) = (poisoned(backend, rows * dim), floats(backend, &y));
            backend.gather_rows(&x, &indices, offset, rows, dim, &mut gathered).unwrap();
            backend.scatter_add_rows(&gathered, &indices, offset, rows, dim, &mut sum).unwrap();
            vec![read(backend, &gathered), read(backend, &sum)]
        });
        let mut sum = y.clone();
        for (row, index) in indices[offset..].iter().enumerate() {
            for col in 0..dim {
                let value = x[*index as usize * dim + col];
                assert_eq!(results[0][row * dim + col], value);
                sum[*index as usize * dim + col] += value;
            }
        }
        assert_same_bits(&results[1], &sum, "scatter");
    }
}
