// What every forward kernel does with 16 queries and a block of 128 keys, one warp: packed training, prefill and paged
// decode give equal bits because a row's chain of operations is written down only here.
//
// Key blocks are anchored at the sequence's position 0. Splits of 2,048 keys have their own maximum, sum and output and
// are merged in order. Masked keys are −infinity; a block in which a row has no key changes nothing of the row.
#pragma once

#include "common/elementary.cuh"
#include "gemm/shared_tile.cuh"

constexpr uint32_t kKeyBlock = 128;
constexpr uint32_t kKeySplit = 2048;
constexpr uint32_t kQueriesOfWarp = 16;

/// Where a sequence's tile of `TILE` rows lies, found from the number of the tile among all of them.
struct SequenceTile {
  uint32_t start;   // of the sequence among the tokens
  uint32_t length;  // of the sequence; 0: there is no such tile
  uint32_t first;   // row of the sequence with which the tile begins
};

template <uint32_t TILE>
__device__ __forceinline__ SequenceTile find_tile(const uint32_t* cu_seqlens, uint32_t sequences, uint32_t tile) {
  for (uint32_t sequence = 0; sequence < sequences; ++sequence) {
    const uint32_t start = cu_seqlens[sequence];
    const uint32_t length = cu_seqlens[sequence + 1] - start;
    const uint32_t tiles = ceil_div(length, TILE);
    if (tile < tiles) return SequenceTile{start, length, tile * TILE};
    tile -= tiles;
  }
  return SequenceTile{0, 0, 0};
}

/// The warp's queries as left operands, all of a head's elements.
template <int D>
struct Queries {
  uint32_t fragments[D / 16][4];

  /// From a shared tile, 16 rows from `first` on.
  template <class Tile>
  __device__ __forceinline__ void load(uint32_t tile, uint32_t first) {
#pragma unroll
    for (int k = 0; k < D / 16; ++k) load_left<Layout::SumAlongRows, Tile>(fragments[k], tile, first, k * 16);
  }
};

/// Σ over the four lanes that share a row.
__device__ __forceinline__ float quad_sum(float value) {
  value += __shfl_xor_sync(kFullMask, value, 2);
  return value + __shfl_xor_sync(kFullMask, value, 1);
}
__device__ __forceinline__ float quad_max(float value) {
  value = larger(__shfl_xor_sync(kFullMask, value, 2), value);
  return larger(__shfl_xor_sync(kFullMask, value, 1), value);
}

/// scores[j] = elements (row lane / 4 and + 8, keys j · 8 + lane % 4 · 2 and + 1) of left · rightᵀ over a head's D
/// elements.
template <int D, int COLS, class Tile>
__device__ __forceinline__ void multiply_heads(float (&scores)[COLS / 8][4], const uint32_t (&left)[D / 16][4],
                                               uint32_t tile) {
#pragma unroll
  for (int j = 0; j < COLS / 8; j += 2) {
#pragma unroll
    for (int e = 0; e < 4; ++e) scores[j][e] = scores[j + 1][e] = 0.0f;
#pragma unroll
    for (int k = 0; k < D / 16; ++k) {
      uint32_t right[2][2];
      load_right<Layout::SumAlongRows, Tile>(right, tile, j * 8, k * 16);
      ptx::mma_m16n8k16(scores[j], left[k], right[0]);
      ptx::mma_m16n8k16(scores[j + 1], left[k], right[1]);
    }
  }
}

/// sums[16, D] += left[16, COLS] · right, left being accumulators rounded to bf16, right a shared tile [COLS, D].
template <int D, int COLS, class Tile>
__device__ __forceinline__ void multiply_rounded(float (&sums)[D / 8][4], const float (&left)[COLS / 8][4],
                                                 uint32_t tile) {
#pragma unroll
  for (int k = 0; k < COLS / 16; ++k) {
    const float(&low)[4] = left[2 * k];
    const float(&high)[4] = left[2 * k + 1];
    const uint32_t fragment[4] = {to_bf16x2(low[0], low[1]).bits, to_bf16x2(low[2], low[3]).bits,
                                  to_bf16x2(high[0], high[1]).bits, to_bf16x2(high[2], high[3]).bits};
#pragma unroll
    for (int j = 0; j < D / 8; j += 2) {
      uint32_t right[2][2];
      load_right<Layout::SumAlongColumns, Tile>(right, tile, j * 8, k * 16);
      ptx::mma_m16n8k16(sums[j], fragment, right[0]);
      ptx::mma_m16n8k16(sums[j + 1], fragment, right[1]);
    }
  }
}

/// How a row's sums so far and those of a later split are added: both are taken to the larger maximum.
struct SplitMerge {
  float largest, before, after;

  __device__ __forceinline__ SplitMerge(float earlier, float later) {
    largest = larger(later, earlier);
    const float base = largest > -kInfinity ? largest : 0.0f;
    before = exp_f32(earlier - base);
    after = exp_f32(later - base);
  }
  __device__ __forceinline__ float add(float earlier, float later) const {
    return fused(earlier, before, later * after);
  }
};

/// An element of the output. Adding 0 makes one number of the two zeros, which a masked block may have exchanged.
__device__ __forceinline__ float attended_value(float out, float sum) { return out / sum + 0.0f; }

/// Softmax · V of 16 rows so far; a thread has rows lane / 4 (index 0) and lane / 4 + 8 (index 1).
template <int D>
struct OnlineSoftmax {
  float largest[2], sum[2];
  float out[D / 8][4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      largest[row] = -kInfinity;
      sum[row] = 0.0f;
    }
#pragma unroll
    for (int j = 0; j < D / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) out[j][e] = 0.0f;
    }
  }

  __device__ __forceinline__ void scale_row(int row, float factor) {
#pragma unroll
    for (int j = 0; j < D / 8; ++j) {
      out[j][2 * row] *= factor;
      out[j][2 * row + 1] *= factor;
    }
  }

  /// Scores of the block that begins at key `first` become exp(z − m), keys after `position[row]` 0; sum and out are
  /// rescaled.
  __device__ __forceinline__ void take_scores(float (&scores)[kKeyBlock / 8][4], uint32_t first,
                                              const uint32_t (&position)[2], float scale) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      float highest = largest[row];
#pragma unroll
      for (uint32_t j = 0; j < kKeyBlock / 8; ++j) {
#pragma unroll
        for (uint32_t e = 0; e < 2; ++e) {
          const uint32_t key = first + j * 8 + lane_index() % 4 * 2 + e;
          float& score = scores[j][2 * row + e];
          score = key <= position[row] ? score * scale : -kInfinity;
          highest = larger(score, highest);
        }
      }
      highest = quad_max(highest);
      // A row without any key so far has no maximum: its shares are 0.
      const float base = highest > -kInfinity ? highest : 0.0f;
      const float factor = exp_f32(largest[row] - base);
      float part = 0.0f;
#pragma unroll
      for (uint32_t j = 0; j < kKeyBlock / 8; ++j) {
#pragma unroll
        for (uint32_t e = 0; e < 2; ++e) {
          float& score = scores[j][2 * row + e];
          score = exp_f32(score - base);
          part += score;
        }
      }
      sum[row] = fused(sum[row], factor, quad_sum(part));
      largest[row] = highest;
      scale_row(row, factor);
    }
  }

  /// Adds a later split of the same rows.
  __device__ __forceinline__ void merge(const OnlineSoftmax& later) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const SplitMerge split(largest[row], later.largest[row]);
      sum[row] = split.add(sum[row], later.sum[row]);
      largest[row] = split.largest;
#pragma unroll
      for (int j = 0; j < D / 8; ++j) {
#pragma unroll
        for (int e = 2 * row; e < 2 * row + 2; ++e) out[j][e] = split.add(out[j][e], later.out[j][e]);
      }
    }
  }

  __device__ __forceinline__ float lse(int row) const { return largest[row] + log_f32(sum[row]); }

  __device__ __forceinline__ float value(int j, int e) const { return attended_value(out[j][e], sum[e / 2]); }

  /// Writes the `count` first elements of a row of the output.
  __device__ __forceinline__ void store(bf16* to, int row, uint32_t count) const {
#pragma unroll
    for (uint32_t j = 0; j < D / 8; ++j) {
      const uint32_t col = j * 8 + lane_index() % 4 * 2;
      if (col < count) *reinterpret_cast<bf16x2*>(to + col) = to_bf16x2(value(j, 2 * row), value(j, 2 * row + 1));
    }
  }

  /// Writes the `count` first elements of a row's sums, its maximum and its sum, for merge_splits.
  __device__ __forceinline__ void store_partial(float* to, int row, uint32_t count) const {
#pragma unroll
    for (uint32_t j = 0; j < D / 8; ++j) {
      const uint32_t col = j * 8 + lane_index() % 4 * 2;
      if (col < count) store_vector(to + col, Vector<float, 2>{{out[j][2 * row], out[j][2 * row + 1]}});
    }
    if (lane_index() % 4 == 0) store_vector(to + count, Vector<float, 2>{{largest[row], sum[row]}});
  }
};

/// The blocks of keys from `begin` to `last` of a tile of queries: copies of the next keys run beside the softmax, those
/// of values beside the scores. `copy_keys(tile, first)` and `copy_values(tile, first)` start the copies of 128 rows from
/// key `first` on. Warps that have no queries (`is_working` false) only copy. `begin` is where a split begins; where one
/// ends, `end_split()` takes what `split` holds. `last`: the highest position of the block's queries, or of the split.
template <int D, class CopyKeys, class CopyValues, class EndSplit>
__device__ __forceinline__ void attend(OnlineSoftmax<D>& split, const Queries<D>& queries,
                                       const uint32_t (&position)[2], bool is_working, uint32_t begin, uint32_t last,
                                       float scale, uint32_t keys_tile, uint32_t values_tile, CopyKeys copy_keys,
                                       CopyValues copy_values, EndSplit end_split) {
  using Tile = SharedTile<kKeyBlock, D>;
  split.clear();
  copy_keys(keys_tile, begin);
  ptx::cp_async_commit();
  for (uint32_t first = begin; first <= last; first += kKeyBlock) {
    ptx::cp_async_wait_group<0>();
    // The keys are there, and every warp has left the values of the block before.
    __syncthreads();
    copy_values(values_tile, first);
    ptx::cp_async_commit();
    float scores[kKeyBlock / 8][4];
    if (is_working) multiply_heads<D, kKeyBlock, Tile>(scores, queries.fragments, keys_tile);
    __syncthreads();
    if (first + kKeyBlock <= last) copy_keys(keys_tile, first + kKeyBlock);
    ptx::cp_async_commit();
    if (is_working) split.take_scores(scores, first, position, scale);
    ptx::cp_async_wait_group<1>();
    __syncthreads();
    if (is_working) multiply_rounded<D, kKeyBlock, Tile>(split.out, scores, values_tile);
    if ((first + kKeyBlock) % kKeySplit == 0 || first + kKeyBlock > last) end_split();
  }
}
