// Parameters and table of the embedding, and of rows picked by index.
#pragma once

#include <cstdint>

struct bf16;

/// out[tokens, cols] = weight[ids[tokens], :], bf16 or f32 by the kernel's name.
struct EmbeddingParams {
  const bf16* weight;   // [vocab, cols], ld_weight from row to row
  const uint32_t* ids;  // [tokens], each below vocab
  void* out;            // [tokens, cols]
  uint32_t tokens, cols, ld_weight, unused;
};
static_assert(sizeof(EmbeddingParams) == 40, "mirrored in Rust");

/// d_weight[ids[t], :] += d_out[t, :], equal ids added in order of t.
struct EmbeddingBackwardParams {
  const float* d_out;   // [tokens, cols]
  const uint32_t* ids;  // [tokens]
  float* d_weight;      // [vocab, cols]
  uint32_t tokens, cols, ld_weight, unused;
};
static_assert(sizeof(EmbeddingBackwardParams) == 40, "mirrored in Rust");

/// gather: out[row, :] = x[indices[row], :] of `words` 16-bit or 32-bit elements; scatter: out[indices[row], :] +=
/// x[row, :], f32, indices distinct.
struct RowsParams {
  const void* x;
  const uint32_t* indices;  // [rows]
  void* out;
  uint32_t rows, dim;
};
static_assert(sizeof(RowsParams) == 32, "mirrored in Rust");

// embedding_*, gather_*, scatter_add: grid (rows, ceil(columns / 1024)). embedding_backward: grid tokens.
#define GRADUS_EMBEDDING_KERNELS(X)                       \
  X(embedding_bf16, EmbeddingParams, 256, 0)              \
  X(embedding_f32, EmbeddingParams, 256, 0)               \
  X(embedding_backward, EmbeddingBackwardParams, 256, 32) \
  X(gather_rows_16, RowsParams, 256, 0)                   \
  X(gather_rows_32, RowsParams, 256, 0)                   \
  X(scatter_add_rows, RowsParams, 256, 0)
