// The one pass over a row of logits: sampler, score and trainer take lse, logprob and entropy from here, so they are
// the same bits.
#pragma once

#include "common/reduce.cuh"
#include "common/types.cuh"

/// Threads of every block that takes a row.
constexpr uint32_t kRowThreads = 1024;
constexpr uint32_t kRowWarps = kRowThreads / kWarpSize;
/// Ids in a tile, which a warp takes at once: 8 neighbours a lane.
constexpr uint32_t kTile = 256;
constexpr uint32_t kIdsOfLane = kTile / kWarpSize;
/// Bytes of shared memory that the pass takes.
constexpr uint32_t kRowScratchBytes = 3 * kRowWarps * sizeof(float);
static_assert(kRowScratchBytes <= 512, "the tables say 512");

constexpr float kLowest = -3.40282347e38f;

/// With m the largest z, sum = Σ exp(z − m) and weighted = Σ exp(z − m) · (z − m).
struct RowStatistics {
  float highest;  // the largest logit
  float largest;  // highest · inv_t: rounding is monotone, so it is the largest z
  float sum;
  float weighted;

  __device__ __forceinline__ float lse() const { return largest + log_f32(sum); }
  /// lse − Σ p · z without the cancellation of a common offset.
  __device__ __forceinline__ float entropy() const { return log_f32(sum) - weighted / sum; }
  /// False where a logit is NaN or infinite, or where all are −infinity.
  __device__ __forceinline__ bool has_distribution() const {
    return highest > -kInfinity && highest < kInfinity && sum < kInfinity;
  }
};

/// The lane's ids of a tile; −infinity beyond the vocabulary.
__device__ __forceinline__ void load_lane(float (&logit)[kIdsOfLane], const float* logits, uint32_t vocab,
                                          uint32_t tile) {
  const uint32_t first = tile * kTile + lane_index() * kIdsOfLane;
  if (vocab % 4 == 0 && first + kIdsOfLane <= vocab) {
    const Vector<float, 4> low = load_vector<4>(logits + first);
    const Vector<float, 4> high = load_vector<4>(logits + first + 4);
    for (int i = 0; i < 4; ++i) {
      logit[i] = low[i];
      logit[i + 4] = high[i];
    }
  } else {
    for (uint32_t i = 0; i < kIdsOfLane; ++i) logit[i] = first + i < vocab ? logits[first + i] : -kInfinity;
  }
}

/// z − m, of a logit of −infinity the lowest number: its share is 0, and 0 · −infinity would be NaN.
__device__ __forceinline__ float shifted_logit(float logit, float inv_t, float largest) {
  return larger(kLowest, logit * inv_t - largest);
}

/// Every thread of the block calls it and gets the statistics. Where `tile_sums` is not null it gets Σ exp(z − m) of
/// each tile, which other threads see after a barrier. `scratch`: kRowScratchBytes.
__device__ __forceinline__ RowStatistics row_statistics(const float* logits, uint32_t vocab, float inv_t,
                                                        float* scratch, float* tile_sums) {
  float highest = -kInfinity;
  for (uint32_t id = threadIdx.x; id < vocab; id += kRowThreads) highest = larger(logits[id], highest);
  highest = block_max<kRowWarps>(highest, scratch);
  const float largest = highest * inv_t;
  float sum = 0.0f;
  float weighted = 0.0f;
  const uint32_t tiles = ceil_div(vocab, kTile);
  for (uint32_t tile = warp_index(); tile < tiles; tile += kRowWarps) {
    float logit[kIdsOfLane];
    load_lane(logit, logits, vocab, tile);
    float part = 0.0f;
    for (uint32_t i = 0; i < kIdsOfLane; ++i) {
      const float shifted = shifted_logit(logit[i], inv_t, largest);
      const float share = exp_f32(shifted);
      part += share;
      weighted = fused(share, shifted, weighted);
    }
    sum += part;
    if (tile_sums != nullptr) {
      const float whole = warp_sum(part);
      if (lane_index() == 0) tile_sums[tile] = whole;
    }
  }
  sum = block_sum<kRowWarps>(sum, scratch + kRowWarps);
  weighted = block_sum<kRowWarps>(weighted, scratch + 2 * kRowWarps);
  return RowStatistics{highest, largest, sum, weighted};
}
