//! Causal attention in f64, forward and backward, written from the formulas.
#![allow(dead_code)] // Each test file uses its own part.

use gradus_ops::AttentionShape;

pub struct Forward {
    /// [tokens, q_dim]
    pub out: Vec<f64>,
    /// [tokens, heads]
    pub lse: Vec<f64>,
}

/// Query, key and value of (token, head), as ranges of a packed qkv.
fn parts(shape: AttentionShape, head: usize) -> [usize; 3] {
    let kv_head = head / (shape.heads / shape.kv_heads);
    [head, shape.heads + kv_head, shape.heads + shape.kv_heads + kv_head].map(|head| head * shape.head_dim)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Probabilities of one query row over the keys of its sequence up to itself, and their lse.
fn probabilities(shape: AttentionShape, qkv: &[f64], start: usize, token: usize, head: usize) -> (Vec<f64>, f64) {
    let (dim, head_dim) = (shape.qkv_dim(), shape.head_dim);
    let [query, key, _] = parts(shape, head);
    let q = &qkv[token * dim + query..][..head_dim];
    let scale = 1.0 / (head_dim as f64).sqrt();
    let scores: Vec<f64> = (start..=token).map(|token| dot(q, &qkv[token * dim + key..][..head_dim]) * scale).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lse = largest + scores.iter().map(|score| (score - largest).exp()).sum::<f64>().ln();
    (scores.iter().map(|score| (score - lse).exp()).collect(), lse)
}

pub fn attention(shape: AttentionShape, qkv: &[f64], cu_seqlens: &[u32]) -> Forward {
    let (dim, head_dim) = (shape.qkv_dim(), shape.head_dim);
    let (mut out, mut lse) = (Vec::new(), Vec::new());
    for pair in cu_seqlens.windows(2) {
        for token in pair[0] as usize..pair[1] as usize {
            for head in 0..shape.heads {
                let (weights, sum) = probabilities(shape, qkv, pair[0] as usize, token, head);
                let mut row = vec![0.0; head_dim];
                for (key, weight) in weights.iter().enumerate() {
                    let value = &qkv[(pair[0] as usize + key) * dim + parts(shape, head)[2]..][..head_dim];
                    row.iter_mut().zip(value).for_each(|(row, value)| *row += weight * value);
                }
                out.extend(row);
                lse.push(sum);
            }
        }
    }
    Forward { out, lse }
}

/// d_qkv from d_out [tokens, q_dim].
pub fn backward(shape: AttentionShape, qkv: &[f64], cu_seqlens: &[u32], d_out: &[f64]) -> Vec<f64> {
    let (dim, head_dim) = (shape.qkv_dim(), shape.head_dim);
    let scale = 1.0 / (head_dim as f64).sqrt();
    let mut d_qkv = vec![0.0; qkv.len()];
    for pair in cu_seqlens.windows(2) {
        let start = pair[0] as usize;
        for token in start..pair[1] as usize {
            for head in 0..shape.heads {
                let [query, key, value] = parts(shape, head);
                let weights = probabilities(shape, qkv, start, token, head).0;
                let d_row = &d_out[token * shape.q_dim() + head * head_dim..][..head_dim];
                let d_weights: Vec<f64> =
                    (start..=token).map(|token| dot(d_row, &qkv[token * dim + value..][..head_dim])).collect();
                let mean = dot(&weights, &d_weights);
                for (index, (weight, d_weight)) in weights.iter().zip(&d_weights).enumerate() {
                    let d_score = weight * (d_weight - mean) * scale;
                    let other = (start + index) * dim;
                    for i in 0..head_dim {
                        d_qkv[other + value + i] += weight * d_row[i];
                        d_qkv[other + key + i] += d_score * qkv[token * dim + query + i];
                        d_qkv[token * dim + query + i] += d_score * qkv[other + key + i];
                    }
                }
            }
        }
    }
    d_qkv
}
