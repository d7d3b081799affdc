//! Parameter structs of the ops: more than a few numbers travel by name.

/// Bytes of a device that has memory of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    pub free: u64,
    pub total: u64,
}

/// Rows and width of a normalised matrix.
#[derive(Clone, Copy, Debug)]
pub struct RmsNormShape {
    pub rows: usize,
    pub dim: usize,
    pub eps: f32,
}

/// Heads of one attention layer. A fused qkv row is `[heads + 2 * kv_heads, head_dim]`: queries, then keys, then values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

impl AttentionShape {
    /// Elements of a fused qkv row.
    pub const fn qkv_dim(self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }
    /// Elements of the queries, and of the attention output, of one token.
    pub const fn q_dim(self) -> usize {
        self.heads * self.head_dim
    }
    /// The factor on every score: 1/sqrt(head_dim), rounded once to f32.
    pub fn scale(self) -> f32 {
        (1.0 / (self.head_dim as f64).sqrt()) as f32
    }
}

/// The rotary table is `[positions_max, head_dim]` f32: cos for i in 0..head_dim/2, then sin; built in f64, stored f32.
#[derive(Clone, Copy, Debug)]
pub struct RopeShape {
    pub attention: AttentionShape,
    pub rows: usize,
    pub positions_max: usize,
}

/// One layer's pages: keys `[pages, kv_heads, head_dim, PAGE_TOKENS]`, values `[pages, kv_heads, PAGE_TOKENS, head_dim]`.
#[derive(Clone, Copy, Debug)]
pub struct KvPageShape {
    pub attention: AttentionShape,
    pub pages: usize,
}

impl KvPageShape {
    /// Elements of the key pages (and of the value pages) of one layer.
    pub const fn elements(self) -> usize {
        self.pages * self.attention.kv_heads * self.attention.head_dim * super::PAGE_TOKENS
    }
}

/// Rows of logits that a loss is taken of.
pub struct LossRows<'a, Buffer> {
    pub rows: usize,
    pub vocab: usize,
    /// [rows] u32: the token whose logprob counts.
    pub targets: &'a Buffer,
    /// [rows] f32: 1/T, computed in f64 and rounded once.
    pub inv_t: &'a Buffer,
}

/// Rows of logits to sample from; all arrays are [rows].
pub struct SampleRows<'a, Buffer> {
    pub rows: usize,
    pub vocab: usize,
    /// f32: 1/T; 1 where the row is greedy.
    pub inv_t: &'a Buffer,
    /// u32: 1 takes the highest logit (the lowest id on a tie), 0 samples.
    pub greedy: &'a Buffer,
    /// [rows, 4] u32: Philox key (low, high) and stream (low, high).
    pub streams: &'a Buffer,
    /// u32: index of the token in its sequence, the first word of the Philox counter (position, draw = 0, stream low, stream high).
    pub positions: &'a Buffer,
    /// u32: draws from the likeliest `top_k` ids alone; 0 from all.
    pub top_k: &'a Buffer,
    /// f32 in (0, 1]: draws from the likeliest ids that together have this share; 1 from all.
    pub top_p: &'a Buffer,
    /// f32 in [0, 1]: draws from ids with at least this fraction of the likeliest one's share; 0 from all.
    pub min_p: &'a Buffer,
}

/// Changes of single logits before a draw; most rows have none. With l the logit: l + bias, then divided by the repetition penalty where
/// that is above 0 and multiplied by it elsewhere, then less the reduction.
pub struct LogitAdjustments<'a, Buffer> {
    pub rows: usize,
    pub vocab: usize,
    /// Of all rows together.
    pub entries: usize,
    /// [rows + 1] u32, ascending from 0 to `entries`: the entries of each row. The other arrays are [entries].
    pub offsets: &'a Buffer,
    /// u32: the id whose logit changes; each at most once in a row.
    pub ids: &'a Buffer,
    /// f32; −inf forbids the id.
    pub biases: &'a Buffer,
    /// f32 above 0; 1 for none.
    pub repetition_penalties: &'a Buffer,
    /// f32: presence penalty and frequency penalty · count.
    pub reductions: &'a Buffer,
}
