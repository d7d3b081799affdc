// Parameters and table of attention. head_dim is a multiple of 8 and at most 128; heads are a multiple of kv_heads.
#pragma once

#include <cstdint>

struct bf16;

/// Causal attention over packed sequences. A row of qkv is [heads + 2 · kv_heads, head_dim]: queries, keys, values.
struct AttentionParams {
  const bf16* qkv;             // [tokens, heads + 2 · kv_heads, head_dim]
  const uint32_t* cu_seqlens;  // [sequences + 1]
  bf16* out;                   // [tokens, heads, head_dim]
  float* lse;                  // [tokens, heads]
  uint32_t tokens, sequences, heads, kv_heads, head_dim;
  float scale;
};
static_assert(sizeof(AttentionParams) == 56, "mirrored in Rust");

/// Each query row of qkv over its sequence's pages, keys 0 to its position: the same bits as attention_*. Splits of
/// 2,048 keys are blocks of their own. With `splits` 1 each row's one split is its result; else merge_splits takes them
/// from `partials`.
struct PagedAttentionParams {
  const bf16* qkv;             // [tokens, heads + 2 · kv_heads, head_dim]; only the queries are read
  const uint32_t* positions;   // [tokens]
  const uint32_t* sequences;   // [tokens]: rows of page_table
  const uint32_t* page_table;  // [.., pages_max]
  const bf16* k_pages;         // [pages, kv_heads, 16, head_dim]
  const bf16* v_pages;
  bf16* out;        // [tokens, heads, head_dim]
  float* partials;  // [tokens, heads, splits, head_dim + 2]: sums of exp(z − m) · v, then m and the sum of exp(z − m)
  uint32_t tokens, pages_max, heads, kv_heads, head_dim;
  float scale;
  uint32_t splits, unused;  // of the longest sequence, at least
};
static_assert(sizeof(PagedAttentionParams) == 96, "mirrored in Rust");

/// out[tokens, heads, head_dim] from the partials of each row's own splits.
struct MergeSplitsParams {
  const float* partials;      // [tokens, heads, splits, head_dim + 2]
  const uint32_t* positions;  // [tokens]
  bf16* out;
  uint32_t tokens, heads, head_dim, splits;
};
static_assert(sizeof(MergeSplitsParams) == 40, "mirrored in Rust");

/// delta[tokens, heads] = Σ over a head of d_out · out.
struct AttentionDeltaParams {
  const bf16* out;     // [tokens, heads, head_dim]
  const float* d_out;  // as out
  float* delta;
  uint32_t tokens, heads, head_dim, unused;
};
static_assert(sizeof(AttentionDeltaParams) == 40, "mirrored in Rust");

/// The gradient of keys and values (attention_backward_kv_*) or of queries (attention_backward_q_*), each its part of
/// d_qkv.
struct AttentionBackwardParams {
  const bf16* qkv;             // [tokens, heads + 2 · kv_heads, head_dim]
  const bf16* d_out;           // [tokens, heads, head_dim], rounded by cast_rows
  const float* lse;            // [tokens, heads]
  const float* delta;          // [tokens, heads]
  const uint32_t* cu_seqlens;  // [sequences + 1]
  float* d_qkv;                // as qkv
  uint32_t tokens, sequences, heads, kv_heads, head_dim;
  float scale;
};
static_assert(sizeof(AttentionBackwardParams) == 72, "mirrored in Rust");

// _64 takes heads of up to 64 elements, _128 those of up to 128.
// attention_*, attention_backward_q_*: grid (ceil(tokens / 64) + sequences, heads); attention_backward_kv_*: the same,
// kv_heads. paged_attention_*: grid (tokens, kv_heads · ceil(heads / kv_heads / 16), splits). merge_splits,
// attention_delta: grid (tokens, ceil(heads / 8)).
#define GRADUS_ATTENTION_KERNELS(X)                                 \
  X(attention_64, AttentionParams, 128, 40960)                      \
  X(attention_128, AttentionParams, 128, 81920)                     \
  X(paged_attention_64, PagedAttentionParams, 128, 34816)           \
  X(paged_attention_128, PagedAttentionParams, 128, 69632)          \
  X(merge_splits, MergeSplitsParams, 256, 0)                        \
  X(attention_delta, AttentionDeltaParams, 256, 0)                  \
  X(attention_backward_kv_64, AttentionBackwardParams, 128, 33280)  \
  X(attention_backward_kv_128, AttentionBackwardParams, 128, 66048) \
  X(attention_backward_q_64, AttentionBackwardParams, 128, 32768)   \
  X(attention_backward_q_128, AttentionBackwardParams, 128, 65536)
