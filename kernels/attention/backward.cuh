// What both backward kernels share: probabilities again from lse, and the gradient of the scores.
#pragma once

#include "attention/attention.h"
#include "attention/online_softmax.cuh"

constexpr uint32_t kThreads = 128;
/// Queries and keys of a tile.
constexpr uint32_t kTile = 64;

/// The tile's place and the parts of qkv that a block reads.
struct BackwardPlace {
  SequenceTile tile;
  uint32_t ld, ld_out;
  const bf16* rows;   // of the sequence, qkv
  const bf16* d_out;  // of the sequence

  __device__ __forceinline__ explicit BackwardPlace(const AttentionBackwardParams& p)
      : tile(find_tile<kTile>(p.cu_seqlens, p.sequences, blockIdx.x)),
        ld((p.heads + 2 * p.kv_heads) * p.head_dim),
        ld_out(p.heads * p.head_dim),
        rows(p.qkv + static_cast<int64_t>(tile.start) * ld),
        d_out(p.d_out + static_cast<int64_t>(tile.start) * ld_out) {}

  template <int D>
  __device__ __forceinline__ void copy(uint32_t to, const bf16* from, uint32_t ld_from, uint32_t first,
                                       uint32_t head_dim) const {
    TileLoader<kTile, D, kThreads>(from, ld_from, tile.length, head_dim, first, 0).copy(to);
  }
};

/// Writes 16 rows of f32 gradients, `first` being the sequence's row of this thread's row 0.
template <int D>
__device__ __forceinline__ void store_gradient(const float (&sums)[D / 8][4], float* matrix, uint32_t ld,
                                               uint32_t first, uint32_t length, uint32_t head_dim) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const uint32_t row = first + half * 8;
    if (row >= length) continue;
    float* to = matrix + static_cast<int64_t>(row) * ld;
#pragma unroll
    for (uint32_t j = 0; j < D / 8; ++j) {
      const uint32_t col = j * 8 + lane_index() % 4 * 2;
      if (col < head_dim) store_vector(to + col, Vector<float, 2>{{sums[j][2 * half], sums[j][2 * half + 1]}});
    }
  }
}

template <int D>
__device__ __forceinline__ void clear(float (&sums)[D / 8][4]) {
#pragma unroll
  for (int j = 0; j < D / 8; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[j][e] = 0.0f;
  }
}
