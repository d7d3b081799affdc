// The sampler: one id a row of logits, with the logprob and entropy of the whole distribution. A block takes a row.
#include "common/philox.cuh"
#include "loss/row_statistics.cuh"
#include "sampling/sampling.h"
#include "sampling/truncation.cuh"

constexpr uint32_t kNone = 0xffffffffu;

// Shared memory: the row pass, the tiles' shares and one tile's, what a limited row needs, and a word for all.
constexpr uint32_t kTileSumsAt = 512;
constexpr uint32_t kSharesAt = kTileSumsAt + kSampleTilesMax * sizeof(float);
constexpr uint32_t kBinMassAt = kSharesAt + kTile * sizeof(float);
constexpr uint32_t kBinCountAt = kBinMassAt + kBins * sizeof(uint64_t);
constexpr uint32_t kTileMassAt = kBinCountAt + kBins * sizeof(uint32_t);
constexpr uint32_t kTileTiesAt = kTileMassAt + kSampleTilesMax * sizeof(uint64_t);
constexpr uint32_t kSharedAt = kTileTiesAt + kSampleTilesMax * sizeof(uint32_t);
constexpr uint32_t kSharedBytes = kSharedAt + 4 * sizeof(uint64_t);
static_assert(kSharedBytes == 21024, "the table says so");

/// The lowest id with the highest logit, in every thread.
__device__ __forceinline__ uint32_t first_highest(const float* logits, uint32_t vocab, float highest,
                                                  uint32_t* shared) {
  if (threadIdx.x == 0) *shared = kNone;
  __syncthreads();
  for (uint32_t id = threadIdx.x; id < vocab; id += kRowThreads) {
    if (logits[id] == highest) {
      atomicMin(shared, id);
      break;
    }
  }
  __syncthreads();
  return *shared;
}

/// Inverse CDF over the tiles' sums, then within the tile; the id is thread 0's alone.
__device__ __forceinline__ uint32_t draw(const float* logits, uint32_t vocab, float inv_t, float u, float largest,
                                         const float* tile_sums, float* shares, unsigned long long* shared) {
  const uint32_t tiles = ceil_div(vocab, kTile);
  __syncthreads();
  float rest = 0.0f;
  if (threadIdx.x == 0) {
    float total = 0.0f;
    for (uint32_t tile = 0; tile < tiles; ++tile) total += tile_sums[tile];
    const float goal = u * total;
    uint32_t tile = 0;
    float before = 0.0f;
    while (tile + 1 < tiles && before + tile_sums[tile] <= goal) before += tile_sums[tile++];
    rest = goal - before;
    shared[0] = tile;
  }
  __syncthreads();
  const uint32_t first = static_cast<uint32_t>(shared[0]) * kTile;
  const uint32_t count = min(kTile, vocab - first);
  if (threadIdx.x < count) shares[threadIdx.x] = exp_f32(shifted_logit(logits[first + threadIdx.x], inv_t, largest));
  __syncthreads();
  if (threadIdx.x != 0) return 0;
  uint32_t last = 0;
  float running = 0.0f;
  for (uint32_t i = 0; i < count; ++i) {
    running += shares[i];
    if (running > rest) return first + i;
    if (shares[i] > 0.0f) last = i;
  }
  // Rounding kept every running sum below.
  return first + last;
}

GRADUS_KERNEL(kRowThreads, sample, SampleParams) {
  const uint32_t row = blockIdx.x;
  const float* logits = p.logits + static_cast<int64_t>(row) * p.vocab;
  const float inv_t = p.inv_t[row];
  float* tile_sums = smem<float>(kTileSumsAt);
  unsigned long long* shared = smem<unsigned long long>(kSharedAt);
  const RowStatistics statistics = row_statistics(logits, p.vocab, inv_t, smem<float>(), tile_sums);
  const uint32_t* stream = p.streams + 4 * static_cast<int64_t>(row);
  const uint32_t word =
      philox4x32(PhiloxWords{{p.positions[row], 0, stream[2], stream[3]}}, stream[0], stream[1]).at[0] >> 8;
  const uint32_t top_k = p.top_k[row];
  const bool is_limited = (top_k != 0 && top_k < p.vocab) || p.top_p[row] < 1.0f || p.min_p[row] > 0.0f;
  uint32_t id = kNone;
  // The whole block takes the same way.
  if (!statistics.has_distribution()) {
    id = kNone;
  } else if (p.greedy[row] != 0) {
    id = first_highest(logits, p.vocab, statistics.highest, smem<uint32_t>(kSharedAt));
  } else if (!is_limited) {
    const float u = static_cast<float>(word) / 16777216.0f;
    id = draw(logits, p.vocab, inv_t, u, statistics.largest, tile_sums, smem<float>(kSharesAt), shared);
  } else {
    const TruncationScratch scratch{smem<unsigned long long>(kBinMassAt), smem<uint32_t>(kBinCountAt),
                                    smem<unsigned long long>(kTileMassAt), smem<uint32_t>(kTileTiesAt), shared};
    TruncatedRow kept{logits, p.vocab, inv_t, statistics.largest, 0, 0};
    __syncthreads();
    float total = 0.0f;
    for (uint32_t tile = 0; tile < ceil_div(p.vocab, kTile); ++tile) total += tile_sums[tile];
    cut_row(kept, top_k, p.top_p[row], total, scratch);
    id = draw_kept(kept, p.min_p[row], word, scratch);
  }
  if (threadIdx.x != 0) return;
  const float lse = statistics.lse();
  p.ids[row] = id;
  p.lse[row] = lse;
  p.logprob[row] = id == kNone ? kInfinity - kInfinity : logits[id] * inv_t - lse;
  p.entropy[row] = statistics.entropy();
}
