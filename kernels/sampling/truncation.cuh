// Draws from the likeliest ids of a row alone: top-k, then top-p of what is left, then min-p (crates/ops says which ids
// these are). No row is sorted: the cut is found by four passes of a radix search over z, with masses as integers, so
// that no sum has an order.
#pragma once

#include "loss/row_statistics.cuh"
#include "sampling/sampling.h"

constexpr uint32_t kBins = 256;
/// Units of mass in the share of the likeliest id: 2⁴⁰.
constexpr float kMassUnits = 1099511627776.0f;

/// Shared memory of a limited row, after the tile sums.
struct TruncationScratch {
  unsigned long long* bin_mass;   // [kBins]
  uint32_t* bin_count;            // [kBins]
  unsigned long long* tile_mass;  // [kSampleTilesMax]
  uint32_t* tile_ties;            // [kSampleTilesMax]
  unsigned long long* shared;     // [4]: what one thread tells the others
};

/// The row and what its kept ids are: those above `key`, and of those that equal it the first `ties` in order of id.
struct TruncatedRow {
  const float* logits;
  uint32_t vocab;
  float inv_t;
  float largest;
  uint32_t key;
  uint32_t ties;
};

/// Ordered as z is; 0 is below every number.
__device__ __forceinline__ uint32_t key_of(float logit, float inv_t) {
  // Adding 0 makes one number of the two zeros.
  const uint32_t bits = bits_of(logit * inv_t + 0.0f);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float z_of_key(uint32_t key) {
  return float_of((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

__device__ __forceinline__ unsigned long long mass_of(float logit, const TruncatedRow& row) {
  return static_cast<unsigned long long>(exp_f32(shifted_logit(logit, row.inv_t, row.largest)) * kMassUnits);
}

/// Where a radix search ended.
struct Cut {
  bool found;                     // false: all ids together do not reach the goal
  uint32_t key;                   // the id that reaches the goal has this key
  unsigned long long rest;        // what is left of the goal above the ids of that key
  unsigned long long mass_above;  // of the ids above that key, or of all where none was found
};

/// Thread 0 goes down the bins until `goal` is reached; gives the bin, or kBins.
template <bool BY_MASS>
__device__ __forceinline__ uint32_t descend(const TruncationScratch& scratch, Cut& cut) {
  for (uint32_t bin = kBins; bin > 0; --bin) {
    const unsigned long long mass = scratch.bin_mass[bin - 1];
    const unsigned long long step = BY_MASS ? mass : scratch.bin_count[bin - 1];
    if (step >= cut.rest) return bin - 1;
    cut.rest -= step;
    cut.mass_above += mass;
  }
  return kBins;
}

/// The key at which the ids in descending order have `goal` (at least 1) ids with mass, or mass. The whole block calls
/// it.
template <bool BY_MASS>
__device__ __forceinline__ Cut find_cut(const TruncatedRow& row, unsigned long long goal,
                                        const TruncationScratch& scratch) {
  Cut cut{true, 0, goal, 0};
  for (int shift = 24; shift >= 0; shift -= 8) {
    __syncthreads();
    for (uint32_t bin = threadIdx.x; bin < kBins; bin += kRowThreads) {
      scratch.bin_mass[bin] = 0;
      scratch.bin_count[bin] = 0;
    }
    __syncthreads();
    for (uint32_t id = threadIdx.x; id < row.vocab; id += kRowThreads) {
      const uint32_t key = key_of(row.logits[id], row.inv_t);
      const unsigned long long mass = mass_of(row.logits[id], row);
      // Ids without mass are most of a vocabulary and can never be drawn.
      if (mass == 0 || (shift < 24 && key >> (shift + 8) != cut.key)) continue;
      atomicAdd(&scratch.bin_mass[key >> shift & (kBins - 1)], mass);
      atomicAdd(&scratch.bin_count[key >> shift & (kBins - 1)], 1u);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      scratch.shared[0] = descend<BY_MASS>(scratch, cut);
      scratch.shared[1] = cut.rest;
      scratch.shared[2] = cut.mass_above;
    }
    __syncthreads();
    const uint32_t bin = static_cast<uint32_t>(scratch.shared[0]);
    cut.rest = scratch.shared[1];
    cut.mass_above = scratch.shared[2];
    if (bin == kBins) return Cut{false, 0, 0, cut.mass_above};
    cut.key = cut.key << 8 | bin;
  }
  return cut;
}

/// value rounded up.
template <class T>
__device__ __forceinline__ unsigned long long rounded_up(T value) {
  const unsigned long long whole = static_cast<unsigned long long>(value);
  return static_cast<T>(whole) < value ? whole + 1 : whole;
}

/// Sets `row.key` and `row.ties`. `total`: Σ exp(z − m) of the row.
__device__ __forceinline__ void cut_row(TruncatedRow& row, uint32_t top_k, float top_p, float total,
                                        const TruncationScratch& scratch) {
  const auto mass_at = [&](uint32_t key) {
    return static_cast<unsigned long long>(exp_f32(larger(kLowest, z_of_key(key) - row.largest)) * kMassUnits);
  };
  double whole = static_cast<double>(total) * static_cast<double>(kMassUnits);
  row.key = 0;
  row.ties = 0;
  if (top_k != 0 && top_k < row.vocab) {
    const Cut cut = find_cut<false>(row, top_k, scratch);
    // Where fewer ids than top_k have mass, all of them are kept.
    row.key = cut.found ? cut.key : 0;
    row.ties = cut.found ? static_cast<uint32_t>(cut.rest) : 0;
    whole = static_cast<double>(cut.found ? cut.mass_above + cut.rest * mass_at(cut.key) : cut.mass_above);
  }
  if (!(top_p < 1.0f)) return;
  const Cut cut = find_cut<true>(row, rounded_up(static_cast<double>(top_p) * whole), scratch);
  if (!cut.found) return;
  const unsigned long long each = mass_at(cut.key);
  row.key = cut.key;
  row.ties = static_cast<uint32_t>((cut.rest + each - 1) / each);
}

/// Whether the lane's ids of a tile are kept, with their masses; `rank`: ties in earlier ids than the lane's first one.
__device__ __forceinline__ void kept_masses(unsigned long long (&mass)[kIdsOfLane], const TruncatedRow& row,
                                            uint32_t tile, uint32_t rank, unsigned long long min_mass) {
  float logit[kIdsOfLane];
  load_lane(logit, row.logits, row.vocab, tile);
  for (uint32_t i = 0; i < kIdsOfLane; ++i) {
    const uint32_t key = key_of(logit[i], row.inv_t);
    const bool kept = key > row.key || (key == row.key && rank < row.ties);
    rank += key == row.key;
    mass[i] = mass_of(logit[i], row);
    if (!kept || mass[i] < min_mass) mass[i] = 0;
  }
}

/// Σ of the lanes before this one.
template <class T>
__device__ __forceinline__ T sum_before(T value) {
  T sum = value;
  for (uint32_t lanes = 1; lanes < kWarpSize; lanes *= 2) {
    const T other = __shfl_up_sync(kFullMask, sum, lanes);
    if (lane_index() >= lanes) sum += other;
  }
  return sum - value;
}

/// Ties in the lane's ids of a tile.
__device__ __forceinline__ uint32_t count_ties(const TruncatedRow& row, uint32_t tile) {
  float logit[kIdsOfLane];
  load_lane(logit, row.logits, row.vocab, tile);
  uint32_t ties = 0;
  for (uint32_t i = 0; i < kIdsOfLane; ++i) ties += key_of(logit[i], row.inv_t) == row.key;
  return ties;
}

/// One id of the kept ones, in thread 0; `word` has 24 random bits. The whole block calls it.
__device__ __forceinline__ uint32_t draw_kept(const TruncatedRow& row, float min_p, uint32_t word,
                                              const TruncationScratch& scratch) {
  const uint32_t tiles = ceil_div(row.vocab, kTile);
  const unsigned long long min_mass = max(rounded_up(min_p * kMassUnits), 1ull);
  for (uint32_t tile = warp_index(); tile < tiles; tile += kRowWarps) {
    const uint32_t ties = warp_sum(count_ties(row, tile));
    if (lane_index() == 0) scratch.tile_ties[tile] = ties;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    uint32_t before = 0;
    for (uint32_t tile = 0; tile < tiles; ++tile) {
      const uint32_t ties = scratch.tile_ties[tile];
      scratch.tile_ties[tile] = before;
      before += ties;
    }
  }
  __syncthreads();
  for (uint32_t tile = warp_index(); tile < tiles; tile += kRowWarps) {
    const uint32_t rank = scratch.tile_ties[tile] + sum_before(count_ties(row, tile));
    unsigned long long mass[kIdsOfLane];
    kept_masses(mass, row, tile, rank, min_mass);
    unsigned long long sum = 0;
    for (uint32_t i = 0; i < kIdsOfLane; ++i) sum += mass[i];
    sum = warp_sum(sum);
    if (lane_index() == 0) scratch.tile_mass[tile] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    unsigned long long kept = 0;
    for (uint32_t tile = 0; tile < tiles; ++tile) kept += scratch.tile_mass[tile];
    // The largest whole number that is not above word · kept / 2²⁴, which itself may not fit into 64 bits.
    const unsigned long long goal = word * (kept >> 24) + (word * (kept & 0xffffffu) >> 24);
    uint32_t tile = 0;
    unsigned long long before = 0;
    while (tile + 1 < tiles && before + scratch.tile_mass[tile] <= goal) before += scratch.tile_mass[tile++];
    scratch.shared[0] = tile;
    scratch.shared[1] = goal - before;
  }
  __syncthreads();
  if (warp_index() != 0) return 0;
  const uint32_t tile = static_cast<uint32_t>(scratch.shared[0]);
  const unsigned long long goal = scratch.shared[1];
  unsigned long long mass[kIdsOfLane];
  kept_masses(mass, row, tile, scratch.tile_ties[tile] + sum_before(count_ties(row, tile)), min_mass);
  unsigned long long sum = 0;
  for (uint32_t i = 0; i < kIdsOfLane; ++i) sum += mass[i];
  unsigned long long running = sum_before(sum);
  uint32_t place = kIdsOfLane;
  for (uint32_t i = kIdsOfLane; i > 0; --i) {
    // From the last id to the first: the lowest place whose running mass is above the goal stays.
    unsigned long long until = running;
    for (uint32_t j = 0; j < i; ++j) until += mass[j];
    if (until > goal) place = i - 1;
  }
  const uint32_t lanes = __ballot_sync(kFullMask, place < kIdsOfLane);
  const uint32_t lane = lanes == 0 ? kWarpSize - 1 : static_cast<uint32_t>(__ffs(static_cast<int>(lanes)) - 1);
  return tile * kTile + lane * kIdsOfLane + __shfl_sync(kFullMask, place, static_cast<int>(lane));
}
